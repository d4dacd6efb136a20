"""What every test shares."""

from hypothesis import HealthCheck, settings

# How long an example takes depends on what else the machine does, and decides no property.
settings.register_profile("oktawatch", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("oktawatch")
