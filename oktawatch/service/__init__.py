"""The use cases: the daemon with its jobs, and the commands. `engine/` does their work."""
