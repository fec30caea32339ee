"""Passwords that people forgot: a link goes to their mailbox, by a mail channel of their team.

Nothing of it tells whether an address is known: whoever asks is answered before anything is looked up.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from millrace.control.alerting import alert_channels, alert_sending
from millrace.control.alerting.alert_kinds import EmailSettings
from millrace.control.connecting import reach
from millrace.control.database.people_tables import users
from millrace.control.people import invitations
from millrace.control.people.actors import SYSTEM
from millrace.control.settings import workspace
from millrace.errors import MillraceError

if TYPE_CHECKING:
    from millrace.control.home import Home
    from millrace.control.people.invitations import Link

# The screen on which another password is chosen (web/src/app/routes.tsx).
PAGE = "/reset"

_log = logging.getLogger("millrace.forgotten")


def send(home: Home, email: str) -> None:
    """Who has that address gets a link, if their team has a mail channel. Raises nothing: nobody waits for it."""
    try:
        link = invitations.forgotten(home, email)
        if link is None:
            return
        with home.database.reading() as connection:
            team_id = connection.execute(sa.select(users.c.team_id).where(users.c.email == link.email)).scalar_one()
        there = home.acting(SYSTEM.of(team_id))
        settings = _mail(there)
        if settings is None:
            _log.warning("a password was forgotten, and its team has no channel for mail: use `millrace user link`")
            return
        alert_sending.deliver(settings, _letter(home, settings, link), [link.email], reach.of(there))
    except MillraceError as error:
        _log.warning("a link for a forgotten password could not be sent: %s", error.message)


def _mail(home: Home) -> EmailSettings | None:
    for one in alert_channels.listed(home):
        if one.kind == "email" and one.enabled:
            found = alert_channels.settings(home, one.id)
            assert isinstance(found, EmailSettings)
            return found
    return None


def _letter(home: Home, settings: EmailSettings, link: Link) -> EmailMessage:
    # Not from what the request calls the server: whoever asks decides that, and would get the token.
    public = workspace(home.database).public_url
    how = f"Open this link:\n  {public.rstrip('/')}{PAGE}#{link.token}" if public else f"Your token:\n  {link.token}"
    found = EmailMessage()
    found["Subject"] = "Millrace: choose another password"
    found["From"] = f"Millrace <{settings.sender}>"
    found["To"] = link.email
    found["Date"] = format_datetime(datetime.now(UTC))
    found["Auto-Submitted"] = "auto-generated"
    found.set_content(
        "Somebody asked for another password for this address.\n\n"
        f"{how}\n\nIt is good once, for a day. If it was not you, nothing has to be done.\n"
    )
    return found
