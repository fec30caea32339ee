"""Connections: saved settings of sources and destinations, their secrets sealed apart (I7)."""

from __future__ import annotations

import uuid
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import field, replace
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import sqlalchemy as sa
from pydantic import SecretBytes, SecretStr, ValidationError

from millrace.connect import registry
from millrace.connect.config import Settings
from millrace.control.activity import Entity, wrote
from millrace.control.alerting import alert_events
from millrace.control.as_code.findings import findings, nearest
from millrace.control.connecting import aims, reach
from millrace.control.database import pages
from millrace.control.database.numbers import following
from millrace.control.database.pages import Page
from millrace.control.database.tables import connections, pipelines, tables
from millrace.control.people.actors import Permission
from millrace.control.secrecy import sealing, secrets
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError

if TYPE_CHECKING:
    from millrace.connect.config import DestinationConfig
    from millrace.connect.destination import Destination
    from millrace.connect.source import Context, Source
    from millrace.control.home import Home
    from millrace.control.pipeline.pipelines import Pipeline
    from millrace.data.batch import JSON

Kind: TypeAlias = Literal["source", "destination"]

# Settings that say where tables are and how they are named; a destination keeps them once something was loaded
# (destinations.md 3: host, port and credentials may change, the database may not).
FIXED_AFTER_LOAD = frozenset(
    {"path", "url", "bucket", "db_name", "database", "project_id", "dataset", "schema_name", "sanitize_names", "format"}
)


@dataclass(frozen=True, slots=True)
class Connection:
    """A saved connection. ``config`` is as it was given but without the secrets; ``secret_keys`` are those set.

    ``sealed`` are the secrets of this very config: read at another time, they could be those of a config that leads
    elsewhere.
    """

    id: str
    kind: Kind
    name: str
    number: int
    type: str
    config: Mapping[str, Any]
    secret_keys: tuple[str, ...]
    created_at: datetime
    changed_at: datetime
    sealed: bytes | None = field(repr=False, compare=False)

    @property
    def entity(self) -> Entity:
        return Entity(self.kind, self.id, self.name)

    @property
    def told(self) -> dict[str, Any]:
        """What the activity log tells of it: no secret, but which there are."""
        return {"name": self.name, "type": self.type, "config": self.config, "secrets": list(self.secret_keys)}


@dataclass(frozen=True, slots=True)
class Offered:
    """A column that a source declares for a stream."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Offer:
    """A stream that a source offers. ``columns`` may be a part of them: others appear with the rows. ``extra``: it is
    read only where a pipeline names it."""

    name: str
    key: tuple[str, ...]
    cursor_field: str | None
    historical: bool
    deletes: bool
    columns: tuple[Offered, ...]
    extra: bool


def create(home: Home, kind: Kind, name: str, type_: str, config: Mapping[str, Any]) -> Connection:
    """The connection is saved. Raises ConfigError when its name is taken, or the connector's Config refuses the
    settings or a file that they name."""
    home.actor.must(_permission(kind, "create"))
    checked_name(name, kind)
    plain = _plain(config)
    validated(kind, type_, plain, where=name).inspect()
    open_, hidden = split(kind, type_, plain)
    now = datetime.now(UTC)
    id_ = str(uuid.uuid4())
    row: dict[str, Any] = {
        "id": id_,
        "kind": kind,
        "name": name,
        "type": type_,
        "config": open_,
        "secret_keys": sorted(hidden),
        "created_at": now,
        "changed_at": now,
        "team_id": home.actor.team_id,
    }
    with home.database.transaction() as connection, unique_name(kind, name):
        row["sealed"] = sealing.seal(home, connection, connections.c.sealed, id_, hidden)
        row["number"] = following(connection, "connection")
        made = connection.execute(sa.insert(connections).values(row).returning(connections)).one()
        new = _connection(made)
        wrote(home, "HIGH", new.entity, "create", f"{kind} {name} was added", after=new.told)
    return new


def change(
    home: Home,
    kind: Kind,
    name: str,
    *,
    new_name: str | None = None,
    config: Mapping[str, Any] | None = None,
    keep_secrets: bool = False,
) -> Connection:
    """The connection has the new name, the new config, or both; ``config`` takes the place of the old one whole.

    With ``keep_secrets``, secrets that ``config`` does not name stay. Raises ConfigError for a config that the
    connector refuses, for a file in it that does so, and for a change of what must stay after a first load.
    """
    home.actor.must(_permission(kind, "edit"))
    old = find(home, kind, name)
    values: dict[str, Any] = {"changed_at": datetime.now(UTC)}
    hidden: dict[str, Any] | None = None
    if new_name is not None and new_name != name:
        values["name"] = checked_name(new_name, kind)
    if config is not None:
        plain = _plain(config)
        if keep_secrets:
            kept = {key: value for key, value in opened(home, old).items() if key not in plain}
            aims.must_stay(home, config_class(kind, old.type), old.config, plain, kept, f"{kind} {name}")
            plain = kept | plain
        validated(kind, old.type, plain, where=name).inspect()
        open_, hidden = split(kind, old.type, plain)
        if kind == "destination":
            _stays(home, old, open_)
        values |= {"config": open_, "secret_keys": sorted(hidden)}
    with home.database.transaction() as connection, unique_name(kind, new_name or name):
        if hidden is not None:
            values["sealed"] = sealing.seal(home, connection, connections.c.sealed, old.id, hidden)
        mine = sa.update(connections).where(connections.c.id == old.id)
        if keep_secrets:
            # Secrets that stay are those that were read before.
            mine = mine.where(connections.c.changed_at == old.changed_at)
        if (row := connection.execute(mine.values(values).returning(connections)).one_or_none()) is None:
            raise ConfigError(
                f"{kind} {name} was changed by somebody else in this moment",
                hint="Look at it, and try again.",
                code="wrong_state",
            )
        new = _connection(row)
        wrote(home, "MEDIUM", new.entity, "change", f"{kind} {name} was changed", old.told, new.told)
    return new


def differences(home: Home, old: Connection, config: Mapping[str, Any]) -> list[str]:
    """Keys whose value in ``config`` is another than the saved one, secrets among them."""
    saved = dict(old.config) | opened(home, old)
    new = _plain(config)
    return sorted(
        key for key in saved.keys() | new.keys() if saved.get(key) != new.get(key) or (key in saved) != (key in new)
    )


def must_bear(home: Home, old: Connection, config: Mapping[str, Any]) -> None:
    """Raises ConfigError where `change` would refuse the config for what was loaded."""
    if old.kind == "destination":
        _stays(home, old, split(old.kind, old.type, _plain(config))[0])


def remove(home: Home, kind: Kind, name: str) -> None:
    """The connection is gone. Raises ConfigError when a pipeline uses it."""
    home.actor.must(_permission(kind, "delete"))
    found = find(home, kind, name)
    with home.database.transaction() as connection:
        used = connection.execute(
            sa.select(pipelines.c.name).where(
                sa.or_(pipelines.c.source_id == found.id, pipelines.c.destination_id == found.id)
            )
        ).scalars()
        if names := sorted(used):
            raise ConfigError(
                f"{kind} {name!r} is used by {', '.join(names)}",
                hint="Remove or change those pipelines first.",
                code="in_use",
            )
        connection.execute(sa.delete(connections).where(connections.c.id == found.id))
        alert_events.gone(connection, home.actor.team_id, found.entity)
        wrote(home, "HIGH", found.entity, "delete", f"{kind} {name} was removed", before=found.told)


def load_schedule(connection: sa.Connection, destination_id: str) -> JSON:
    """When what is staged for a destination is loaded; None: with every run."""
    return connection.execute(sa.select(connections.c.load_schedule).where(connections.c.id == destination_id)).scalar()


def load_schedules(home: Home) -> dict[str, JSON]:
    """The schedules by which destinations of the team are loaded, by their ids; those without are not there."""
    home.actor.must("view")
    c = connections.c
    query = sa.select(c.id, c.load_schedule).where(c.team_id == home.actor.team_id, c.kind == "destination")
    with home.database.reading() as connection:
        return {row.id: row.load_schedule for row in connection.execute(query) if row.load_schedule is not None}


def listed(home: Home, kind: Kind | None = None) -> list[Connection]:
    """All connections, or those of one kind, by name."""
    home.actor.must("view")
    query = sa.select(connections).where(connections.c.team_id == home.actor.team_id)
    query = query.order_by(connections.c.kind.desc(), connections.c.name)
    if kind is not None:
        query = query.where(connections.c.kind == kind)
    with home.database.reading() as connection:
        return [_connection(row) for row in connection.execute(query)]


def find(home: Home, kind: Kind, name: str) -> Connection:
    """The connection of that name. Raises ConfigError when there is none."""
    home.actor.must("view")
    with home.database.reading() as connection:
        row = connection.execute(
            sa.select(connections).where(
                connections.c.team_id == home.actor.team_id, connections.c.kind == kind, connections.c.name == name
            )
        ).one_or_none()
    if row is None:
        known = [one.name for one in listed(home, kind)]
        hint = nearest(name, known, what=f"There are {kind}s") if known else f"There is no {kind} yet."
        raise ConfigError(f"there is no {kind} {name!r}", hint=hint, code=f"unknown_{kind}")
    return _connection(row)


def numbered(home: Home, kind: Kind, number: int) -> Connection:
    """The connection of that number. Raises ConfigError when there is none of this kind."""
    home.actor.must("view")
    ours = (connections.c.team_id == home.actor.team_id, connections.c.kind == kind, connections.c.number == number)
    with home.database.reading() as connection:
        row = connection.execute(sa.select(connections).where(*ours)).one_or_none()
    if row is None:
        raise ConfigError(f"there is no {kind} {number}", code=f"unknown_{kind}")
    return _connection(row)


def page(home: Home, kind: Kind, *, after: str | None = None, limit: int = 100) -> Page[Connection]:
    """Connections of a kind by their numbers, from the one after the cursor on."""
    home.actor.must("view")
    query = sa.select(connections).where(connections.c.team_id == home.actor.team_id, connections.c.kind == kind)
    if after is not None:
        query = query.where(connections.c.number > pages.number(after))
    query = query.order_by(connections.c.number).limit(pages.checked_limit(limit) + 1)
    with home.database.reading() as connection:
        found = [_connection(row) for row in connection.execute(query)]
    return pages.cut(found, limit, lambda one: str(one.number))


def by_ids(home: Home, ids: Iterable[str]) -> dict[str, Connection]:
    """Connections by their ids, which come from pipelines."""
    with home.database.reading() as connection:
        rows = connection.execute(sa.select(connections).where(connections.c.id.in_(set(ids))))
        return {row.id: _connection(row) for row in rows}


def by_id(home: Home, id_: str) -> Connection:
    """The connection of that id; ids come from pipelines, so it is there."""
    with home.database.reading() as connection:
        return _connection(connection.execute(sa.select(connections).where(connections.c.id == id_)).one())


def settings_of(home: Home, connection: Connection) -> Settings:
    """The connector's Config with its secrets opened: only to build a connector (I7)."""
    plain = dict(connection.config) | opened(home, connection)
    return validated(connection.kind, connection.type, plain, where=connection.name)


def build_source(home: Home, source_id: str, context: Context) -> Source[Any]:
    """The source, ready to read; the caller closes it."""
    found = by_id(home, source_id)
    return registry.source(found.type)(
        settings_of(home, found), replace(context, reach=reach.of_source(home, found.type, found.config))
    )


def build_destination(home: Home, destination_id: str, context: Context) -> Destination[Any]:
    """The destination, ready to load; the caller closes it."""
    family, config = destination_of(home, destination_id)
    return family(config, replace(context, reach=reach.of(home)))


def destination_of(home: Home, destination_id: str) -> tuple[type[Destination[Any]], DestinationConfig]:
    """The class of a destination and its settings."""
    found = by_id(home, destination_id)
    config: Any = settings_of(home, found)
    return registry.destination(found.type), config


def secrets_of(home: Home, pipeline: Pipeline) -> list[str]:
    """Every secret text of the pipeline's two connections, to take them out of what is shown (`secrets.redact`)."""
    found = by_ids(home, (pipeline.source_id, pipeline.destination_id)).values()
    return [text for one in found for value in opened(home, one).values() for text in secrets.texts(value)]


def discover(home: Home, name: str) -> list[Offer]:
    """What the source of that name offers."""
    home.actor.must("view")
    from millrace.connect.source import Context

    return offers(build_source(home, find(home, "source", name).id, Context()))


def offers(source: Source[Any]) -> list[Offer]:
    """What a source offers; it is closed then."""
    from millrace.data import types

    try:
        return [
            Offer(
                name=stream.name,
                key=stream.key,
                cursor_field=stream.cursor_field,
                historical=stream.historical,
                deletes=stream.deletes,
                columns=tuple(
                    Offered(field.name, types.name(types.canonical(field.type))) for field in stream.schema or ()
                ),
                extra=stream.name in source.extras,
            )
            for stream in source.streams()
        ]
    finally:
        source.close()


def validated(kind: Kind, type_: str, config: Mapping[str, Any], *, where: str) -> Settings:
    """The connector's Config. Raises ConfigError that names every wrong key, and no secret value."""
    model = config_class(kind, type_)
    try:
        return model.model_validate(dict(config))
    except ValidationError as error:
        found = list(findings(error, model))
    hidden = [text for key, value in config.items() if key in _secret_names(model) for text in secrets.texts(value)]
    lines = [secrets.redact(one.message, hidden) for one in found]
    raise ConfigError(
        f"{kind} {where!r}: {'; '.join(lines)}",
        hint=next((one.hint for one in found if one.hint), None),
        path=".".join(str(step) for step in found[0].path) or None,
        code=found[0].code,
    )


def split(kind: Kind, type_: str, config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The config without its secrets, and the secrets."""
    names = _secret_names(config_class(kind, type_))
    open_ = {key: value for key, value in config.items() if key not in names}
    return open_, {key: value for key, value in config.items() if key in names and value is not None}


def config_class(kind: Kind, type_: str) -> type[Settings]:
    """The Config of a type of source or destination. Raises ConfigError when there is none of that name."""
    return registry.source(type_).Config if kind == "source" else registry.destination(type_).Config


def checked_name(name: str, what: str) -> str:
    """The name, when it can be one: 1 to 255 characters that can be seen. Raises ConfigError otherwise."""
    if not name.strip() or len(name) > 255 or name != name.strip() or not name.isprintable():
        raise ConfigError(
            f"{name[:80]!r} cannot be the name of a {what}",
            hint="Use 1 to 255 letters, digits and signs, without spaces at the ends.",
            path="name",
            code="bad_name",
        )
    return name


def _permission(kind: Kind, verb: Literal["create", "edit", "delete"]) -> Permission:
    """What a change of a connection asks for: a source is a part of pipelines."""
    permissions: dict[tuple[Kind, str], Permission] = {
        ("source", "create"): "pipelines.create",
        ("source", "edit"): "pipelines.edit",
        ("source", "delete"): "pipelines.delete",
        ("destination", "create"): "destinations.create",
        ("destination", "edit"): "destinations.edit",
        ("destination", "delete"): "destinations.delete",
    }
    return permissions[kind, verb]


def _connection(row: Any) -> Connection:
    return Connection(
        id=row.id,
        number=row.number,
        kind=row.kind,
        name=row.name,
        type=row.type,
        secret_keys=tuple(row.secret_keys),
        config=row.config,
        created_at=row.created_at,
        changed_at=row.changed_at,
        sealed=row.sealed,
    )


def opened(home: Home, connection: Connection) -> dict[str, Any]:
    """The secrets of a connection, opened: only to build a connector (I7)."""
    # The key is read only when there is something to open.
    return sealing.unseal(home, connections.c.sealed, connection.id, connection.sealed)


def _secret_names(model: type[Settings]) -> frozenset[str]:
    names = model.secret_keys()
    aliases = {field.alias for name, field in model.model_fields.items() if name in names and field.alias}
    return names | aliases


def _plain(value: Any) -> Any:
    """The value in JSON's own kinds, secrets unwrapped: what YAML or Python may hand over."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, SecretBytes):
        return value.get_secret_value().decode()
    if isinstance(value, PurePath):
        return str(value)
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _stays(home: Home, old: Connection, new: Mapping[str, Any]) -> None:
    """Nothing changes that tables depend on, once a pipeline has loaded into this destination."""
    fields = config_class("destination", old.type).model_fields

    def value(config: Mapping[str, Any], key: str) -> Any:
        return config.get(key, fields[key].default if key in fields else None)

    changed = sorted(key for key in FIXED_AFTER_LOAD if value(old.config, key) != value(new, key))
    if not changed or (changed == ["path"] and _moved(value(old.config, "path"), value(new, "path"))):
        return
    with home.database.reading() as connection:
        loaded = connection.execute(
            sa.select(pipelines.c.name)
            .join(tables, tables.c.pipeline_id == pipelines.c.id)
            .where(pipelines.c.destination_id == old.id, tables.c.loaded > 0)
            .distinct()
        ).scalars()
        if names := sorted(loaded):
            raise ConfigError(
                f"{', '.join(changed)} of destination {old.name!r} cannot be changed: {', '.join(names)} has loaded "
                "tables there",
                hint="Add a new destination, and a new pipeline that loads into it.",
                path=changed[0],
                code="fixed_after_load",
            )


def _moved(old: Any, new: Any) -> bool:
    """What was at the path is at another one now, and no longer there: its folder was moved, or renamed.

    Whether it is the same is asked at the next load, which compares what the tables hold with the books (I3).
    """
    if not (isinstance(old, str) and isinstance(new, str)):
        return False
    before, now = Path(old), Path(new)
    return before.is_absolute() and now.is_absolute() and not before.exists() and now.exists()


@contextmanager
def unique_name(kind: str, name: str) -> Generator[None]:
    """A name that is taken, in words: ConfigError "name_taken"."""
    from sqlalchemy.exc import IntegrityError

    try:
        yield
    except IntegrityError as cause:
        raise ConfigError(
            f"there is a {kind} {name!r} already", hint="Choose another name, or change that one.", code="name_taken"
        ) from cause
