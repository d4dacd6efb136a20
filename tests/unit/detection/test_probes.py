"""The invented events with which rules are probed."""

import inspect

from oktawatch.detection.probes import invented_events, probe_faults, stored_row
from oktawatch.detection.registry import BUILT_IN, configured_rules
from oktawatch.model.event import Event
from oktawatch.model.history import COLUMNS


def test_one_invented_event_is_complete_and_the_other_is_empty() -> None:
    """The complete event has a value for each documented accessor and each column, so a new one must be added to it."""
    known, unknown = invented_events("user.session.start")
    rows = [stored_row(event) for event in (known, unknown)]
    always = {"published", "published_at", "uuid", "event_type", "debug_data"}
    extra = {"p_enrichment"}  # for the built-in rules alone
    accessors = {name for name, _ in inspect.getmembers(Event, inspect.isdatadescriptor)}
    public = {
        name
        for name in accessors - always - extra
        if not name.startswith("_") and isinstance(getattr(Event, name), property)
    }
    assert len(public) > 15
    assert [name for name in public if getattr(known, name) is None] == []
    assert [name for name in public if getattr(unknown, name) is not None] == []
    columns = set(COLUMNS) - always
    assert [name for name in columns if getattr(rows[0], name) is None] == []
    assert [name for name in columns if getattr(rows[1], name) is not None] == []


def test_built_in_rules_satisfy_the_contract() -> None:
    """The built-in rules pass the probes for custom rules."""
    rules = configured_rules({}, read_file=str)
    assert len(rules) == len(BUILT_IN)
    assert [fault for rule in rules.values() for fault in probe_faults(rule)] == []
