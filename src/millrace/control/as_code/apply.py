"""Brings a home to what a file of pipelines says, and writes such a file from a home."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from millrace.control import settings
from millrace.control.as_code.document import (
    Document,
    Saved,
    WantedChannel,
    WantedConnection,
    WantedPipeline,
    parse,
    read,
)
from millrace.control.as_code.findings import nearest
from millrace.control.connecting import connections
from millrace.control.pipeline import object_queries, pipelines
from millrace.control.pipeline.pipelines import Pipeline, Wish, Written
from millrace.control.scheduling import schedule
from millrace.control.scheduling.priority import Priority
from millrace.data.batch import JSON
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError, MillraceError, Problem

if TYPE_CHECKING:
    from millrace.control.home import Home

Kind = Literal["setting", "source", "destination", "channel", "pipeline"]
State = Literal["created", "changed", "unchanged"]

HIDDEN = "(secret)"

# Options of a pipeline that the file decides: left out there, they are off.
WRITTEN = frozenset({"json_parsing_strategy", "keep_raw_s", "schema_policy", "failure_policy", "defer_when_empty"})


@dataclass(frozen=True, slots=True)
class Field:
    """One key and its values before and after; secrets are hidden (I7)."""

    key: str
    before: JSON
    after: JSON


@dataclass(frozen=True, slots=True)
class Change:
    """What became, or would become, of one thing that the file names."""

    kind: Kind
    name: str
    state: State
    fields: tuple[Field, ...] = ()


@dataclass(frozen=True, slots=True)
class Applied:
    """What a file changed, or would change."""

    file: Path
    changes: tuple[Change, ...]
    warnings: tuple[Problem, ...]
    dry_run: bool

    @property
    def pipelines(self) -> list[str]:
        """Names of the file's pipelines, in its order."""
        return [change.name for change in self.changes if change.kind == "pipeline"]


def apply_file(home: Home, file: Path, *, env: Mapping[str, str] = os.environ, dry_run: bool = False) -> Applied:
    """The home is as ``file`` says; `-` is stdin. Raises DocumentError with all that is wrong with the file."""
    known = saved(home)
    if str(file) == "-":
        document = parse(sys.stdin.read(), Path.cwd() / "stdin", env=env, saved=known)
    else:
        document = read(file, env=env, saved=known)
    return apply(home, document, dry_run=dry_run)


def apply(home: Home, document: Document, *, dry_run: bool = False) -> Applied:
    """The home has all connections and pipelines of the document, as it says; others are left alone.

    Doing it again changes nothing. Raises ConfigError, and nothing is changed, for a file that a connection names and
    that is not what it shall be; and for a change that what was loaded forbids: things before that one in the document
    are applied then, and applying again goes on.
    """
    for one in document.connections:
        _inspect(one)
    written = {one.name for one in document.connections if one.kind == "source"}
    for one in document.pipelines:
        if one.source not in written:
            _bears_pauses(home, one)
    taken: str | None = None
    while True:
        try:
            return _applied(home, document, dry_run=dry_run)
        except ConfigError as error:
            # Another process that applies the same file made it a moment ago: now it is found, and changed if need be.
            if error.code != "name_taken" or error.path == taken:
                raise
            taken = error.path


def _applied(home: Home, document: Document, *, dry_run: bool) -> Applied:
    written: Written = {(one.kind, one.name): one.type for one in document.connections}
    changes = [
        *_settings(home, document, dry_run=dry_run),
        *_usage(home, document, dry_run=dry_run),
        *(_connection(home, one, dry_run=dry_run) for one in document.connections),
        *(_channel(home, document, one, dry_run=dry_run) for one in document.channels),
        *_prioritized(
            home, document, [_pipeline(home, one, written, dry_run=dry_run) for one in document.pipelines], dry_run
        ),
    ]
    return Applied(document.file, tuple(changes), document.warnings, dry_run)


def saved(home: Home) -> Saved:
    """What a file may name without writing it down."""
    types: dict[str, dict[str, str]] = {"source": {}, "destination": {}}
    for one in connections.listed(home):
        types[one.kind][one.name] = one.type
    legacy = settings.workspace(home.database).legacy_frequency
    return Saved([*types["source"]], [*types["destination"]], legacy, types["source"])


def is_file(what: str) -> bool:
    """``what`` is meant as a file rather than as the name of a pipeline."""
    path = Path(what)
    return what == "-" or path.suffix in (".yaml", ".yml") or len(path.parts) > 1 or path.is_file()


def names(home: Home) -> list[str]:
    """The pipelines of the home."""
    return [one.name for one in pipelines.listed(home)]


def chosen(known: Sequence[str], pipeline: str | None, where: str) -> Sequence[str]:
    """All pipelines that are known, or the one that is named. Raises ConfigError when there is none of that name."""
    if pipeline is None or pipeline in known:
        return known if pipeline is None else [pipeline]
    hint = nearest(pipeline, known, what="There are") if known else "Write one in a file: millrace run pipelines.yaml"
    raise ConfigError(f"there is no pipeline {pipeline!r} in {where}", hint=hint, code="unknown_pipeline")


def _settings(home: Home, document: Document, *, dry_run: bool) -> Iterator[Change]:
    before = settings.workspace(home.database)
    changed = {key: value for key, value in document.settings.items() if getattr(before, key) != value}
    if changed and not dry_run:
        with _at(f"{document.file.name} settings"):
            settings.change(home, **changed)
    for key, value in document.settings.items():
        field = (Field(key, getattr(before, key), value),) if key in changed else ()
        yield Change("setting", key, "changed" if field else "unchanged", field)


def _inspect(wanted: WantedConnection) -> None:
    try:
        connections.validated(wanted.kind, wanted.type, wanted.config, where=wanted.name).inspect()
    except MillraceError as error:
        error.path = wanted.places.get(error.path or "", wanted.place)
        raise


def _bears_pauses(home: Home, wanted: WantedPipeline) -> None:
    """What would pause a pipeline that then misses what happens is refused; here where its source is a saved one, and
    where the file writes the source down, when that is read."""
    pausing = [
        place
        for place, pauses in (
            ("limits", any(limit.get("beyond") == "pause" for limit in (wanted.limits or {}).values())),
            ("watch", (wanted.watch or {}).get("pause")),
        )
        if pauses
    ]
    if pausing:
        from millrace.control.metering import usage_limits  # which a run of a file seldom needs

        with _at(f"{wanted.place}.{pausing[0]}"):
            usage_limits.must_bear_a_pause(home, wanted.name, connections.find(home, "source", wanted.source))


def _connection(home: Home, wanted: WantedConnection, *, dry_run: bool) -> Change:
    old = next((one for one in connections.listed(home, wanted.kind) if one.name == wanted.name), None)
    if old is None:
        if not dry_run:
            with _at(wanted.place):
                connections.create(home, wanted.kind, wanted.name, wanted.type, wanted.config)
                _loads(home, wanted, None, dry_run=False)
        return Change(wanted.kind, wanted.name, "created")
    if old.type != wanted.type:
        raise ConfigError(
            f"{wanted.kind} {wanted.name!r} is of type {old.type!r} and cannot become {wanted.type!r}",
            hint="Give the new one another name.",
            path=wanted.place,
            code="type_changed",
        )
    keys = connections.differences(home, old, wanted.config)
    secret = connections.config_class(wanted.kind, wanted.type).secret_keys()
    fields = tuple(
        Field(key, HIDDEN, HIDDEN) if key in secret else Field(key, old.config.get(key), wanted.config.get(key))
        for key in keys
    )
    with _at(wanted.place):
        if keys and dry_run:
            connections.must_bear(home, old, wanted.config)
        elif keys:
            connections.change(home, wanted.kind, wanted.name, config=wanted.config)
    fields += _loads(home, wanted, connections.load_schedules(home).get(old.id), dry_run=dry_run)
    return Change(wanted.kind, wanted.name, "changed" if fields else "unchanged", fields)


def _channel(home: Home, document: Document, wanted: WantedChannel, *, dry_run: bool) -> Change:
    """Alerts go where the file says; whether it is on, and what is sent there, stays where the file does not say it."""
    from millrace.control.alerting import alert_channels, alert_kinds  # which a run of a file seldom needs

    old = next((one for one in alert_channels.listed(home) if one.name == wanted.name), None)
    if old is not None and old.kind != wanted.kind:
        raise ConfigError(
            f"channel {wanted.name!r} is of kind {old.kind!r} and cannot become {wanted.kind!r}",
            hint="Give the new one another name.",
            path=wanted.place,
            code="kind_changed",
        )
    keys = [] if old is None else alert_channels.differences(home, old, wanted.config)
    with _at(wanted.place):
        if dry_run:
            home.actor.must("settings.edit")
            if old is None or keys:
                # By then the settings of the same file hold.
                private = document.settings.get("allow_private_addresses")
                aimed = alert_kinds.validated(wanted.kind, wanted.config)
                alert_channels.must_be_reached(home, aimed, private=private)
        elif old is None:
            enabled = wanted.enabled is not False
            alert_channels.add(home, wanted.name, wanted.kind, wanted.config, wanted.wanted, enabled=enabled)
    if old is None:
        return Change("channel", wanted.name, "created")
    secret = alert_kinds.MODELS[wanted.kind].secret_keys()
    fields = [
        Field(key, HIDDEN, HIDDEN) if key in secret else Field(key, old.config.get(key), wanted.config.get(key))
        for key in keys
    ]
    if wanted.enabled not in (None, old.enabled):
        fields.append(Field("enabled", old.enabled, wanted.enabled))
    if wanted.wanted not in (None, old.wanted):
        fields.append(Field("wanted", old.wanted.to_json(), wanted.wanted.to_json()))
    if fields and not dry_run:
        with _at(wanted.place):
            alert_channels.change(
                home,
                wanted.name,
                config=wanted.config if keys else None,
                wanted=wanted.wanted,
                enabled=wanted.enabled,
                keep_secrets=False,
            )
    return Change("channel", wanted.name, "changed" if fields else "unchanged", tuple(fields))


def _loads(home: Home, wanted: WantedConnection, old: JSON, *, dry_run: bool) -> tuple[Field, ...]:
    """The destination is loaded by the schedule of the file; one that the file does not say stays."""
    before, after = schedule.from_json(old), wanted.load_schedule
    if after is None or schedule.to_json(after) == schedule.to_json(before):
        return ()
    if not dry_run:
        from millrace.control.pipeline import lifecycle  # which a run of a file seldom needs

        with _at(f"{wanted.place}.load_schedule"):
            lifecycle.load_every(home, wanted.name, after)
    return (Field("load_schedule", schedule.told(before), schedule.told(after)),)


def _pipeline(home: Home, wanted: WantedPipeline, written: Written, *, dry_run: bool) -> Change:
    old = next((one for one in pipelines.listed(home) if one.name == wanted.name), None)
    wish = _wish(wanted, old)
    if old is None:
        with _at(wanted.place):
            _transformation(home, wanted, None, dry_run=True)
            if dry_run:
                pipelines.must_be_possible(home, wish, written)
            else:
                pipelines.create(home, wish)
                _transformation(home, wanted, None, dry_run=False)
                _objects(home, wanted, dry_run=False)
                _watched(home, wanted, dry_run=False)
        return Change("pipeline", wanted.name, "created")
    with _at(wanted.place):
        keys = sorted(pipelines.differences(home, old, wish, written))
        if dry_run:
            pipelines.must_bear(home, old, wish, written)
        elif keys:
            pipelines.change(home, wanted.name, lambda now: _wish(wanted, now))
    fields = tuple(Field(key, _shown(old.wish, key), _shown(wish, key)) for key in keys)
    with _at(wanted.place):
        fields += _transformation(home, wanted, old, dry_run=dry_run)
        fields += _objects(home, wanted, dry_run=dry_run)
        fields += _watched(home, wanted, dry_run=dry_run)
    return Change("pipeline", wanted.name, "changed" if fields else "unchanged", fields)


def _prioritized(home: Home, document: Document, changes: Sequence[Change], dry_run: bool) -> Iterator[Change]:
    """The pipelines have the priorities of the file, once all of them are there: how many may be HIGH depends on that.

    Those that give HIGH up go first. What the file does not say stays.
    """
    before: dict[str, Priority] = {one.name: one.priority for one in pipelines.listed(home)}
    after = dict(before)
    for wanted in sorted(document.pipelines, key=lambda one: one.priority == "HIGH"):
        if wanted.priority not in (None, before.get(wanted.name, "NORMAL")):
            from millrace.control.pipeline import lifecycle  # which a run of a file seldom needs

            after[wanted.name] = wanted.priority
            with _at(f"{wanted.place}.priority"):
                if not dry_run:
                    lifecycle.prioritize(home, wanted.name, wanted.priority)
                elif wanted.priority == "HIGH":
                    high = [name for name, priority in after.items() if priority == "HIGH"]
                    said = document.settings.get("high_priority_percent")
                    percent = settings.workspace(home.database).high_priority_percent if said is None else int(said)
                    lifecycle.must_be_few(_accounts(home, document), high, percent, wanted.name)
    for wanted, change in zip(document.pipelines, changes, strict=True):
        old = before.get(wanted.name, "NORMAL")
        if change.state == "created" or wanted.priority in (None, old):
            yield change
        else:
            yield replace(change, state="changed", fields=(*change.fields, Field("priority", old, wanted.priority)))


def _accounts(home: Home, document: Document) -> dict[str, str]:
    """The account that each pipeline will read from, once the document is applied."""
    from millrace.control.pipeline.lifecycle import account, account_of

    reads = {one.name: one.source for one in pipelines.listed(home)}
    reads |= {one.name: one.source for one in document.pipelines}
    found = {one.name: account(home, one.id) for one in connections.listed(home, "source")}
    for one in document.connections:
        if one.kind == "source":
            found[one.name] = account_of(
                one.type, connections.validated("source", one.type, one.config, where=one.name)
            )
    return {pipeline: found[source] for pipeline, source in reads.items()}


def _objects(home: Home, wanted: WantedPipeline, *, dry_run: bool) -> tuple[Field, ...]:
    """Objects are queried, scheduled and left out as the file says; what it does not say of them stays."""
    if not wanted.own:
        return ()
    found = pipelines.find(home, wanted.name)
    decided = object_queries.decided(home.database, found.id)
    before = {name: {"state": "ACTIVE", "schedule": None, **decided.get(name, {})} for name in wanted.own}
    new = {
        name: changed
        for name, own in wanted.own.items()
        if (changed := {key: value for key, value in own.items() if before[name].get(key) != value})
    }
    if new and not dry_run:
        object_queries.settle(home, found, new)
        if skipped := [name for name, own in new.items() if own.get("state") == "SKIPPED"]:
            from millrace.control.pipeline import object_actions  # which a run of a file seldom needs

            object_actions.load_waiting(home, found, skipped)
    return tuple(
        Field(f"objects.{name}.{key}", before[name].get(key), value)
        for name, own in new.items()
        for key, value in own.items()
    )


def _watched(home: Home, wanted: WantedPipeline, *, dry_run: bool) -> tuple[Field, ...]:
    """Limits, what people are told of, and whether it runs; what the file does not say of these stays."""
    if wanted.limits is None and wanted.watch is None and wanted.state is None:
        return ()
    from millrace.control.as_code import document_limits  # which a run of a file seldom needs
    from millrace.control.pipeline import lifecycle  # which a run of a file seldom needs

    found = pipelines.find(home, wanted.name)
    fields: list[Field] = []
    limits = document_limits.limits(home).get(found.id, {})
    if wanted.limits is not None and wanted.limits != limits:
        fields.append(Field("limits", limits, wanted.limits))
        if not dry_run:
            with _at("limits"):
                document_limits.limit_pipeline(home, found, wanted.limits)
    watched = document_limits.watched(found.options)
    if wanted.watch is not None and wanted.watch != watched:
        fields.append(Field("watch", watched, wanted.watch))
        if not dry_run:
            with _at("watch"):
                document_limits.watch(home, found, wanted.watch)
    if wanted.state not in (None, found.state):
        fields.append(Field("state", found.state, wanted.state))
        if not dry_run:
            with _at("state"):
                (lifecycle.pause if wanted.state == "PAUSED" else lifecycle.resume)(home, wanted.name)
    return tuple(fields)


def _usage(home: Home, document: Document, *, dry_run: bool) -> Iterator[Change]:
    """The team has the limits of the file; without any there they stay."""
    if document.usage is None:
        return
    from millrace.control.as_code import document_limits

    before = document_limits.team(home)
    fields = () if before == document.usage else (Field("limits", before, document.usage),)
    if fields and not dry_run:
        with _at(f"{document.file.name} usage"):
            document_limits.limit_team(home, document.usage)
    yield Change("setting", "usage", "changed" if fields else "unchanged", fields)


def _transformation(home: Home, wanted: WantedPipeline, old: Pipeline | None, *, dry_run: bool) -> tuple[Field, ...]:
    """The transformation that the file names is deployed; one that it does not name stays.

    Raises ConfigError for a text that cannot be one.
    """
    from millrace.control.transforming import transformations

    deployed = transformations.standing(home, wanted.name).deployed if old else None
    after = wanted.transformation
    if after is None or (deployed is not None and (deployed.kind, deployed.text) == after):
        return ()
    with _at("transformation"):
        transformations.checked(home, *after)
    if not dry_run:
        transformations.deploy(home, wanted.name, *after, reason="applied from a file")
    before = f"version {deployed.version}" if deployed and deployed.kind != "none" else None
    return (Field("transformation", before, f"{after[0]}, {len(after[1].splitlines())} lines"),)


def _wish(wanted: WantedPipeline, old: Pipeline | None) -> Wish:
    """The wish that the file is; a naming that it does not say stays as it is."""
    return Wish(
        name=wanted.name,
        source=wanted.source,
        destination=wanted.destination,
        load_mode=wanted.load_mode,
        table_prefix=wanted.table_prefix,
        naming=wanted.naming or (old.naming if old else None),
        auto_mapping=wanted.auto_mapping,
        schedule=schedule.to_json(wanted.schedule),
        options={key: value for key, value in (old.options if old else {}).items() if key not in WRITTEN}
        | dict(wanted.options),
        objects=wanted.objects,
    )


def _shown(wish: Wish, key: str) -> JSON:
    value = getattr(wish, key)
    return schedule.told(schedule.from_json(value)) if key == "schedule" else value


@contextmanager
def _at(place: str) -> Generator[None]:
    """An error inside says where in the file its cause stands."""
    try:
        yield
    except MillraceError as error:
        from millrace.engine.blocks.mistakes import BlocksError

        error.path = _below(place, error.path)
        if isinstance(error, BlocksError):
            error.problems = tuple(replace(one, path=_below(place, one.path)) for one in error.problems)
        raise


def _below(place: str, path: str | None) -> str:
    if not path:
        return place
    # A line of a text that the file names is no key of the file.
    return f"{place}, {path}" if path.startswith("line ") else f"{place}.{path}"


def pairs(words: Sequence[str]) -> dict[str, str]:
    """``KEY=VALUE`` words as a mapping. Raises ConfigError for a word without `=`."""
    found: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key.strip():
            raise ConfigError(
                f"{word!r} is not KEY=VALUE",
                hint="Write settings like region=EU, without spaces around =.",
                code="usage",
            )
        found[key.strip()] = value
    return found


def given(kind: connections.Kind, type_: str, words: Mapping[str, str], env: Mapping[str, str]) -> dict[str, JSON]:
    """Settings as typed on a command line: variables filled in, relative paths from this folder, JSON read.

    Raises DocumentError for a variable that is not set.
    """
    from millrace.control.as_code.document import absolute

    return absolute(connections.config_class(kind, type_), typed(words, env), Path.cwd())


def typed(words: Mapping[str, str], env: Mapping[str, str]) -> dict[str, JSON]:
    """Values as typed on a command line: variables filled in, JSON read. Raises DocumentError as `given` does."""
    import json

    import yaml

    from millrace.control.as_code.places import DocumentError, plant

    def value(text: str) -> JSON:
        try:
            return json.loads(text) if text[:1] in ("[", "{") else text
        except ValueError:
            return text

    tree = plant(yaml.safe_dump(dict(words)) if words else "{}", "settings", env)
    if tree.problems:
        raise DocumentError([replace(one, path=(one.path or "").partition(" ")[2] or None) for one in tree.problems])
    return {key: value(text) for key, text in tree.value.items()}
