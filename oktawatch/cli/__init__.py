"""The command line: one file a command group, which parses, calls and prints."""
