"""Saved connections, of sources and of destinations: the same operations for both."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import reduce
from typing import Annotated, Any

from pydantic import Field

from millrace.connect import registry
from millrace.connect.listed_names import ListedNames
from millrace.control.connecting import checks, connections, files, source_names
from millrace.control.connecting.connections import Connection, Kind
from millrace.control.desk import Operation, operation
from millrace.control.home import Home
from millrace.control.observing import freshness
from millrace.control.observing.freshness import Freshness
from millrace.control.operations.names import Name
from millrace.control.people.actors import Permission
from millrace.control.pipeline import pipelines
from millrace.data.dataclass import dataclass

Type = Annotated[str, Field(max_length=100, description="Type of the connector.")]
Config = Annotated[Mapping[str, Any], Field(description="Settings of the type; its JSON Schema says which.")]


@dataclass(frozen=True, slots=True)
class Saved:
    """A saved connection; of its secrets only the names are shown (I7).

    ``last_loaded_at`` and ``waiting_rows`` are of all its pipelines together.
    """

    kind: Kind
    name: str
    type: str
    config: Mapping[str, Any]
    secrets: tuple[str, ...]
    pipelines: tuple[str, ...]
    last_loaded_at: datetime | None
    waiting_rows: int


@dataclass(frozen=True, slots=True)
class Removed:
    """What is gone."""

    kind: Kind
    name: str


@dataclass(frozen=True, slots=True)
class TypeOf:
    """A type of connector that can be used."""

    type: str
    title: str
    keys: tuple[str, ...]
    required: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VariantOf:
    """A service whose systems a connector reads: a value of its setting `variant`, with its guide in Markdown."""

    name: str
    title: str
    guide: str


@dataclass(frozen=True, slots=True)
class Connector:
    """What a form for a connector is drawn from: the JSON Schema of its settings, and the guide to set it up."""

    type: str
    title: str
    secrets: tuple[str, ...]
    config: Mapping[str, Any]
    guide: str
    variants: tuple[VariantOf, ...]


@dataclass(frozen=True, slots=True)
class Connections:
    """The operations on connections of one kind."""

    list: Operation[[], list[Saved]]
    find: Operation[[str], Saved]
    add: Operation[[str, str, Mapping[str, Any]], Saved]
    put: Operation[[str, Mapping[str, Any]], Saved]
    rename: Operation[[str, str], Saved]
    remove: Operation[[str], Removed]
    types: Operation[[], list[TypeOf]]
    connector: Operation[[str], Connector]

    @property
    def all(self) -> tuple[Operation[..., Any], ...]:
        return (self.list, self.add, self.find, self.put, self.rename, self.remove, self.types, self.connector)


def of_kind(kind: Kind, create: Permission, edit: Permission, delete: Permission) -> Connections:
    """The operations on sources, or on destinations."""
    where, noun = f"/{kind}s", f"{kind}s"

    @operation("GET", where, noun=noun)
    def list_(home: Home) -> list[Saved]:
        """List those that are saved, by name."""
        return _saved(home, connections.listed(home, kind))

    @operation("GET", f"{where}/{{name}}", noun=noun)
    def find(home: Home, name: Name) -> Saved:
        """Show the settings of one. Of its secrets only the names are told."""
        return _one(home, kind, name)

    @operation("POST", where, create, noun=noun, status=201)
    def add(home: Home, name: Name, type: Type, config: Config) -> Saved:
        """Save one under a name."""
        connections.create(home, kind, name, type, files.placed(home, connections.config_class(kind, type), config))
        return _one(home, kind, name)

    @operation("PUT", f"{where}/{{name}}", edit, noun=noun)
    def put(home: Home, name: Name, config: Config) -> Saved:
        """Give one other settings, in place of all that it has. Secrets that are not named stay."""
        model = connections.config_class(kind, connections.find(home, kind, name).type)
        connections.change(home, kind, name, config=files.placed(home, model, config), keep_secrets=True)
        return _one(home, kind, name)

    @operation("POST", f"{where}/{{name}}/rename", edit, noun=noun)
    def rename(home: Home, name: Name, to: Name) -> Saved:
        """Save one under another name. Pipelines that use it go on."""
        connections.change(home, kind, name, new_name=to)
        return _one(home, kind, to)

    @operation("DELETE", f"{where}/{{name}}", delete, noun=noun)
    def remove(home: Home, name: Name) -> Removed:
        """Remove one that no pipeline uses. Nothing is changed in that system."""
        connections.remove(home, kind, name)
        return Removed(kind, name)

    @operation("GET", f"/connectors{where}", noun=noun)
    def types(home: Home) -> list[TypeOf]:
        """List the types that there are."""
        del home
        return types_of(kind)

    @operation("GET", f"/connectors{where}/{{type}}", noun=noun)
    def connector(home: Home, type: Type) -> Connector:
        """Show one type: the JSON Schema of its settings, and its guide in Markdown."""
        del home
        return _connector(kind, type)

    return Connections(list_, find, add, put, rename, remove, types, connector)


SOURCES = of_kind("source", "pipelines.create", "pipelines.edit", "pipelines.delete")
DESTINATIONS = of_kind("destination", "destinations.create", "destinations.edit", "destinations.delete")


@operation("POST", "/check")
def check(home: Home, name: Name | None = None) -> list[checks.Checked]:
    """Test the connections of that name, or of the pipeline of that name, or all.

    Can they be reached, are the credentials right, may they do what is needed?
    """
    return checks.check(home, name)


@operation("POST", "/connectors/sources/{type}/names", "pipelines.edit", noun="sources")
def names(
    home: Home,
    type: Type,
    config: Config,
    source: Annotated[Name, Field(description="A saved one, whose secrets are kept.")] | None = None,
    draft: Annotated[int, Field(ge=0, lt=1 << 63, description="A draft, whose secrets are kept.")] | None = None,
) -> ListedNames:
    """Show what becomes of each name that a source with these settings would read, before it is saved, such as the
    events of a CleverTap project: which will be read, which cannot be exported, and which are in the file twice. A file
    was sent before; where the settings want it, the system is asked for its names."""
    return source_names.names(home, type, config, source=source, draft=draft)


OPERATIONS = (*SOURCES.all, *DESTINATIONS.all, check, names)


def _saved(home: Home, found: list[Connection]) -> list[Saved]:
    """The connections with the pipelines that use each, and how fresh what those filled is."""
    flows = pipelines.listed(home)
    with home.database.reading() as connection:
        fresh = freshness.by_pipeline(connection, home.actor.team_id)

    def saved(one: Connection) -> Saved:
        mine = [flow for flow in flows if one.id in (flow.source_id, flow.destination_id)]
        filled = reduce(Freshness.beside, [fresh[flow.id] for flow in mine if flow.id in fresh], Freshness())
        return Saved(
            kind=one.kind,
            name=one.name,
            type=one.type,
            config=dict(one.config),
            secrets=one.secret_keys,
            pipelines=tuple(flow.name for flow in mine),
            last_loaded_at=filled.last_loaded_at,
            waiting_rows=filled.waiting_rows,
        )

    return [saved(one) for one in found]


def _one(home: Home, kind: Kind, name: str) -> Saved:
    return _saved(home, [connections.find(home, kind, name)])[0]


def types_of(kind: Kind) -> list[TypeOf]:
    found: list[TypeOf] = []
    for type_ in registry.names(registry.SOURCES if kind == "source" else registry.DESTINATIONS):
        connector = _family(kind, type_)
        fields = connector.Config.model_fields
        required = tuple(key for key, field in fields.items() if field.is_required())
        found.append(TypeOf(type_, connector.title, tuple(fields), required))
    return found


def _connector(kind: Kind, type_: str) -> Connector:
    found = _family(kind, type_)
    return Connector(
        type=type_,
        title=found.title,
        secrets=tuple(sorted(found.Config.secret_keys())),
        config=found.Config.model_json_schema(),
        guide=registry.guide(found),
        variants=tuple(
            VariantOf(one.name, one.title, registry.guide(found, one.name)) for one in getattr(found, "variants", ())
        ),
    )


def _family(kind: Kind, type_: str) -> Any:
    return registry.source(type_) if kind == "source" else registry.destination(type_)
