"""The tables. Their names and columns are a public contract: people query them with SQL.

The primary key of ``events`` is in time order: (org, published, uuid). So inserts go to the end of the B-tree, and
retention and windows are range scans. An index on uuid would undo this gain and is not needed, because only a
*match* must be unique by uuid.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    false,
    text,
)

from oktawatch.store.types import Document, Moment, SeverityName

REVISION = "0025"
"""The Alembic revision that this program works with."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_Count = BigInteger().with_variant(Integer(), "sqlite")
_no_count = text("0")


def _partial_index(name: str | None, *columns: str, where: str) -> Index:
    """Return an index of the rows that meet a condition.

    The migrations create the index. Here, the condition is only documentation: as an option of the index, it would
    import Postgres's dialect, which would slow down every command on an SQLite file.
    """
    return Index(name, *columns, info={"where": where})


orgs = Table(
    "orgs",
    metadata,
    Column("name", String, primary_key=True),
    Column("created_at", Moment, nullable=False),
    Column("events_seen", _Count, nullable=False, server_default=_no_count),
    Column("events_rejected", _Count, nullable=False, server_default=_no_count),
    Column("events_late", _Count, nullable=False, server_default=_no_count),
    Column("matches", _Count, nullable=False, server_default=_no_count),
    Column("last_poll_at", Moment),
    Column("last_error", String),
    Column("last_error_at", Moment),
    Column("history_version", String(32)),  # changes whenever rows are added to the org's history
    Column("rules", String),  # a JSON array of the ids of the rules that the org was last polled with
    # Elements of recent polls, and how many of them were unusable: see store/cursors.py.
    Column("recent_elements", Integer, nullable=False, server_default=_no_count),
    Column("recent_rejected", Integer, nullable=False, server_default=_no_count),
    Column("alert_change_id", BigInteger, nullable=False, server_default=_no_count),  # see store/orgs.py
)

cursors = Table(
    "cursors",
    metadata,
    Column("org", ForeignKey("orgs.name"), primary_key=True),
    Column("filter", String, nullable=False),
    Column("cursor", String, nullable=False),
    Column("page_size", Integer),
    Column("began_at", Moment, nullable=False),
    Column("restart_at", Moment),
    Column("last_published", Moment),
    Column("updated_at", Moment, nullable=False),
    Column("last_caught_up_at", Moment),
    Column("swept_until", Moment),
)

# An event's row includes its history row and signals, because most of the cost of a row is its key. The history row is one
# array, because SQLite allocates and copies memory for each bound value. People query the views `history` and `signals`,
# which a migration creates.
events = Table(
    "events",
    metadata,
    Column("org", String, primary_key=True),
    Column("published", Moment, primary_key=True),
    Column("uuid", String, primary_key=True),
    Column("proxied_actor", String),  # the actor's id, if the event came through an anonymizer
    Column("fields", Document),  # an array: the fields of a HistoryRow from `event_type` on
    Column("signals", Document),  # an array of rules' ids
    Column("failed_actor", String),  # the actor's id, if the event is a failed sign-in
    # Inserts into an index by actor would go to random places of the B-tree. So only the few proxied events and failed
    # sign-ins are indexed by actor, and recent history is cached in memory.
    _partial_index(
        "ix_events_proxied", "org", "proxied_actor", "published", where="proxied_actor IS NOT NULL"
    ),
    _partial_index("ix_events_failed", "org", "failed_actor", "published", where="failed_actor IS NOT NULL"),
    sqlite_with_rowid=False,
)

# The event types of pruned history rows. History still has every event of the type since `before`. Without this table, an
# org that was quiet for a week would look like a new one.
pruned_history = Table(
    "pruned_history",
    metadata,
    Column("org", String, primary_key=True),
    Column("event_type", String, primary_key=True),
    Column("before", Moment, nullable=False),
)

# Sorted by bytes on both databases. Postgres would sort by its locale.
_Ascii = String().with_variant(String(collation="C"), "postgresql")

# Sign-ins by actor and address, one row for each pair. `store/sightings.py` defines what is counted.
sightings = Table(
    "sightings",
    metadata,
    Column("org", String, primary_key=True),
    Column("actor_id", String, primary_key=True),
    Column("client_ip", _Ascii, primary_key=True),
    Column("actor_alternate_id", String),
    Column("first_at", Moment, nullable=False),
    Column("last_at", Moment, nullable=False),
    Column("successes", _Count, nullable=False),
    Column("failures", _Count, nullable=False),
    Column("as_number", BigInteger),
    Column("country", String),
    Column("anonymizer", String),
    Column("operator", String),
    Column("anonymizer_at", Moment),  # event time of the first sign-in through an anonymizer
    # The latest sign-in's uuid, which orders sign-ins at the same time.
    Column("last_uuid", _Ascii, nullable=False),
    Index(None, "org", "client_ip"),
    sqlite_with_rowid=False,
)

# The keys of sign-ins that `sightings` counted and that were pruned from `events`, while Okta may still serve them.
counted_sign_ins = Table(
    "counted_sign_ins",
    metadata,
    Column("org", String, primary_key=True),
    Column("published", Moment, primary_key=True),
    Column("uuid", String, primary_key=True),
    sqlite_with_rowid=False,
)

# The days on which a person signed in successfully through an anonymizer from a known device. `model/person_past.py` defines them.
familiar_days = Table(
    "familiar_days",
    metadata,
    Column("org", String, primary_key=True),
    Column("actor_id", String, primary_key=True),
    Column("service", String, primary_key=True),  # the operator, or else the network: AS64500
    Column("day", _Ascii, primary_key=True),  # in UTC: 2026-11-24
    sqlite_with_rowid=False,
)

alerts = Table(
    "alerts",
    metadata,
    Column("id", _Count, primary_key=True, autoincrement=True),
    Column("org", ForeignKey("orgs.name"), nullable=False),
    Column("rule_id", String, nullable=False),
    Column("dedup_key", String, nullable=False),
    Column("anchor", Moment, nullable=False),
    Column("severity", SeverityName, nullable=False),
    Column("status", String, nullable=False),
    Column("disposition", String),
    Column("title", String, nullable=False),
    Column("event_count", Integer, nullable=False),
    Column("first_event_at", Moment, nullable=False),
    Column("last_event_at", Moment, nullable=False),
    Column("successes", Integer, nullable=False, server_default=_no_count),
    Column("failures", Integer, nullable=False, server_default=_no_count),
    Column("succeeded_at", Moment),  # event time of the earliest success
    Column("failed_at", Moment),  # event time of the earliest failure
    Column("risen", Boolean, nullable=False, server_default=false()),  # a success followed failures
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("closed_at", Moment),
    Column("closed_by", String),
    # The last notified severity. If an alert notified as CRITICAL rises, this is INFO until the next notification.
    Column("told", SeverityName),
    Column("actor_id", String),
    Column("actor_alternate_id", String),
    Column("actor_display_name", String),
    Column("client_ip", String),
    Column("country", String),
    Column("city", String),
    Column("as_number", BigInteger),
    Column("as_org", String),
    Column("isp", String),
    Column("domain", String),
    Column("outcome_result", String),
    Column("outcome_reason", String),
    Column("anonymizer", String),  # the kind, such as `relay` or `tor`
    Column("operator", String),  # the company or project that runs the anonymizer
    Column("context", Document, nullable=False),
    Column("note", String),
    Column("change_id", BigInteger, nullable=False, server_default=_no_count),  # of the latest change
    # The ids of the incident and of notices are derived from these columns.
    UniqueConstraint("org", "rule_id", "dedup_key", "anchor"),
    Index(None, "status", "last_event_at"),
    # The alerts of a person and of an address.
    Index(None, "org", "actor_id"),
    Index(None, "org", "client_ip"),
    Index(None, "org", "change_id"),  # what changed since an export
    # The verdicts on a person's alerts. Partial, so that it costs nothing when an alert is opened.
    _partial_index("ix_alerts_verdicts", "org", "actor_id", "closed_at", where="disposition IS NOT NULL"),
    sqlite_autoincrement=True,  # ids are never reused, not even after pruning
)

matches = Table(
    "matches",
    metadata,
    Column("org", ForeignKey("orgs.name"), primary_key=True),
    Column("rule_id", String, primary_key=True),
    Column("event_uuid", String, primary_key=True),
    Column("published", Moment, nullable=False),
    Column("dedup_key", String, nullable=False),
    Column("severity", SeverityName, nullable=False),
    Column("alert_id", ForeignKey("alerts.id"), index=True),
    # The event's columns in the view `alert_events`: a match is kept longer than the event.
    Column("event_type", String),
    Column("outcome", String),
    Column("outcome_reason", String),
    Column("client_ip", String),
    Column("user_agent", String),
    sqlite_with_rowid=False,
)

# Matches that an allow entry kept from becoming part of an alert. No match is both in this table and in `matches`.
allowed_matches = Table(
    "allowed_matches",
    metadata,
    Column("org", ForeignKey("orgs.name"), primary_key=True),
    Column("rule_id", String, primary_key=True),
    Column("event_uuid", String, primary_key=True),
    Column("published", Moment, nullable=False),
    Column("entry", String, nullable=False),  # the hash of the entry's conditions
    Column("reason", String, nullable=False),  # the entry's reason at the time
    Column("actor_alternate_id", String),
    Column("client_ip", String),
    Index(None, "org", "published"),
    sqlite_with_rowid=False,
)

# People's decisions about alerts. Append-only: the alert's own columns hold the latest state.
alert_actions = Table(
    "alert_actions",
    metadata,
    Column("id", _Count, primary_key=True, autoincrement=True),
    Column("alert_id", ForeignKey("alerts.id"), nullable=False, index=True),
    Column("at", Moment, nullable=False),
    Column("by", String, nullable=False),
    Column("action", String, nullable=False),  # acknowledged, closed, reopened or noted
    Column("disposition", String),
    Column("note", String),
    sqlite_autoincrement=True,
)

notifications = Table(
    "notifications",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("alert_id", ForeignKey("alerts.id"), index=True),
    Column("notifier", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("severity", SeverityName),
    Column("state", String, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", Moment),
    Column("claimed_until", Moment),  # a process is sending it until then
    Column("last_error", String),
    Column("created_at", Moment, nullable=False),
    Column("retried_at", Moment),  # a person retried it, which restarted its age
    Column("sent_at", Moment),
    Column("late", Boolean, nullable=False),
    Column("digest_id", String(36)),
    Column("content", Document),
    # In the order of delivery. The alert's id orders notifications of the same page.
    Index(None, "state", "notifier", "next_attempt_at", "alert_id"),
    _partial_index(None, "digest_id", where="digest_id IS NOT NULL"),
    # For counting recently sent messages. Partial, so that it costs nothing when a notification is enqueued.
    _partial_index(None, "notifier", "sent_at", where="sent_at IS NOT NULL"),
)

# The active alarms about orgs: see store/alarms.py.
alarms = Table(
    "alarms",
    metadata,
    Column("subject", String, primary_key=True),
    Column("since", Moment),
    Column("raised_at", Moment, nullable=False),
)

# The health of notifiers: one row for each notifier that has ever failed.
notifiers = Table(
    "notifiers",
    metadata,
    Column("name", String, primary_key=True),
    Column("failing_since", Moment),  # the first failed attempt since the last delivery
    Column("last_error", String),
    Column("told_at", Moment),  # when the other notifiers were last sent an alarm about this one
)

# Custom rules that were left out of pages, and their calls that froze the process.
rules_left_out = Table(
    "rules_left_out",
    metadata,
    Column("org", String, primary_key=True),
    Column("rule_id", String, primary_key=True),
    Column("event_uuid", String, primary_key=True),
    Column("page_uuid", String, nullable=False),  # the first event of a frozen call's page, else empty
    Column("reason", String, nullable=False),
    Column("at", Moment, nullable=False),
    Column("froze_at", Moment),
    Column("told_at", Moment),
)

rejected_events = Table(
    "rejected_events",
    metadata,
    Column("org", ForeignKey("orgs.name"), primary_key=True),
    Column("fingerprint", String(64), primary_key=True),
    Column("received_at", Moment, nullable=False),
    Column("reason", String, nullable=False),
    Column("raw", LargeBinary, nullable=False),
)

backfills = Table(
    "backfills",
    metadata,
    Column("id", _Count, primary_key=True, autoincrement=True),
    Column("org", ForeignKey("orgs.name"), nullable=False),
    Column("command", String, nullable=False),
    Column("filter", String, nullable=False),
    Column("since", Moment, nullable=False),
    Column("until", Moment, nullable=False),
    Column("notify", Boolean, nullable=False),
    Column("cursor", String, nullable=False),
    Column("started_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("finished_at", Moment),
    Column("pages", Integer, nullable=False),
    Column("events", _Count, nullable=False),
    Column("new_events", _Count, nullable=False),
    Column("matches", _Count, nullable=False),
    Column("alerts", _Count, nullable=False),
    Index(None, "org", "command", "started_at"),
    sqlite_autoincrement=True,
)

# The running daemons, on both databases. `store/daemons.py` describes when a row is written and deleted.
daemons = Table(
    "daemons",
    metadata,
    Column("name", String, primary_key=True),
    Column("version", String, nullable=False),
    Column("started_at", Moment, nullable=False),
    Column("seen_at", Moment, nullable=False),
    Column("state", String, nullable=False),
    Column("waits", String, nullable=False, server_default="{}"),  # JSON
)

# The running replicas and the orgs that they poll. Used on Postgres only.
replicas = Table(
    "replicas",
    metadata,
    Column("name", String, primary_key=True),
    Column("run", String(36), nullable=False),
    Column("expires_at", Moment, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("org", ForeignKey("orgs.name"), primary_key=True),
    Column("holder", String),
    Column("expires_at", Moment, nullable=False),
)
