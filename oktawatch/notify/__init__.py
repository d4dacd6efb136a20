"""Notifiers: what an alert says to people, and the channels that carry it."""
