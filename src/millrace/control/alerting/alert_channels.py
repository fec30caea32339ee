"""Channels: where alerts of a team go. Their secrets are sealed, and opened only to send (I7)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from millrace.control.activity import Entity, wrote
from millrace.control.alerting import alert_kinds, alert_sending, alert_wanted
from millrace.control.alerting.alert_kinds import ChannelKind
from millrace.control.alerting.alert_wanted import Wanted
from millrace.control.as_code.findings import nearest
from millrace.control.connecting import aims, reach
from millrace.control.connecting.connections import checked_name, unique_name
from millrace.control.database.telling_tables import alert_channels, alert_deliveries
from millrace.control.people.actors import SYSTEM
from millrace.control.secrecy import sealing
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError

if TYPE_CHECKING:
    from millrace.connect.config import Settings
    from millrace.control.home import Home


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel. ``config`` is without its secrets; ``secrets`` names those that are set."""

    id: str
    name: str
    kind: ChannelKind
    config: Mapping[str, Any]
    secrets: tuple[str, ...]
    enabled: bool
    wanted: Wanted
    created_at: datetime
    changed_at: datetime

    @property
    def entity(self) -> Entity:
        return Entity("channel", self.id, self.name)

    @property
    def told(self) -> dict[str, Any]:
        """What the activity log tells of it."""
        wanted = self.wanted.to_json()
        return {"name": self.name, "kind": self.kind, "config": self.config, "enabled": self.enabled} | wanted


def add(
    home: Home, name: str, kind: str, config: Mapping[str, Any], wanted: Wanted | None = None, *, enabled: bool = True
) -> Channel:
    """Alerts go there from now on. Raises ConfigError for a name that is taken and for settings that cannot be,
    Walled where no server may send."""
    home.actor.must("settings.edit")
    checked_name(name, "channel")
    known = alert_kinds.known_kind(kind)
    must_be_reached(home, alert_kinds.validated(known, config))
    now = datetime.now(UTC)
    id_ = str(uuid.uuid4())
    row = {"id": id_, "team_id": home.actor.team_id, "name": name, "kind": known, "enabled": enabled}
    row |= {"wanted": alert_wanted.checked(wanted or Wanted()).to_json(), "created_at": now, "changed_at": now}
    open_, hidden = alert_kinds.split(known, config)
    values: dict[str, Any] = row | {"config": open_, "secret_keys": sorted(hidden)}
    with home.database.transaction() as connection, unique_name("channel", name):
        values["sealed"] = sealing.seal(home, connection, alert_channels.c.sealed, id_, hidden)
        inserted = connection.execute(sa.insert(alert_channels).values(values).returning(alert_channels)).one()
        made = _channel(inserted)
        wrote(home, "MEDIUM", made.entity, "create", f"channel {name} was added", after=made.told)
    return made


def change(
    home: Home,
    name: str,
    *,
    config: Mapping[str, Any] | None = None,
    wanted: Wanted | None = None,
    enabled: bool | None = None,
    keep_secrets: bool = True,
) -> Channel:
    """The channel with what is given in place of what it had. Secrets that ``config`` does not name stay, or go.

    What waits on its way to a channel that is switched off is not sent.
    """
    home.actor.must("settings.edit")
    old = find(home, name)
    values: dict[str, Any] = {"changed_at": datetime.now(UTC)}
    hidden: Mapping[str, Any] | None = None
    if config is not None:
        old, secrets = _opened(home, old.id)
        kept = {key: value for key, value in secrets.items() if key not in config and keep_secrets}
        aims.must_stay(home, alert_kinds.MODELS[old.kind], old.config, config, kept, f"channel {name}")
        whole = kept | dict(config)
        must_be_reached(home, alert_kinds.validated(old.kind, whole))
        open_, hidden = alert_kinds.split(old.kind, whole)
        values |= {"config": open_, "secret_keys": sorted(hidden)}
    if wanted is not None:
        values["wanted"] = alert_wanted.checked(wanted).to_json()
    if enabled is not None:
        values["enabled"] = enabled
    with home.database.transaction() as connection:
        if hidden is not None:
            values["sealed"] = sealing.seal(home, connection, alert_channels.c.sealed, old.id, hidden)
        mine = sa.update(alert_channels).where(alert_channels.c.id == old.id)
        new = _channel(connection.execute(mine.values(values).returning(alert_channels)).one())
        if not new.enabled:
            waiting = (alert_deliveries.c.channel_id == old.id, alert_deliveries.c.state == "waiting")
            gone = {"state": "dropped", "ended_at": home.database.now()}
            connection.execute(sa.update(alert_deliveries).where(*waiting).values(gone))
        wrote(home, "MEDIUM", new.entity, "change", f"channel {name} was changed", old.told, new.told)
    return new


def remove(home: Home, name: str) -> None:
    """The channel is gone, with what was on its way there."""
    home.actor.must("settings.edit")
    old = find(home, name)
    with home.database.transaction() as connection:
        connection.execute(sa.delete(alert_channels).where(alert_channels.c.id == old.id))
        wrote(home, "MEDIUM", old.entity, "delete", f"channel {name} was removed", before=old.told)


def listed(home: Home) -> list[Channel]:
    """The channels of the team, by name."""
    home.actor.must("view")
    mine = alert_channels.c.team_id == home.actor.team_id
    with home.database.reading() as connection:
        query = sa.select(alert_channels).where(mine).order_by(alert_channels.c.name)
        return [_channel(row) for row in connection.execute(query)]


def find(home: Home, name: str) -> Channel:
    """The channel of that name. Raises ConfigError "unknown_channel"."""
    home.actor.must("view")
    found = listed(home)
    for one in found:
        if one.name == name:
            return one
    known = [one.name for one in found]
    hint = nearest(name, known, what="There are") if known else "There is none yet: `millrace alert add`."
    raise ConfigError(f"there is no channel {name[:80]!r}", hint=hint, code="unknown_channel")


def settings(home: Home, channel_id: str) -> Settings:
    """The settings of a channel with its secrets, both as they are now, to send something."""
    found, secrets = _opened(home, channel_id)
    return alert_kinds.validated(found.kind, dict(found.config) | secrets)


def differences(home: Home, old: Channel, config: Mapping[str, Any]) -> list[str]:
    """Keys whose value in ``config`` is another than the saved one, secrets among them."""
    old, secrets = _opened(home, old.id)
    saved = dict(old.config) | secrets
    return sorted(
        key
        for key in saved.keys() | config.keys()
        if key not in saved or key not in config or saved[key] != config[key]
    )


def must_be_reached(home: Home, settings: Settings, *, private: bool | None = None) -> None:
    """Whoever asks may reach more than the service, which sends; it has to reach the channel. ``private``: as of
    `reach.of`. Raises Walled."""
    alert_sending.check_reach(settings, reach.of(home.acting(SYSTEM), private=private))


def _opened(home: Home, id_: str) -> tuple[Channel, dict[str, Any]]:
    """The channel and the secrets of its very config: those of another moment could be meant for another place."""
    with home.database.reading() as connection:
        row = connection.execute(sa.select(alert_channels).where(alert_channels.c.id == id_)).one()
    return _channel(row), sealing.unseal(home, alert_channels.c.sealed, id_, row.sealed)


def _channel(row: Any) -> Channel:
    return Channel(
        id=row.id,
        name=row.name,
        kind=row.kind,
        config=row.config,
        secrets=tuple(row.secret_keys),
        enabled=row.enabled,
        wanted=alert_wanted.from_json(row.wanted),
        created_at=row.created_at,
        changed_at=row.changed_at,
    )
