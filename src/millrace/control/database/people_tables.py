"""The tables of the control database that tell who works here, and who did what."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    event,
    text,
)

from millrace.control.database.column_types import Document, Free, Moment, Sealed
from millrace.control.database.migrations.activity_stays import STAYS
from millrace.control.database.tables import metadata

# The longest address that mail servers take (RFC 5321, 4.5.3.1.3 and its erratum 1690).
EMAIL_LENGTH = 254


def _user(*, key: bool = False) -> Column[Any]:
    """The user that a row belongs to; it goes when the user goes."""
    return Column("user_id", String(36), ForeignKey("users.id", ondelete="CASCADE"), primary_key=key, nullable=False)


users = Table(
    "users",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("team_id", String(36), ForeignKey("teams.id"), nullable=False),
    # In lower case; a person is in one team.
    Column("email", String(EMAIL_LENGTH), nullable=False, unique=True),
    Column("name", Free, nullable=False),
    Column("status", String(16), nullable=False),
    # Argon2id in its own encoding; none for whoever was invited or comes by single sign-on alone.
    Column("password", Text),
    Column("failures", Integer, nullable=False),
    Column("locked_until", Moment),
    # The seed of one-time codes, sealed; it counts once it is on. The step keeps a code from being used twice.
    Column("totp", Sealed),
    Column("totp_on", Boolean, nullable=False),
    Column("totp_step", BigInteger, nullable=False),
    Column("time_zone", String(64), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("changed_at", Moment, nullable=False),
    Column("signed_in_at", Moment),
    Index("ix_users_team", "team_id", "email"),
)

user_roles = Table(
    "user_roles",
    metadata,
    _user(key=True),
    Column("role", String(40), primary_key=True),
)

# Of secrets that people carry, only hashes are kept: recovery codes, API secrets, sessions, one-time links.
recovery_codes = Table(
    "recovery_codes",
    metadata,
    _user(key=True),
    Column("hash", String(64), primary_key=True),
    Column("used_at", Moment),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(36), primary_key=True),
    _user(),
    Column("key", String(40), nullable=False, unique=True),
    Column("secret_hash", String(64), nullable=False),
    Column("name", Free, nullable=False),
    # Permissions that it is held to; null: all of its user's.
    Column("scope", Document, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment),
    Column("used_at", Moment),
    Index("ix_api_keys_user", "user_id"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("hash", String(64), primary_key=True),
    _user(),
    # open, or what is still to be done: a second factor to show, or to set up.
    Column("state", String(16), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("seen_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("address", String(64)),
    Column("agent", Free),
    # By what somebody came in: password, oidc or saml. An older Millrace did not say.
    Column("way", String(16)),
    Index("ix_sessions_user", "user_id"),
    Index("ix_sessions_expires_at", "expires_at"),
)

# Links that let somebody in once: the first administrator (who is no user yet), an invitation, a lost password.
links = Table(
    "links",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("purpose", String(16), nullable=False),
    Column("user_id", String(36), ForeignKey("users.id", ondelete="CASCADE")),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("used_at", Moment),
    Index("ix_links_user", "user_id"),
)

# Answers to requests that their senders may repeat, by the key that they gave them.
kept_answers = Table(
    "kept_answers",
    metadata,
    Column("team_id", String(36), ForeignKey("teams.id", ondelete="CASCADE"), primary_key=True),
    Column("key", String(255), primary_key=True),
    # Of who asked for what.
    Column("fingerprint", String(64), nullable=False),
    # begun; acted, from the transaction on that first changes something; done.
    Column("state", String(8), nullable=False),
    Column("token", String(36), nullable=False),
    Column("holder", Document, nullable=False),
    Column("status", Integer),
    # Answers may hold secrets that are shown once.
    Column("sealed", Sealed),
    Column("began_at", Moment, nullable=False),
    Index("ix_kept_answers_began_at", "began_at"),
)

team_settings = Table(
    "team_settings",
    metadata,
    Column("team_id", String(36), ForeignKey("teams.id", ondelete="CASCADE"), primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("value", Document, nullable=False),
    Column("changed_at", Moment, nullable=False),
)

# The identity provider of a team, for single sign-on. By SAML: its name and ours stand for issuer and client.
single_sign_on = Table(
    "single_sign_on",
    metadata,
    Column("team_id", String(36), ForeignKey("teams.id", ondelete="CASCADE"), primary_key=True),
    Column("issuer", Free, nullable=False),
    Column("client_id", Free, nullable=False),
    Column("sealed", Sealed),
    # Of e-mail addresses that are taken; none: all.
    Column("domains", Document, nullable=False),
    Column("role", String(40), nullable=False),
    # Who is not a user yet becomes one.
    Column("just_in_time", Boolean, nullable=False),
    Column("changed_at", Moment, nullable=False),
    # What is known of a provider that speaks SAML; null: it speaks OpenID Connect.
    Column("saml", Document),
)

# Who left a team, and when: they may found another only some time after.
departures = Table(
    "departures",
    metadata,
    Column("email", String(EMAIL_LENGTH), primary_key=True),
    Column("left_at", Moment, nullable=False),
)

# Who did what. Rows are added and, a year later, removed; never changed.
activity = Table(
    "activity",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("team_id", String(36), ForeignKey("teams.id", ondelete="CASCADE"), nullable=False),
    Column("at", Moment, nullable=False),
    Column("severity", Integer, nullable=False),
    Column("author", Free, nullable=False),
    Column("author_kind", String(16), nullable=False),
    Column("entity", String(32), nullable=False),
    # Without a foreign key: what is told outlives what it is told of.
    Column("entity_id", String(36)),
    Column("entity_name", Free, nullable=False),
    Column("action", String(32), nullable=False),
    Column("message", Free, nullable=False),
    Column("before", Document, nullable=False),
    Column("after", Document, nullable=False),
    Column("run_id", BigInteger),
    Column("address", String(64)),
    Index("ix_activity_team", "team_id", "id"),
    # For lists without what runs tell all day long.
    Index("ix_activity_told", "team_id", "id", sqlite_where=text("severity > 0")),
    Index("ix_activity_entity", "entity_id", "id"),
    # For what people did to one thing of a pipeline, among all that its runs told.
    Index("ix_activity_done", "entity_id", "entity", "id", sqlite_where=text("severity > 0")),
    Index("ix_activity_at", "at"),
    sqlite_autoincrement=True,
)


@event.listens_for(activity, "before_create")
def _partial(table: Table, connection: Connection, **_: Any) -> None:
    """Indexes are as partial in PostgreSQL. Said late: to name that dialect is to import it."""
    if connection.dialect.name == "postgresql":
        for index in table.indexes:
            index.dialect_options["postgresql"]["where"] = index.dialect_options["sqlite"]["where"]


for _dialect, _statements in STAYS.items():
    for _statement in _statements:
        event.listen(activity, "after_create", DDL(_statement).execute_if(dialect=_dialect))
