"""A simulated Okta org on loopback. Shares no code with the rooms that it tests."""
