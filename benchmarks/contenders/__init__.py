"""The programs that are measured. Each reads one bounded window and prints `Measured` as a line of JSON."""
