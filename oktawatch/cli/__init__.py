"""The command line: one module per command group, which parses arguments, calls the service and prints."""
