"""The measured programs. Each reads a bounded window and prints `Measured` as a line of JSON."""
