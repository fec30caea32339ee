"""What users want to hear of by e-mail: everything, until they say otherwise (accounts 1.6)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from millrace.control.activity import wrote
from millrace.control.alerting import alert_wanted
from millrace.control.alerting.alert_wanted import Wanted
from millrace.control.database.db import upsert
from millrace.control.database.telling_tables import alert_preferences
from millrace.control.people import users
from millrace.errors import ConfigError

if TYPE_CHECKING:
    from millrace.control.home import Home
    from millrace.control.people.users import User


def shown(home: Home, email: str | None = None) -> Wanted:
    """What the user wants; whoever asks, where nobody is named."""
    user = _user(home, email)
    with home.database.reading() as connection:
        mine = sa.select(alert_preferences.c.wanted).where(alert_preferences.c.user_id == user.id)
        return alert_wanted.from_json(connection.execute(mine).scalar())


def change(home: Home, wanted: Wanted, email: str | None = None) -> Wanted:
    """The user gets mail about that, and nothing else, from now on."""
    user = _user(home, email)
    if user.id != home.actor.user_id:
        home.actor.must("users.edit")
    old = shown(home, email)
    wanted = alert_wanted.checked(wanted)
    row: dict[str, Any] = {"user_id": user.id, "wanted": wanted.to_json(), "changed_at": datetime.now(UTC)}
    with home.database.transaction() as connection:
        upsert(connection, alert_preferences, [row], key=["user_id"])
        message = f"what {user.email} is told was changed"
        wrote(home, "MEDIUM", user.entity, "preferences", message, old.to_json(), wanted.to_json())
    return wanted


def _user(home: Home, email: str | None) -> User:
    if email is None and home.actor.user_id is None:
        raise ConfigError("whose preferences are meant?", hint="Name a user with --email.", path="email", code="usage")
    return users.find(home, email or home.actor.name)
