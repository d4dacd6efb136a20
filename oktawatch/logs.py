"""How oktawatch logs: structlog, one snake_case event name a line, values as keys."""
