"""Writes the YAML of pipelines that `apply` reads; secrets become variables."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import yaml

from millrace.control import settings
from millrace.control.alerting import alert_channels
from millrace.control.alerting.alert_channels import Channel
from millrace.control.alerting.alert_wanted import EVERYTHING
from millrace.control.as_code import document_limits
from millrace.control.as_code.document import ALL, variable
from millrace.control.as_code.findings import nearest
from millrace.control.as_code.places import BROKEN, WHOLE, WORDS
from millrace.control.connecting import connections
from millrace.control.connecting.connections import Connection
from millrace.control.pipeline import object_queries, pipelines
from millrace.control.pipeline.pipelines import Pipeline
from millrace.control.scheduling import schedule
from millrace.control.transforming import transformations
from millrace.control.transforming.transformations import Transformation
from millrace.data.batch import JSON
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError, EnvironmentProblem

if TYPE_CHECKING:
    from millrace.control.home import Home


Section: TypeAlias = Literal["settings", "usage", "sources", "destinations", "alert_channels", "pipelines"]
SECTIONS: tuple[Section, ...] = get_args(Section)


@dataclass(frozen=True, slots=True)
class Exported:
    """The text of a file of pipelines, and the environment variables that its secrets come from."""

    text: str
    pipelines: int
    variables: tuple[str, ...]


def export(home: Home, names: Sequence[str] | None = None, sections: Sequence[Section] = ()) -> Exported:
    """All that a file can say of the home, or the named pipelines with their connections; of that, those sections.

    A source that one pipeline alone uses, under its own name, stands inside of it. Raises ConfigError for an unknown
    name or section.
    """
    home.actor.must("view")
    for one in sections:
        if one not in SECTIONS:
            hint = nearest(one, SECTIONS, what="There are")
            raise ConfigError(f"the file has no section {one!r}", hint=hint, path="section", code="unknown_section")
    found = [pipelines.find(home, name) for name in names] if names else pipelines.listed(home)
    used = {one.source_id for one in found} | {one.destination_id for one in found}
    kept = [one for one in connections.listed(home) if not names or one.id in used]
    writing = _Writing(found, kept)
    writing.limits = document_limits.limits(home)
    writing.loads = connections.load_schedules(home)
    for one in found:
        deployed = transformations.standing(home, one.name).deployed
        if deployed is not None and deployed.kind != "none":
            writing.deployed[one.name] = deployed
        writing.decided[one.name] = object_queries.decided(home.database, one.id)
    workspace = settings.workspace(home.database)
    changed = {
        field.name: value
        for field in fields(workspace)
        if (value := getattr(workspace, field.name)) != field.default and field.name != "stage_url"
    }
    channels = alert_channels.listed(home) if not names else []
    # Each is asked for its variables only where it is written.
    whole: dict[Section, Callable[[], JSON]] = {
        "settings": lambda: changed if not names else {},
        "usage": lambda: document_limits.team(home) if not names else {},
        "sources": lambda: {one.name: writing.connection(one) for one in kept if writing.stands_alone(one)},
        "destinations": lambda: {one.name: writing.connection(one) for one in kept if one.kind == "destination"},
        "alert_channels": lambda: {one.name: writing.channel(one) for one in channels},
        "pipelines": lambda: {one.name: writing.pipeline(one) for one in found},
    }
    shown = {key: value for key, said in whole.items() if (not sections or key in sections) and (value := said())}
    text = yaml.dump(shown, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100) if shown else ""
    return Exported(text, len(shown.get("pipelines", ())), tuple(sorted(writing.variables.values())))


def write(file: Path, text: str) -> None:
    """The file holds the text, and nobody ever sees half of it."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(file)
    except OSError as wrong:
        draft.unlink(missing_ok=True)
        raise EnvironmentProblem(
            f"{file} cannot be written: {wrong.strerror}",
            hint="Choose a folder that you may write to.",
            code="unwritable",
        ) from wrong


class _Writing:
    """Pipelines and connections in the shape of the file, and the variables that were needed."""

    def __init__(self, found: Sequence[Pipeline], kept: Sequence[Connection]) -> None:
        self.variables: dict[tuple[str, str], str] = {}
        self.deployed: dict[str, Transformation] = {}
        self.loads: dict[str, JSON] = {}
        self.decided: dict[str, dict[str, dict[str, JSON]]] = {}
        self.limits: dict[str, dict[str, JSON]] = {}
        self._by_id = {one.id: one for one in kept}
        users = {one.id: [p.name for p in found if p.source_id == one.id] for one in kept}
        self._inline = {one.id for one in kept if one.kind == "source" and users[one.id] == [one.name]}

    def stands_alone(self, one: Connection) -> bool:
        return one.kind == "source" and one.id not in self._inline

    def connection(self, one: Connection) -> JSON:
        config = {key: _escaped(value) for key, value in one.config.items()}
        secret = {key: f"${{{self._variable(one, key)}}}" for key in one.secret_keys}
        whole: dict[str, JSON] = {"type": one.type}
        if config or secret:
            whole["config"] = config | secret
        if (loads := self.loads.get(one.id)) is not None:
            whole["load_schedule"] = _schedule(loads)
        return whole

    def channel(self, one: Channel) -> JSON:
        config = {key: _escaped(value) for key, value in one.config.items()}
        secret = {key: f"${{{self._variable(one, key)}}}" for key in one.secrets}
        whole: dict[str, JSON] = {"kind": one.kind, "config": config | secret}
        if not one.enabled:
            whole["enabled"] = False
        if one.wanted != EVERYTHING:
            whole["wanted"] = {key: value for key, value in one.wanted.to_json().items() if value is not None}
        return whole

    def pipeline(self, one: Pipeline) -> JSON:
        inline = one.source_id in self._inline
        whole: dict[str, JSON] = {
            "source": self.connection(self._by_id[one.source_id]) if inline else one.source,
            "destination": one.destination,
            "load_mode": one.load_mode,
            "table_prefix": one.table_prefix,
            "naming": one.naming,
        }
        if not one.auto_mapping:
            whole["auto_mapping"] = False
        if (deployed := self.deployed.get(one.name)) is not None:
            whole["transformation"] = {deployed.kind: _escaped(deployed.text)}
        for key, option in (
            ("json_parsing_strategy", "json_parsing_strategy"),
            ("schema_evolution_policy", "schema_policy"),
            ("failure_handling_policy", "failure_policy"),
            ("defer_when_empty", "defer_when_empty"),
        ):
            if (value := one.options.get(option)) is not None:
                whole[key] = value
        if (keep_raw_s := one.options.get("keep_raw_s")) is not None:
            whole["keep_raw"] = schedule.spelled(keep_raw_s)
        if one.priority != "NORMAL":
            whole["priority"] = one.priority
        if (planned := _schedule(one.schedule)) is not None:
            whole["schedule"] = planned
        beside: dict[str, JSON] = {
            "limits": self.limits.get(one.id),
            "watch": document_limits.watched(one.options),
            "state": "PAUSED" if one.state == "PAUSED" else None,
        }
        whole |= {key: value for key, value in beside.items() if value}
        decided = self.decided.get(one.name, {})
        if one.objects is not None:
            own = {
                name: ({"load_mode": mode} if mode else {}) | _object(decided.get(name, {}))
                for name, mode in one.objects.items()
            }
            whole["objects"] = own if any(own.values()) else list(one.objects)
        elif decided:
            whole["objects"] = {ALL: {}} | {name: _object(said) for name, said in decided.items()}
        return whole

    def _variable(self, one: Connection | Channel, key: str) -> str:
        """A variable of its own for each secret, named after connection or channel, and key."""
        name = variable(one.name, key)
        taken = {other for where, other in self.variables.items() if where != (one.id, key)}
        while name in taken:
            name += "_2"
        self.variables[one.id, key] = name
        return name


def _object(decided: Mapping[str, JSON]) -> dict[str, JSON]:
    """What people decided for an object, in the shape of the file."""
    return {key: _schedule(value) if key == "schedule" else _escaped(value) for key, value in decided.items()}


def _schedule(saved: JSON) -> JSON:
    """A schedule in the shape of the file; None: on demand."""
    planned = schedule.from_json(saved)
    if planned.cron:
        return {"cron": planned.cron, "timezone": planned.timezone}
    if planned.every_s:
        return {"every": schedule.spelled(planned.every_s)} | ({"at": planned.at} if planned.at else {})
    return None


def _escaped(value: JSON) -> JSON:
    """``value`` so that reading the file gives it back: no text of it is taken for a variable."""
    if isinstance(value, str):
        return value.replace("${", "$${")
    if isinstance(value, list):
        return [_escaped(item) for item in value]  # pyright: ignore[reportUnknownVariableType]  # JSON
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]  # JSON
    return value


class _Dumper(yaml.SafeDumper):
    """YAML that `places` reads back the same: text that it would take for something else is quoted."""

    def ignore_aliases(self, data: object) -> bool:
        del data
        return True


def _text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    other = value.lower() in WORDS or WHOLE.fullmatch(value) or BROKEN.fullmatch(value)
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="'" if other else None)


_Dumper.add_representer(str, _text)
