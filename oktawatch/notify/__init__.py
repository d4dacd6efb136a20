"""Notifications: compose messages about alerts, and send them through channels."""
