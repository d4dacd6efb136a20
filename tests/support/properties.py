"""The number of Hypothesis examples: few in `make test`, many in `make test-all`."""

from hypothesis import HealthCheck, settings

QUICK, THOROUGH = "quick", "thorough"
_THOROUGH_TO_QUICK = 5
"""The ratio of the numbers of examples in the thorough and the quick profile."""
_DEFAULT = 100


def register_profiles() -> None:
    """Register both profiles and load the quick one; ``--hypothesis-profile=thorough`` loads the other.

    Neither has a deadline, because the duration of an example depends on the load of the machine.
    """
    slow = [HealthCheck.too_slow]
    settings.register_profile(
        QUICK, max_examples=_DEFAULT // _THOROUGH_TO_QUICK, deadline=None, suppress_health_check=slow
    )
    settings.register_profile(THOROUGH, max_examples=_DEFAULT, deadline=None, suppress_health_check=slow)
    settings.load_profile(QUICK)


def examples(thorough: int) -> int:
    """Return ``max_examples`` for a property that needs another number of examples."""
    return thorough if settings.get_current_profile_name() == THOROUGH else -(-thorough // _THOROUGH_TO_QUICK)
