"""The use cases: the daemon with its jobs, and what each command does. `engine/` does the work of each."""
