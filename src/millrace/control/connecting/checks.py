"""Tests of connections: what a source or a destination finds when it tries what a run will need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from millrace.connect.destination import Destination
from millrace.connect.source import Context, Source, Verdict
from millrace.control.as_code.findings import nearest
from millrace.control.connecting import connections
from millrace.control.connecting.connections import Connection, Kind
from millrace.control.pipeline import pipelines
from millrace.control.running.clock import clock
from millrace.control.secrecy.secrets import redact, texts
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError, MillraceError

if TYPE_CHECKING:
    from millrace.control.home import Home


@dataclass(frozen=True, slots=True)
class Checked:
    """What the test of one connection found, in order."""

    kind: Kind
    name: str
    type: str
    verdicts: tuple[Verdict, ...]

    @property
    def passed(self) -> bool:
        """Nothing failed."""
        return all(verdict.state != "fail" for verdict in self.verdicts)


def check(home: Home, name: str | None = None) -> list[Checked]:
    """The connections of that name, or of the pipeline of that name, or all, were tested.

    Raises ConfigError when there is nothing of that name.
    """
    home.actor.must("view")
    return [_checked(home, one) for one in _meant(home, name)]


def _meant(home: Home, name: str | None) -> Sequence[Connection]:
    known = connections.listed(home)
    if name is None:
        return known
    flows = {one.name: one for one in pipelines.listed(home)}
    if found := [one for one in known if one.name == name]:
        return found
    if flow := flows.get(name):
        return [one for one in known if one.id in (flow.source_id, flow.destination_id)]
    names = sorted({*flows, *(one.name for one in known)})
    hint = nearest(name, names, what="There are") if names else "Save a source or a destination first."
    raise ConfigError(f"there is no source, destination or pipeline {name!r}", hint=hint, code="unknown_connection")


def _checked(home: Home, one: Connection) -> Checked:
    context = Context(clock=clock())
    hidden: list[str] = []

    def built() -> Source[Any] | Destination[Any]:
        settings = connections.settings_of(home, one)
        hidden.extend(text for key in one.secret_keys for text in texts(getattr(settings, key).get_secret_value()))
        build = connections.build_source if one.kind == "source" else connections.build_destination
        return build(home, one.id, context)

    return tried(one.type, one.name, built, hidden, kind=one.kind)


def tried(
    type_: str,
    name: str,
    build: Callable[[], Source[Any] | Destination[Any]],
    hidden: Sequence[str],
    *,
    kind: Kind = "source",
) -> Checked:
    """What a connector that is built so finds. Every error becomes a verdict; none has a ``hidden`` text (I7)."""
    try:
        with closing(build()) as connector:
            verdicts = connector.check()
    except MillraceError as error:
        verdicts = [Verdict("settings", "fail", error.message, error.hint)]
    return Checked(kind, name, type_, tuple(_redacted(verdict, hidden) for verdict in verdicts))


def _redacted(verdict: Verdict, hidden: Sequence[str]) -> Verdict:
    hint = redact(verdict.hint, hidden) if verdict.hint else None
    return Verdict(verdict.step, verdict.state, redact(verdict.message, hidden), hint)
