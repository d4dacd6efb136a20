"""The daemon: scheduled jobs, signals, systemd."""
