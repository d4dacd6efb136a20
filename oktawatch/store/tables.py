"""The tables. Their names and columns are a public contract: people query them with SQL.

``events`` has its dedup key *in time order*: (org, published, uuid). Inserts land at the end of the
tree, retention and windows are range scans. A second index on uuid would take that gain away, so
there is none: what must be unique by uuid is the *match*.
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

REVISION = "0017"
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
    Column("history_version", String(32)),  # another one whenever rows are added to the org's history
    Column("rules", String),  # a JSON array: those that were on when it was last watched
    # Of the elements that polling brought lately: how many, and how many were unusable.
    Column("recent_elements", Integer, nullable=False, server_default=_no_count),
    Column("recent_rejected", Integer, nullable=False, server_default=_no_count),
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

# What has been seen, and of it what rules look back at and which signals it is: a row an event, since most of what a row
# costs is its key. People read the latter two through the views `history` and `signals`, which a migration makes: each
# value that is bound costs SQLite an allocation and a copy, so what is only read again lies in one array.
events = Table(
    "events",
    metadata,
    Column("org", String, primary_key=True),
    Column("published", Moment, primary_key=True),
    Column("uuid", String, primary_key=True),
    Column("proxied_actor", String),  # the actor's id, if the event came through an anonymizer
    Column("fields", Document),  # an array: those of a HistoryRow from `event_type` on
    Column("signals", Document),  # an array of rules' ids
    # An index that begins with a key costs a write all over the tree for each row. So what is recent is
    # kept in memory, and only the few proxied events are found by actor.
    Index(
        "ix_events_proxied",
        "org",
        "proxied_actor",
        "published",
        sqlite_where=text("proxied_actor IS NOT NULL"),
        postgresql_where=text("proxied_actor IS NOT NULL"),
    ),
    sqlite_with_rowid=False,
)

# What an org's history once had and pruning took away: of these types there was more before that time, and
# from it on they are all there. Without it an org that was quiet for a week would look like a new one.
pruned_history = Table(
    "pruned_history",
    metadata,
    Column("org", String, primary_key=True),
    Column("event_type", String, primary_key=True),
    Column("before", Moment, nullable=False),
)

# A byte order on both databases: SQLite's own, and not that of some language on Postgres.
_Ascii = String().with_variant(String(collation="C"), "postgresql")

# Who signed in from where: one row for each actor and address, however many sign-ins there were. `store/sightings.py`
# states what is counted.
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
    Column("last_uuid", _Ascii, nullable=False),  # of the latest sign-in: decides among equal times
    Index(None, "org", "client_ip"),
    sqlite_with_rowid=False,
)

# The keys of sign-ins that `sightings` has counted and `events` has no more, for as long as Okta may serve them again.
counted_sign_ins = Table(
    "counted_sign_ins",
    metadata,
    Column("org", String, primary_key=True),
    Column("published", Moment, primary_key=True),
    Column("uuid", String, primary_key=True),
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
    Column("risen", Boolean, nullable=False, server_default=false()),  # somebody got in after failures
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("closed_at", Moment),
    Column("closed_by", String),
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
    Column("operator", String),  # who runs the anonymizer
    Column("context", Document, nullable=False),
    Column("note", String),
    # An alert has one anchor among those of its key: what a notification's id rests on.
    UniqueConstraint("org", "rule_id", "dedup_key", "anchor"),
    Index(None, "status", "last_event_at"),
    sqlite_autoincrement=True,  # an alert's id is never given again, even after pruning
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
    # What `alert_events` shows of the event, which outlives its row in `events`.
    Column("event_type", String),
    Column("outcome", String),
    Column("outcome_reason", String),
    Column("client_ip", String),
    Column("user_agent", String),
    sqlite_with_rowid=False,
)

# What people decided about alerts: appended to, never changed. The alert's own columns hold the latest state.
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
    Column("claimed_until", Moment),  # somebody is sending it
    Column("last_error", String),
    Column("created_at", Moment, nullable=False),
    Column("retried_at", Moment),  # a person revived it: its age counts anew
    Column("sent_at", Moment),
    Column("late", Boolean, nullable=False),
    Column("digest_id", String(36)),
    Column("content", Document),
    # In the order in which one notifier's share is sent; the alert's id orders what came with one page.
    Index(None, "state", "notifier", "next_attempt_at", "alert_id"),
    Index(
        None,
        "digest_id",
        sqlite_where=text("digest_id IS NOT NULL"),
        postgresql_where=text("digest_id IS NOT NULL"),
    ),
    # How much was sent lately. Partial: what is put into the outbox pays nothing for it.
    Index(
        None,
        "notifier",
        "sent_at",
        sqlite_where=text("sent_at IS NOT NULL"),
        postgresql_where=text("sent_at IS NOT NULL"),
    ),
)

# What oktawatch has told of itself and not taken back yet.
alarms = Table(
    "alarms",
    metadata,
    Column("subject", String, primary_key=True),
    Column("since", Moment),
    Column("raised_at", Moment, nullable=False),
)

# How notifiers fare: a row each that has ever failed.
notifiers = Table(
    "notifiers",
    metadata,
    Column("name", String, primary_key=True),
    Column("failing_since", Moment),  # its first failed attempt after the last message that it took
    Column("last_error", String),
    Column("told_at", Moment),  # when the others last heard of it
)

# Users' rules that pages were evaluated without, and the calls of them that froze the process.
rules_left_out = Table(
    "rules_left_out",
    metadata,
    Column("org", String, primary_key=True),
    Column("rule_id", String, primary_key=True),
    Column("event_uuid", String, primary_key=True),
    Column("page_uuid", String, nullable=False),  # of a frozen call: the first event of its page
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

# Who asks Okta about which org, where several processes share a database: on Postgres alone.
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
