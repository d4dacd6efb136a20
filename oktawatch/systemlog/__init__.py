"""Okta's System Log over the SDK's transport: the only package that imports the Okta SDK."""
