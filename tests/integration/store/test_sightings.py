"""`sightings` agrees with a recount of all sign-ins, in whichever order they were read."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oktawatch.detection.evidence import Evidence, NetworksSource
from oktawatch.detection.networks import Networks
from oktawatch.detection.registry import RuleSet, build_rules
from oktawatch.engine.pipeline import Watch, commit_page
from oktawatch.model.anonymizer_kind import AnonymizerKind
from oktawatch.model.event import Event
from oktawatch.store.database import Database
from oktawatch.store.pruning import prune_counted_sign_ins, prune_events, prune_sightings
from oktawatch.store.schema import downgrade, upgrade
from tests.support.databases import NOW, ORG, DiedError, empty, open_database, rows
from tests.support.places import Kind, place_of
from tests.support.pruning import expiry
from tests.support.streams import event, page

DAY = timedelta(days=1)
DEFAULT = build_rules({}, read_file=str)
EVERYTHING = build_rules({}, enable=["*"], read_file=str)


@pytest.fixture(scope="module")
def database(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Yield one database for all tests; each empties it first."""
    with place_of(kind, tmp_path_factory.mktemp("sightings")) as place, open_database(place, "other") as made:
        yield made


def read(
    database: Database, events: Sequence[Event], rules: RuleSet = DEFAULT, *, killed: bool = False
) -> None:
    """Commit a page of events; roll it back at the end if ``killed``."""

    def advance(*_: object) -> None:
        if killed:
            raise DiedError

    with suppress(DiedError):
        commit_page(
            database, Watch(org=ORG, rules=rules), page(events), notify=False, advance=advance, now=NOW
        )


def recount(events: Iterable[Event]) -> list[dict[str, Any]]:
    """Return the rows of `sightings` by a plain recount of sign-ins, each once by its key."""
    pairs: dict[tuple[str, str], list[Event]] = {}
    once = {(one.published, one.uuid): one for one in events if one.event_type == "user.session.start"}
    for _, one in sorted(once.items()):
        pairs.setdefault((one.actor_id or "", one.client_ip or ""), []).append(one)
    return [
        {
            "org": ORG,
            "actor_id": actor,
            "client_ip": address,
            "actor_alternate_id": found[-1].actor_alternate_id if actor else None,
            "first_at": found[0].published_at,
            "last_at": found[-1].published_at,
            "successes": sum(one.outcome_result in {"SUCCESS", "ALLOW"} for one in found),
            "failures": sum(one.outcome_result in {"FAILURE", "DENY"} for one in found),
            "as_number": found[-1].as_number,
            "country": found[-1].country,
            "anonymizer": anonymizer(found[-1])[0],
            "operator": anonymizer(found[-1])[1],
            "anonymizer_at": min((one.published_at for one in found if anonymous(one)), default=None),
            "last_uuid": found[-1].uuid,
        }
        for (actor, address), found in sorted(pairs.items())
    ]


def anonymous(one: Event) -> bool:
    """Return whether an event came through an anonymizer."""
    return anonymizer(one)[0] is not None


def anonymizer(one: Event) -> tuple[str | None, str | None]:
    """Return the kind and the operator of the anonymizer that an event came through."""
    details = one.body()["securityContext"].get("ipDetails") or {}
    services = [service["isAnonymous"] for service in details.get("ipServiceCategories", ())]
    if "TOR" in operators(one):
        return "tor", "TOR"
    if "NORDVPN" in operators(one):
        return "commercial_vpn", "NORDVPN"
    if True in services:
        return "unknown", None
    if one.is_proxy is not True:
        return None, None
    return ("corporate_vpn" if services else "proxy"), None


def operators(one: Event) -> list[str]:
    """Return the operators of the anonymizer."""
    return msgspec.json.decode(one.operators) if one.operators else []


@st.composite
def sign_ins(draw: st.DrawFn) -> list[Event]:
    """Draw sign-ins of few people, addresses and times, and other events among them."""
    drawn: list[dict[str, Any]] = draw(
        st.lists(
            st.fixed_dictionaries(
                {
                    "at": st.integers(0, 12),
                    "actor": st.sampled_from(["00u1", "00u2", "unknown", None]),
                    "login": st.sampled_from(["nora@example.com", "NORA@example.com", None]),
                    "ip": st.sampled_from(["203.0.113.7", "2001:db8::7", None]),
                    "outcome": st.sampled_from(["SUCCESS", "ALLOW", "FAILURE", "DENY", "CHALLENGE", None]),
                    "is_proxy": st.sampled_from([True, False, None]),
                    "operators": st.sampled_from([None, ["NORDVPN"], ["NORDVPN", "TOR"]]),
                    "service": st.sampled_from([None, {"isAnonymous": True}, {"isAnonymous": False}]),
                    "country": st.sampled_from(["Norway", "Chile", None]),
                    "as_number": st.sampled_from([64500, 4_200_000_000, None]),
                    "kind": st.sampled_from(["user.session.start"] * 4 + ["user.authentication.sso"]),
                }
            ),
            max_size=16,
        )
    )
    # Letters of both cases and digits: the order of uuids must not depend on the server's locale.
    uuids: list[str] = draw(st.permutations([f"{letter}-{number}" for number in range(8) for letter in "aB"]))
    return [
        event(
            0,
            uuid=uuid,
            at=one["at"] * timedelta(hours=6) - 3 * DAY,
            eventType=one["kind"],
            actor={"id": one["actor"], "alternateId": one["login"]},
            client={"ipAddress": one["ip"], "geographicalContext": {"country": one["country"]}},
            outcome={"result": one["outcome"]},
            securityContext={
                "isProxy": one["is_proxy"],
                "asNumber": one["as_number"],
                "associatedProxies": one["operators"],
                "ipDetails": {"ipServiceCategories": [one["service"]] if one["service"] else []},
            },
        )
        for one, uuid in zip(drawn, uuids, strict=False)
    ]


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sightings_agree_with_a_recount(database: Database, data: st.DataObject) -> None:
    """For any order, page boundaries, repetitions, crashes, rules and pruning, sightings agree with a recount."""
    empty(database)
    events = data.draw(sign_ins())
    seen: list[Event] = []
    for _ in range(data.draw(st.integers(0, 6))):
        part = data.draw(st.lists(st.sampled_from(events), max_size=8)) if events else []
        killed = data.draw(st.booleans())
        read(database, part, data.draw(st.sampled_from([DEFAULT, EVERYTHING])), killed=killed)
        seen += [] if killed else part
        if data.draw(st.booleans()):
            before = NOW - data.draw(st.integers(0, 12)) * timedelta(hours=6)
            prune = expiry(events=before, served=NOW - 4 * DAY)
            assert not prune_events(database, prune, 100).more
            prune_counted_sign_ins(database, prune, 100)
    assert rows(database, "sightings") == recount(seen)


def test_the_migration_counts_what_history_has(database: Database) -> None:
    """The migration counts each actor and address as the program does, also those without a name."""
    empty(database)
    outcomes = ("SUCCESS", "ALLOW", "FAILURE", "DENY", "CHALLENGE", None)
    signals = (
        {"isProxy": False, "asNumber": 64500},
        {"associatedProxies": ["TOR", "NORDVPN"], "asNumber": 4_200_000_000},
        {"isProxy": True},
        {"ipDetails": {"ipServiceCategories": [{"isAnonymous": True}]}},
    )
    events = [
        event(
            0,
            uuid=f"{'aB'[number % 2]}-{number}",
            at=-(number // 12) * DAY,
            eventType="user.authentication.sso" if number % 11 == 0 else "user.session.start",
            actor={
                "id": ("00u1", "00u2", "unknown")[number % 3],
                "alternateId": f"login-{number}@example.com",
            },
            client={
                "ipAddress": ("203.0.113.7", None)[number % 2],
                "geographicalContext": {"country": f"{number}"},
            },
            outcome={"result": outcomes[number % len(outcomes)]},
            securityContext=signals[number % 4],
        )
        for number in range(48)
    ]
    read(database, events, EVERYTHING)
    assert rows(database, "sightings") == recount(events)
    for revision in ("0018", "0015"):
        downgrade(database, revision)
        upgrade(database)
        assert rows(database, "sightings") == recount(events)


def test_sightings_have_the_anonymizer_of_all_evidence(database: Database) -> None:
    """Configured lists classify marked addresses only. Later changes of a list change no counted sign-in."""
    empty(database)
    evidence = Evidence()
    evidence.sources = (
        NetworksSource("exits", Networks.parse("203.0.113.0/24"), AnonymizerKind.TOR, "Example Tor"),
    )
    rules = RuleSet(DEFAULT.rules, evidence=evidence)
    events = [event(1), event(2, actor={"id": "00u2"}, securityContext={"isProxy": False})]
    read(database, events, rules)
    before = rows(database, "sightings")
    assert [(row["anonymizer"], row["operator"]) for row in before] == [("tor", "Example Tor"), (None, None)]
    read(database, events)
    assert rows(database, "sightings") == before


def test_a_sign_in_without_history_is_counted_when_it_is_read_again(database: Database) -> None:
    """A sign-in whose history an older version did not store is counted once, when it is read again."""
    empty(database)
    one = event(1, outcome={"result": "SUCCESS"})
    with database.write() as connection:
        connection.exec_driver_sql(
            f"INSERT INTO events (org, published, uuid) VALUES ('{ORG}', '{one.published}', '{one.uuid}')"  # noqa: S608 -- this test's own
        )
    for _ in range(2):
        read(database, [one])
        assert rows(database, "sightings") == recount([one])


def test_every_sign_in_is_in_history_with_the_default_rule_alone(database: Database) -> None:
    """History contains every sign-in, even with only the default rule enabled."""
    empty(database)
    read(
        database,
        [event(1, securityContext={"isProxy": False}), event(2, eventType="user.authentication.sso")],
    )
    assert [(row["uuid"], row["actor_alternate_id"]) for row in rows(database, "history")] == [
        (event(1).uuid, "nora@example.com")
    ]


def test_a_pruned_sign_in_is_counted_once_while_okta_serves_it(database: Database) -> None:
    """A backfill restores pruned history without counting it twice, and the keys expire with Okta's retention."""
    empty(database)
    one, other = event(1), event(2, eventType="user.authentication.sso")
    read(database, [one, other], EVERYTHING)
    for turn in range(2):
        assert prune_events(database, expiry(events=NOW + DAY, served=NOW - DAY), 10).rows["events"] == 2
        assert rows(database, "events") == rows(database, "history") == []
        assert [row["uuid"] for row in rows(database, "counted_sign_ins")] == [one.uuid], turn
        read(database, [one, other], EVERYTHING)
        assert len(rows(database, "history")) == 2
        assert rows(database, "sightings") == recount([one])
    assert prune_events(database, expiry(events=NOW + DAY, served=NOW + DAY), 10).rows["events"] == 2
    piece = prune_counted_sign_ins(database, expiry(events=NOW + DAY, served=NOW + DAY), 10)
    assert piece.rows["counted_sign_ins"] == 1
    assert rows(database, "counted_sign_ins") == []


def test_keys_of_expired_sign_ins_are_deleted(database: Database) -> None:
    """Pruning keeps no keys of sign-ins that Okta no longer serves."""
    empty(database)
    read(database, [event(1)])
    prune_events(database, expiry(events=NOW + DAY, served=NOW + DAY), 10)
    assert rows(database, "counted_sign_ins") == []


def test_sightings_are_pruned_by_their_latest_sign_in(database: Database) -> None:
    """Sightings are pruned by their latest sign-in, and others are unchanged."""
    empty(database)
    events = [
        event(1, at=-200 * DAY, actor={"id": "gone"}),
        event(2, at=-200 * DAY, actor={"id": "stays"}),
        event(3, at=-DAY, actor={"id": "stays"}),
    ]
    read(database, events)
    prune = expiry(events=NOW - 300 * DAY, served=NOW, sightings=NOW - 180 * DAY)
    piece = prune_sightings(database, prune, 10)
    assert (dict(piece.rows), piece.more) == ({"sightings": 1}, False)
    assert rows(database, "sightings") == [row for row in recount(events) if row["actor_id"] == "stays"]
    assert not prune_sightings(database, prune, 10).rows


def test_each_org_has_its_own_sightings(database: Database) -> None:
    """The same person, address and event in another org have another sighting."""
    empty(database)
    read(database, [event(1)])
    commit_page(
        database, Watch(org="other", rules=DEFAULT), page([event(1)]), notify=False, advance=lambda *_: None, now=NOW
    )  # fmt: skip
    assert [row["org"] for row in rows(database, "sightings")] == [ORG, "other"]


def test_a_sighting_has_the_latest_anonymizer_and_the_first_time(database: Database) -> None:
    """A sighting has the latest anonymizer, and the time of the first sign-in through one."""
    empty(database)
    read(database, [event(1, at=-DAY), event(2, securityContext={"isProxy": False})])
    (row,) = rows(database, "sightings")
    assert (row["anonymizer"], row["anonymizer_at"]) == (None, NOW - DAY)
