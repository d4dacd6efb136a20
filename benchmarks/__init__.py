"""Measurements: how fast oktawatch is against programs that do nothing else."""
