"""Okta's System Log over the SDK's transport: the only room that knows the Okta SDK."""
