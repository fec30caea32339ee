"""What a deployment holds: its collections, as the streams of the source and as relations that are queried."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, cast

from bson.objectid import ObjectId

from millrace.connect.sql.reading.relation import Column, Index, Kind, Relation
from millrace.data.columns import DATABASE_NAME
from millrace.data.dataclass import dataclass
from millrace.sources.mongodb.client import Client, Server
from millrace.sources.mongodb.config import OWN_DATABASES
from millrace.sources.mongodb.values import DECODING

ID = "_id"
# Documents that are looked at from each end of a collection to know its fields.
_LOOKED_AT = 50
# How far into sub-documents fields are looked for, to query by them.
_DEEP = 3


@dataclass(frozen=True, slots=True)
class Collection:
    """One collection, or a view. ``keeps_images``: changes bring documents as they were before and after."""

    database: str
    name: str
    view: bool = False
    keeps_images: bool = False


@dataclass(frozen=True, slots=True)
class Object:
    """What is read as one stream: a collection, or those of one name in all databases."""

    name: str
    collections: tuple[Collection, ...]
    merged: bool = False

    @property
    def view(self) -> bool:
        return any(one.view for one in self.collections)

    @property
    def key(self) -> tuple[str, ...]:
        """What tells documents apart. Those of a view may share an `_id`."""
        if self.view:
            return ()
        return (DATABASE_NAME, ID) if self.merged else (ID,)


def objects(server: Server) -> dict[str, Object]:
    """All that the user may read, by name."""
    config = server.config
    with server.asked() as client:
        found = [one for database in _databases(client, config.db_names) for one in _collections(client, database)]
    if not config.merge_collections:
        return {f"{one.database}.{one.name}": Object(f"{one.database}.{one.name}", (one,)) for one in found}
    by_name: dict[str, list[Collection]] = {}
    for one in found:
        by_name.setdefault(one.name, []).append(one)
    return {name: Object(name, tuple(those), merged=True) for name, those in by_name.items()}


def relation(server: Server, object_: Object) -> Relation:
    """The object as it is queried, by what some of its documents and its indexes say. Raises ObjectRefused."""
    with server.asked(object_.name) as client:
        documents = [one for collection in object_.collections for one in _some(client, collection)]
        indexes = [
            one for collection in object_.collections if not collection.view for one in _indexes(client, collection)
        ]
        rows = sum(
            client[one.database][one.name].estimated_document_count() for one in object_.collections if not one.view
        )
    return Relation(
        object_.name,
        object_.name,
        tuple(_columns(documents)),
        key=() if object_.view else (ID,),
        # Several collections have an index in common where each has it.
        indexes=tuple(dict.fromkeys(one for one in indexes if indexes.count(one) == len(object_.collections))),
        rows=rows or None,
    )


def _databases(client: Client, wanted: list[str]) -> list[str]:
    if wanted:
        return wanted
    # The driver's own lists ask the primary alone.
    found = client.admin.command(
        "listDatabases", authorizedDatabases=True, nameOnly=True, read_preference=client.read_preference
    )
    return sorted({str(one["name"]) for one in found["databases"]} - OWN_DATABASES)


def _collections(client: Client, database: str) -> Iterator[Collection]:
    found = client[database].cursor_command(
        "listCollections", authorizedCollections=True, cursor={}, read_preference=client.read_preference
    )
    for one in sorted(found, key=lambda one: str(one["name"])):
        name, options = str(one["name"]), one.get("options", {})
        if not name.startswith("system."):
            images = bool(options.get("changeStreamPreAndPostImages", {}).get("enabled"))
            yield Collection(database, name, view=one.get("type", "collection") != "collection", keeps_images=images)


def _some(client: Client, one: Collection) -> list[dict[str, Any]]:
    """Documents from both ends."""
    collection: Any = client.get_database(one.database, codec_options=DECODING)[one.name]
    found: list[dict[str, Any]] = [*collection.find(limit=_LOOKED_AT)]
    if not one.view and len(found) == _LOOKED_AT:
        found += collection.find(limit=_LOOKED_AT, sort=[(ID, -1)])
    return found


def _indexes(client: Client, one: Collection) -> Iterator[Index]:
    found = client[one.database].cursor_command(
        "listIndexes", one.name, cursor={}, read_preference=client.read_preference
    )
    for index in found:
        if not {"partialFilterExpression", "sparse"} & index.keys():
            yield Index(tuple(index["key"]), unique=bool(index.get("unique")))


def _columns(documents: list[dict[str, Any]]) -> Iterator[Column]:
    """Fields, those of sub-documents by their dotted names."""
    found: dict[str, list[Any]] = {ID: []}
    for document in documents:
        for name, value in _fields(document, "", _DEEP):
            found.setdefault(name, []).append(value)
    for name, values in found.items():
        kinds = {_kind(value) for value in values}
        kind, pageable = kinds.pop() if len(kinds) == 1 else ("other", False)
        types = "/".join(sorted({type(value).__name__ for value in values})) or "nothing"
        nullable = len(values) < len(documents) or not values
        yield Column(name, types, kind, nullable=nullable, pageable=pageable)


def _fields(document: Mapping[str, Any], above: str, deep: int) -> Iterable[tuple[str, Any]]:
    for name, value in document.items():
        if value is None:
            continue
        yield above + name, value
        if deep and isinstance(value, dict) and "." not in name:
            yield from _fields(cast(dict[str, Any], value), f"{above}{name}.", deep - 1)


def _kind(value: Any) -> tuple[Kind, bool]:
    """What a value can serve for, and whether queries can go on behind it."""
    match value:
        case bool():
            return "other", False
        case int():
            return "whole", True
        case datetime():
            return "moment", True
        case ObjectId() | str() | float():
            return "other", True
        case _:
            return "other", False
