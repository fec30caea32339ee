"""A message to all addresses of a channel is one to each: they hear that it is over, and are tried again alone."""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from alembic import op

from millrace.control.database.column_types import Document

revision = "0051"
down_revision = "0050"

# What such a message is known by; the rest is as it was.
ONCE = ("alert_id", "channel_id", "occasion", "nth")
REST = (
    *("team_id", "state", "attempts", "due_at", "token", "expires_at", "created_at", "ended_at", "error"),
    *("message", "key", "recipient"),
)


def upgrade() -> None:
    connection = op.get_bind()
    channels = sa.table("alert_channels", sa.column("id"), sa.column("kind"), sa.column("config", Document()))
    deliveries = sa.table("alert_deliveries", sa.column("id"), *(sa.column(name) for name in (*ONCE, *REST)))
    d = deliveries.c
    for channel in connection.execute(sa.select(channels).where(channels.c.kind == "email")).all():
        to = channel.config.get("to") or ()
        addresses = [one.strip() for one in to.split(",")] if isinstance(to, str) else to
        whole = sa.select(d.id).where(d.channel_id == channel.id, d.recipient == "").order_by(d.id)
        for id_ in connection.execute(whole).scalars().all() if addresses else ():
            row = dict(connection.execute(sa.select(deliveries).where(d.id == id_)).mappings().one())
            same = [d[name] == row[name] for name in ONCE]
            known = {one.casefold() for one in connection.execute(sa.select(d.recipient).where(*same)).scalars()}
            fresh: list[str] = []
            for address in addresses:
                if address.casefold() not in known:
                    known.add(address.casefold())
                    fresh.append(address)
            if not fresh:
                connection.execute(sa.delete(deliveries).where(d.id == id_))
                continue
            # The message itself goes on as that to the first, so that it keeps its place among all and its key.
            connection.execute(sa.update(deliveries).where(d.id == id_).values(recipient=fresh[0]))
            del row["id"]
            for address in fresh[1:]:
                key = str(uuid.uuid4())
                own = {"recipient": address, "key": key, "message": row["message"].replace(row["key"], key)}
                connection.execute(sa.insert(deliveries).values(row | own))
