"""Print the page of a person or an address."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from oktawatch.cli.alert_table import outcome_counts, print_alerts, short_time
from oktawatch.cli.one_line_table import Column, print_one_line_table
from oktawatch.cli.output import note, print_heading, print_text

if TYPE_CHECKING:
    from oktawatch.engine.people import Profile
    from oktawatch.model.sighting import Sighting

_MAX_ROWS = 20
"""The maximum number of listed sightings, the latest ones."""
_SIGN_INS = (
    Column(heading="UTC"),
    Column(heading="OUTCOME", min_width=8),
    Column(heading="WHO", min_width=12),
    Column(heading="ADDRESS", min_width=15, optional=True),
    Column(heading="PLACE", min_width=8, optional=True),
    Column(heading="NETWORK", optional=True),
    Column(heading="CLIENT", min_width=20, optional=True),
    Column(heading="ALERT", right=True),
)


def print_person(profile: "Profile") -> None:
    """Print a person: addresses, what is new, sign-ins, alerts."""
    latest = profile.sightings[0]
    print_text(f"{latest.actor_alternate_id or latest.actor_id} in {profile.org}", style="bold")
    print_text(_summary(profile.sightings, _count(len(profile.sightings), "address", "addresses")))
    if profile.new:
        print_heading("New within 7 days")
        for attribute in profile.new:
            print_text(f"{attribute.what} {attribute.value}, since {_time(attribute.since)} UTC")
    print_heading("Addresses, the latest first")
    columns = (
        Column(heading="ADDRESS", min_width=15),
        Column(heading="FIRST"),
        Column(heading="LAST"),
        Column(heading="✗ ✓"),
        Column(heading="COUNTRY", min_width=7, optional=True),
        Column(heading="NETWORK", optional=True),
        Column(heading="ANONYMIZER", min_width=8, optional=True),
        Column(heading="OTHERS", right=True, optional=True),
    )
    rows = [
        (
            sighting.client_ip or "unknown",
            _time(sighting.first_at),
            _time(sighting.last_at),
            outcome_counts(sighting.failures, sighting.successes),
            sighting.country,
            f"AS{sighting.as_number}" if sighting.as_number is not None else "",
            sighting.operator or sighting.anonymizer,
            profile.others.get(sighting.client_ip, 0) or "",
        )
        for sighting in profile.sightings[:_MAX_ROWS]
    ]
    print_one_line_table(columns, rows)
    _note_rest(len(profile.sightings), "addresses")
    _print_sign_ins(profile, of_person=True)
    _print_alerts(profile)


def print_address(address: str, profile: "Profile") -> None:
    """Print an address or a network: people, sign-ins, alerts."""
    print_text(f"{address} in {profile.org}", style="bold")
    facts = _common_facts(profile.sightings)
    people = {sighting.actor_id for sighting in profile.sightings}
    print_text(" · ".join([*facts, _summary(profile.sightings, _count(len(people), "person", "people"))]))
    print_heading("People, the latest first")
    columns = (
        Column(heading="WHO", min_width=16),
        Column(heading="FIRST"),
        Column(heading="LAST"),
        Column(heading="✗ ✓"),
        Column(heading="ADDRESS", min_width=15, optional=True),
        Column(heading="ANONYMIZER", min_width=8, optional=True),
    )
    rows = [
        (
            sighting.actor_alternate_id or sighting.actor_id or "unknown",
            _time(sighting.first_at),
            _time(sighting.last_at),
            outcome_counts(sighting.failures, sighting.successes),
            sighting.client_ip,
            sighting.operator or sighting.anonymizer,
        )
        for sighting in profile.sightings[:_MAX_ROWS]
    ]
    print_one_line_table(columns, rows)
    _note_rest(len(profile.sightings), "rows")
    _print_sign_ins(profile, of_person=False)
    _print_alerts(profile)


def _common_facts(sightings: "Sequence[Sighting]") -> list[str]:
    """Return the country, network and anonymizer that all addresses share.

    Where the addresses differ, return the number of values, such as ``2 countries``.
    """
    latest: dict[str, Sighting] = {}
    for sighting in sightings:  # the latest first
        latest.setdefault(sighting.client_ip, sighting)
    found = {
        ("country", "countries"): [sighting.country for sighting in latest.values()],
        ("network", "networks"): [
            f"AS{sighting.as_number}" if sighting.as_number is not None else None
            for sighting in latest.values()
        ],
        ("anonymizer", "anonymizers"): [
            sighting.operator or sighting.anonymizer for sighting in latest.values()
        ],
    }
    facts: list[str] = []
    for (singular, plural), values in found.items():
        different = {value for value in values if value}
        if len(different) == 1 and all(values):
            facts += different
        elif different:
            facts.append(_count(len(different), singular, plural))
    return facts


def profile_as_json(profile: "Profile") -> dict[str, Any]:
    """Return a profile as a JSON object. Times are canonical texts."""
    import msgspec

    document: dict[str, Any] = _times_as_text(msgspec.to_builtins(profile, builtin_types=(datetime,)))
    return document


def _times_as_text(value: Any) -> Any:
    from oktawatch.model.timestamps import to_text

    if isinstance(value, dict):
        return {name: _times_as_text(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_times_as_text(part) for part in value]
    return to_text(value) if isinstance(value, datetime) else value


def _summary(sightings: "Sequence[Sighting]", counted: str) -> str:
    first = min(sighting.first_at for sighting in sightings)
    successes = _count(sum(sighting.successes for sighting in sightings), "success", "successes")
    failures = _count(sum(sighting.failures for sighting in sightings), "failure", "failures")
    return f"{counted}, {successes} and {failures} since {first:%Y-%m-%d}"


def _count(number: int, singular: str, plural: str) -> str:
    return f"{number} {singular if number == 1 else plural}"


def _print_sign_ins(profile: "Profile", *, of_person: bool) -> None:
    found = profile.sign_ins
    print_heading("Latest sign-ins")
    if found.rows:
        # A person's page names the person in its heading.
        indexes = [
            index for index, column in enumerate(_SIGN_INS) if not (of_person and column.heading == "WHO")
        ]
        rows = [_sign_in(row) for row in found.rows]
        print_one_line_table(
            [_SIGN_INS[index] for index in indexes], [[row[index] for index in indexes] for row in rows]
        )
    else:
        print_text("None found.")
    if not found.complete:
        note(f"sign-ins before {_time(found.since)} UTC are left out: --since and --limit show more")


def _sign_in(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the cells of a sign-in, one per column."""
    return (
        f"{row['published'][5:10]} {row['published'][11:19]}",
        " ".join(part for part in (row["outcome"], row["outcome_reason"]) if part),
        row["actor_alternate_id"] or row["actor_id"],
        row["client_ip"],
        ", ".join(part for part in (row["city"], row["country"]) if part),
        f"AS{row['as_number']}" if row["as_number"] is not None else "",
        row["user_agent"],
        ", ".join(map(str, row["alerts"])),
    )


def _print_alerts(profile: "Profile") -> None:
    if profile.alerts:
        print_heading("Alerts")
        print_alerts(profile.alerts)


def _note_rest(count: int, what: str) -> None:
    if count > _MAX_ROWS:
        note(f"{_MAX_ROWS} of {count} {what} are shown: --json has all")


def _time(moment: datetime) -> str:
    from oktawatch.model.timestamps import to_text

    return short_time(to_text(moment))
