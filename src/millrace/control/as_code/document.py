"""Pipelines as code: what a YAML file may say, and reading one with every problem named by its line.

Nothing is changed here; `apply` does that.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from millrace.connect import registry
from millrace.connect.config import Settings
from millrace.connect.source import Context
from millrace.control.alerting import alert_wanted
from millrace.control.alerting.alert_wanted import Wanted
from millrace.control.as_code.document_fit import fitted, rest
from millrace.control.as_code.document_schema import (
    ChannelPart,
    ConnectionPart,
    DestinationPart,
    DocumentPart,
    ObjectPart,
    PipelineLimitsPart,
    PipelinePart,
    SchedulePart,
    TransformationPart,
    UsagePart,
)
from millrace.control.as_code.findings import nearest
from millrace.control.as_code.places import DocumentError, Tree, plant
from millrace.control.as_code.places import Path as Keys
from millrace.control.pipeline import query_modes
from millrace.control.scheduling import schedule as schedules
from millrace.control.scheduling.priority import Priority
from millrace.data.batch import JSON, LoadMode
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError, MillraceError, Problem

if TYPE_CHECKING:
    from millrace.control.alerting.alert_kinds import ChannelKind

ALL = "*"
"""As the name of an object: all that the source has."""
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True, slots=True)
class WantedConnection:
    """A connection as the file wants it. ``config`` holds secrets in the clear; it is shown to nobody (I7)."""

    name: str
    kind: Literal["source", "destination"]
    type: str
    config: dict[str, JSON]
    place: str
    places: Mapping[str, str] = field(default_factory=dict[str, str])
    """Where each setting stands."""
    load_schedule: schedules.Schedule | None = None
    """Of a destination. None: as it is."""


@dataclass(frozen=True, slots=True)
class WantedPipeline:
    """A pipeline as the file wants it. ``objects`` None means all; its values are load modes of their own."""

    name: str
    source: str
    destination: str
    load_mode: LoadMode
    table_prefix: str
    schedule: schedules.Schedule
    objects: dict[str, LoadMode | None] | None
    naming: Literal["edge", "classic"] | None
    auto_mapping: bool
    place: str
    transformation: tuple[Literal["python", "blocks"], str] | None = None
    priority: Priority | None = None
    """None: as it is."""
    own: Mapping[str, Mapping[str, JSON]] = field(default_factory=dict[str, Mapping[str, JSON]])
    """Settings of objects: `query_mode`, `schedule`, `state`; those that it does not name stay as they are."""
    limits: JSON = None
    """Limits of rows, by period; None: as they are."""
    watch: JSON = None
    """What people are told of; None: as it is."""
    state: Literal["ACTIVE", "PAUSED"] | None = None
    """None: as it is."""
    options: Mapping[str, JSON] = field(default_factory=dict[str, JSON])
    """Settings that only some readers know: `json_parsing_strategy`, `keep_raw_s`."""


@dataclass(frozen=True, slots=True)
class WantedChannel:
    """A channel of alerts as the file wants it. ``config`` holds secrets in the clear (I7)."""

    name: str
    kind: ChannelKind
    config: dict[str, JSON]
    place: str
    enabled: bool | None = None
    """None: as it is."""
    wanted: Wanted | None = None
    """None: as it is."""


@dataclass(frozen=True, slots=True)
class Document:
    """What a file wants. Everything in it has been checked as far as that is possible without the connections."""

    file: Path
    settings: dict[str, JSON]
    usage: JSON
    """Limits of the team; None: as they are."""
    connections: tuple[WantedConnection, ...]
    channels: tuple[WantedChannel, ...]
    pipelines: tuple[WantedPipeline, ...]
    warnings: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Saved:
    """Names that a file may use without writing them down, because the home has them."""

    sources: Collection[str] = ()
    destinations: Collection[str] = ()
    legacy_frequency: bool = False
    source_types: Mapping[str, str] = field(default_factory=dict[str, str])
    """Of the sources, by their names."""


def read(file: Path, *, env: Mapping[str, str] = os.environ, saved: Saved | None = None) -> Document:
    """The document in ``file``. Raises DocumentError with all problems, each with its line."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError as gone:
        raise ConfigError(
            f"there is no file {file}", hint="Give the path of a YAML file with pipelines.", code="no_file"
        ) from gone
    except (OSError, UnicodeDecodeError) as wrong:
        raise ConfigError(
            f"{file} cannot be read: {wrong}", hint="Give the path of a readable YAML file in UTF-8.", code="unreadable"
        ) from wrong
    return parse(text, file, env=env, saved=saved)


def parse(
    text: str,
    file: Path,
    *,
    env: Mapping[str, str] = os.environ,
    saved: Saved | None = None,
    confined: bool = False,
) -> Document:
    """The document that ``text`` holds; relative paths in it start at the folder of ``file``. ``confined``: no file out
    of that folder is read."""
    tree = plant(text, file.name, env)
    if tree.root is None:
        tree.problems.append(Problem("empty", "the file is empty", "Write at least one pipeline.", f"{file.name}:1"))
    else:
        value = fitted(DocumentPart, tree, (), tree.value)
        if value is None:
            value = rest(DocumentPart, tree.value)
        if value is not None:
            shape = DocumentPart.model_validate(value)
            document = _Reading(tree, file, shape, saved or Saved(), confined=confined).document()
            if not tree.problems:
                return document
    raise DocumentError(_unique(tree.problems))


def _unique(problems: list[Problem]) -> list[Problem]:
    return sorted(dict.fromkeys(problems), key=lambda one: _line(one.path or ""))


def _line(place: str) -> int:
    number = place.split(" ")[0].rpartition(":")[2]
    return int(number) if number.isdigit() else 0


class _Reading:
    """The state of reading one file: its tree, its shape, and the warnings so far."""

    def __init__(self, tree: Tree, file: Path, shape: DocumentPart, saved: Saved, *, confined: bool) -> None:
        self.tree = tree
        self.file = file
        self.shape = shape
        self.saved = saved
        self.confined = confined
        self.warnings: list[Problem] = []

    def document(self) -> Document:
        shape = self.shape
        sources = [self._connection("source", n, p, ("sources", n)) for n, p in shape.sources.items()]
        targets = [self._connection("destination", n, p, ("destinations", n)) for n, p in shape.destinations.items()]
        inline = [
            self._connection("source", name, part.source, ("pipelines", name, "source"))
            for name, part in shape.pipelines.items()
            if isinstance(part.source, ConnectionPart)
        ]
        connections = [one for one in (*sources, *targets, *inline) if one]
        channels = [one for name, part in shape.alert_channels.items() if (one := self._channel(name, part))]
        pipelines = [self._pipeline(name, part, connections) for name, part in shape.pipelines.items()]
        settings = shape.settings.model_dump(exclude_none=True)
        return Document(
            self.file,
            settings,
            _limits(shape.usage),
            tuple(connections),
            tuple(channels),
            tuple(pipelines),
            tuple(self.warnings),
        )

    def _connection(
        self, kind: Literal["source", "destination"], name: str, part: ConnectionPart, at: Keys
    ) -> WantedConnection | None:
        """The connection with its settings checked by its type; problems go to the tree."""
        find = registry.source if kind == "source" else registry.destination
        if kind == "source" and at[0] == "pipelines" and name in self.shape.sources:
            self.tree.report(
                "name_taken",
                f"the source written here would be called {name!r}, and there is one of that name under 'sources'",
                at,
                f"Write `source: {name}` to use it, or rename one of the two.",
            )
        try:
            model = find(part.type).Config
        except MillraceError as error:
            self.tree.report(error.code, error.message, (*at, "type"), error.hint)
            return None
        below = (*at, "config") if self.tree.has((*at, "config")) else at
        config = fitted(model, self.tree, below, absolute(model, part.config, self.file.absolute().parent))
        if config is None:
            return None
        self._in_the_clear(model, name, config, below)
        places = {key: self.tree.place((*below, key)) for key in config}
        loads = part.load_schedule if isinstance(part, DestinationPart) else None
        planned = None if loads is None else self._schedule(loads, None, (*at, "load_schedule"))
        return WantedConnection(name, kind, part.type, config, self.tree.place(at), places, planned)

    def _channel(self, name: str, part: ChannelPart) -> WantedChannel | None:
        """The channel with its settings checked by its kind; problems go to the tree."""
        from millrace.control.alerting import alert_kinds  # which a run of a file seldom needs

        at: Keys = ("alert_channels", name)
        wanted: Wanted | None = None
        with _Told(self.tree, (*at, "wanted")):
            if part.wanted is not None:
                wanted = alert_wanted.checked(alert_wanted.from_json(part.wanted.model_dump()))
        with _Told(self.tree, (*at, "kind")):
            kind = alert_kinds.known_kind(part.kind)
            config = fitted(alert_kinds.MODELS[kind], self.tree, (*at, "config"), part.config)
            if config is not None:
                self._in_the_clear(alert_kinds.MODELS[kind], name, config, (*at, "config"))
                said = {key: value for key, value in config.items() if value is not None}
                return WantedChannel(name, kind, said, self.tree.place(at), part.enabled, wanted)
        return None

    def _in_the_clear(self, model: type[Settings], name: str, config: Mapping[str, JSON], below: Keys) -> None:
        """A secret that stands in the file is warned of."""
        for key in sorted(model.secret_keys() & config.keys()):
            if self.tree.in_the_clear((*below, key)):
                self.warnings.append(
                    Problem(
                        "secret_in_clear",
                        f"the secret {key!r} stands in the file",
                        f"Write ${{{variable(name, key)}}} and set that variable.",
                        self.tree.place((*below, key)),
                    )
                )

    def _pipeline(self, name: str, part: PipelinePart, connections: list[WantedConnection]) -> WantedPipeline:
        at: Keys = ("pipelines", name)
        inline = isinstance(part.source, ConnectionPart)
        source = name if isinstance(part.source, ConnectionPart) else part.source
        if not inline:
            self._known("source", source, (*at, "source"), {*self.shape.sources, *self.saved.sources})
        self._known(
            "destination", part.destination, (*at, "destination"), {*self.shape.destinations, *self.saved.destinations}
        )
        by_name = {(one.kind, one.name): one for one in connections}
        target = by_name.get(("destination", part.destination))
        objects = _objects(part.objects)
        modes = {("load_mode",): part.load_mode} | {
            ("objects", o, "load_mode"): mode for o, mode in (objects or {}).items() if mode
        }
        for path, mode in modes.items():
            if target and mode not in (can := registry.destination(target.type).limits.modes):
                self.tree.report(
                    "load_mode",
                    f"a destination of type {target.type!r} cannot {mode}",
                    (*at, *path),
                    f"Set {path[-1]}: {can[0]}." if len(can) == 1 else f"It can: {', '.join(can)}.",
                )
        planned = self._schedule(part.schedule, by_name.get(("source", source)), (*at, "schedule"))
        self._bears_pauses(part, by_name.get(("source", source)), source, at)
        return WantedPipeline(
            name=name,
            source=source,
            destination=part.destination,
            load_mode=part.load_mode,
            table_prefix=part.table_prefix,
            schedule=planned,
            objects=objects,
            naming=part.naming,
            auto_mapping=part.auto_mapping,
            place=self.tree.place(at),
            transformation=self._transformation(part.transformation, (*at, "transformation")),
            priority=part.priority,
            own=self._own(part, by_name.get(("source", source)), at),
            limits=_limits(part.limits),
            watch=None if part.watch is None else part.watch.model_dump(exclude_defaults=True),
            state=part.state,
            options=self._options(part, target, at),
        )

    def _bears_pauses(self, part: PipelinePart, source: WantedConnection | None, name: str, at: Keys) -> None:
        """What would pause a pipeline that then misses what happens is a problem."""
        limits = () if part.limits is None else (("day", part.limits.day), ("month", part.limits.month))
        pausing: list[tuple[str, ...]] = [
            ("limits", period, "beyond") for period, limit in limits if limit is not None and limit.beyond == "pause"
        ]
        if part.watch is not None and part.watch.pause:
            pausing.append(("watch", "pause"))
        type_ = source.type if source else self.saved.source_types.get(name)
        if type_ is None or not (pausing or part.state == "PAUSED"):
            return
        if registry.source(type_).pushed:
            why = f"the source {name!r} sends by itself, and would not stop"
            if part.state == "PAUSED":
                hint = "To refuse what it sends: `millrace hooks revoke`."
                self.tree.report("pushed", f"the pipeline cannot be paused: {why}", (*at, "state"), hint)
        elif source is not None and _follows(source):
            why = f"the source {name!r} follows a log, which its database may cut meanwhile"
        else:
            return
        for path in pausing:
            hint = "Leave the pause out: people are told."
            self.tree.report("cannot_pause", f"the pipeline is not paused by a limit: {why}", (*at, *path), hint)

    def _own(self, part: PipelinePart, source: WantedConnection | None, at: Keys) -> dict[str, dict[str, JSON]]:
        """What the file says of objects, by their names."""
        found: dict[str, dict[str, JSON]] = {}
        every = part.objects if isinstance(part.objects, dict) else {}
        type_ = source.type if source else self.saved.source_types.get(str(part.source))
        extras = registry.source(type_).extras if type_ is not None and ALL in every else frozenset[str]()
        for name, one in every.items():
            place = (*at, "objects", name)
            said: dict[str, JSON] = {} if one.state is None else {"state": one.state}
            if one.schedule is not None:
                said["schedule"] = schedules.to_json(self._schedule(one.schedule, source, (*place, "schedule")))
            if one.query_mode is not None:
                mode = {"mode": one.query_mode} if isinstance(one.query_mode, str) else one.query_mode
                with _Told(self.tree, (*place, "query_mode")):
                    said["query_mode"] = query_modes.checked(mode)
            if name == ALL and (said or one.load_mode):
                self.tree.report(
                    "all_objects", "what holds for all objects is a setting of the pipeline", place, 'Write "*": {}.'
                )
            elif ALL in every and name in extras:
                self.tree.report(
                    "all_objects",
                    f"{name} is read only where objects are named one by one",
                    place,
                    'Name every object, without "*".',
                )
            elif one.load_mode and ALL in every:
                self.tree.report(
                    "all_objects",
                    "an object has a load mode of its own where all objects are named",
                    (*place, "load_mode"),
                    'Name every object, without "*".',
                )
            elif said:
                found[name] = said
        return found

    def _options(self, part: PipelinePart, target: WantedConnection | None, at: Keys) -> dict[str, JSON]:
        options: dict[str, JSON] = {}
        if part.json_parsing_strategy is not None:
            can = registry.destination(target.type).limits.nesting if target else (part.json_parsing_strategy,)
            if part.json_parsing_strategy not in can:
                self.tree.report(
                    "json_parsing_strategy",
                    f"{part.destination} has no strategy {part.json_parsing_strategy} for nested values",
                    (*at, "json_parsing_strategy"),
                    f"It takes: {', '.join(can)}.",
                )
            options["json_parsing_strategy"] = part.json_parsing_strategy
        for key, policy in (
            ("schema_policy", part.schema_evolution_policy),
            ("failure_policy", part.failure_handling_policy),
        ):
            if policy is not None:
                options[key] = policy if isinstance(policy, str) else policy.model_dump(exclude_none=True)
        if part.defer_when_empty is not None:
            options["defer_when_empty"] = part.defer_when_empty
        if part.keep_raw is not None:
            with _Told(self.tree, (*at, "keep_raw")):
                options["keep_raw_s"] = schedules.seconds(part.keep_raw)
        return options

    def _transformation(
        self, part: TransformationPart | None, at: Keys
    ) -> tuple[Literal["python", "blocks"], str] | None:
        """Kind and text; a file is read. What the text is worth is found out when it is deployed."""
        if part is None:
            return None
        kind = "python" if part.python is not None else "blocks"
        value = part.python if part.python is not None else part.blocks
        if not isinstance(value, str):
            return kind, json.dumps(value, indent=1)
        if "\n" in value or (kind == "blocks" and value.lstrip().startswith(("{", "["))):
            return kind, value
        folder = self.file.absolute().parent
        path = folder / Path(value).expanduser()
        # As it is written: a link that was laid out leads elsewhere, and so would the folder above it.
        if self.confined and not (path := Path(os.path.normpath(path))).is_relative_to(folder):
            self.tree.report(
                "foreign_file",
                f"the transformation {value!r} is a file of the server's machine",
                (*at, kind),
                "Send the file along, and give its relative path; or write the text itself here.",
            )
            return None
        try:
            return kind, path.read_text(encoding="utf-8-sig")
        except (OSError, ValueError) as wrong:  # no text in UTF-8, or no path at all
            self.tree.report(
                "no_file",
                f"the transformation {value!r} cannot be read: {getattr(wrong, 'strerror', None) or wrong}",
                (*at, kind),
                "Give the path of the file, from the folder of this one, or write the text itself here.",
            )
            return None

    def _known(self, kind: str, name: str, at: Keys, known: Collection[str]) -> None:
        if name not in known:
            hint = nearest(name, sorted(known), what=f"Known {kind}s") if known else f"Write it under '{kind}s'."
            self.tree.report(f"unknown_{kind}", f"there is no {kind} called {name!r}", at, hint)

    def _schedule(self, part: SchedulePart | None, source: WantedConnection | None, at: Keys) -> schedules.Schedule:
        planned = schedules.Schedule(timezone=part.timezone if part else "UTC")
        if part is None:
            return planned
        if part.every is not None:
            with _Told(self.tree, (*at, "every")):
                every_s = schedules.often_enough(schedules.seconds(part.every))
                self._frequency(source, every_s)
                planned = replace(planned, every_s=every_s)
        if part.at is not None:
            with _Told(self.tree, (*at, "at")):
                planned = replace(planned, at=schedules.start_of_day(part.at, planned.every_s))
        if part.cron is not None:
            with _Told(self.tree, (*at, "cron")):
                gap_s = schedules.cron(part.cron).shortest_gap_s()
                assert gap_s is not None
                # A source's intervals are whole hours, at most 24; what lies between the times of a cron is no matter.
                self._frequency(source, gap_s if gap_s <= 3600 else min(gap_s // 3600, 24) * 3600)
                planned = replace(planned, cron=part.cron)
        with _Told(self.tree, (*at, "timezone")):
            schedules.zone(part.timezone)
        return planned

    def _frequency(self, source: WantedConnection | None, every_s: int) -> None:
        if source:
            legacy = bool(self.shape.settings.legacy_frequency or self.saved.legacy_frequency)
            registry.source(source.type).check_frequency(every_s, legacy=legacy)


class _Told:
    """An error of Millrace inside becomes a problem of the tree at this place."""

    def __init__(self, tree: Tree, at: Keys) -> None:
        self.tree = tree
        self.at = at

    def __enter__(self) -> None: ...

    def __exit__(self, _type: object, error: BaseException | None, _trace: object) -> bool:
        if isinstance(error, MillraceError):
            self.tree.report(error.code, error.message, self.at, error.hint)
            return True
        return False


def absolute(model: type[Settings], config: Mapping[str, JSON], folder: Path) -> dict[str, JSON]:
    """``config`` with relative paths resolved against ``folder``."""
    paths = model.path_keys()
    return {
        key: os.path.normpath(folder / Path(value).expanduser())
        if isinstance(value, str) and key in paths and is_local(value)
        else value
        for key, value in config.items()
    }


def variable(connection: str, key: str) -> str:
    """Name of the environment variable that stands for a secret: clevertap, passcode → CLEVERTAP_PASSCODE."""
    name = "".join(c if c.isascii() and c.isalnum() else "_" for c in f"{connection}_{key}").upper()
    return name if not name[:1].isdigit() else f"_{name}"


def is_local(value: str) -> bool:
    """It is a path of this machine: neither a URL, which begins with its kind, nor a name such as `:memory:`."""
    return bool(value.strip()) and "\0" not in value and not _URL.match(value) and not value.startswith(":")


def _follows(wanted: WantedConnection) -> bool:
    """The source is read from a log. The system itself is not asked."""
    family = registry.source(wanted.type)
    if not family.logged:
        return False
    with closing(family(family.Config.model_validate(wanted.config), Context())) as source:
        return source.log() is not None


def _limits(part: PipelineLimitsPart | UsagePart | None) -> JSON:
    return None if part is None else _said(part.model_dump())


def _said(limits: JSON) -> JSON:
    """Limits without what they do not say, and without what is so anyway."""
    return {
        name: {key: value for key, value in limit.items() if value not in ("tell", 0)}
        for name, limit in limits.items()
        if limit is not None
    }


def _objects(part: list[str] | dict[str, ObjectPart] | None) -> dict[str, LoadMode | None] | None:
    if part is None:
        return None
    if isinstance(part, list):
        return dict.fromkeys(part)
    if ALL in part:
        return None
    return {name: one.load_mode for name, one in part.items()}
