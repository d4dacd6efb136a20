"""Benchmarks: the speed of oktawatch, compared with minimal programs for the same task."""
