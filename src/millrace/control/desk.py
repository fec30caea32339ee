"""What can be asked of Millrace, and the desk that takes it: on a home of this machine, or at a server over HTTP.

`control/operations` declares the operations, each once. The routes of the REST API, the client of the command line,
and the calls on a local home follow from that one table.
"""

from __future__ import annotations

import inspect
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from functools import cached_property
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    Literal,
    ParamSpec,
    Protocol,
    TypeAlias,
    TypeVar,
    get_origin,
)
from typing import get_type_hints as hints

from millrace.control.people.actors import Actor, Permission
from millrace.data.dataclass import dataclass
from millrace.engine.meter import Meter

if TYPE_CHECKING:
    from millrace.control.as_code.apply import Applied
    from millrace.control.connecting.connections import Kind
    from millrace.control.home import Home

P = ParamSpec("P")
R = TypeVar("R")

Method: TypeAlias = Literal["GET", "POST", "PUT", "DELETE"]
Place: TypeAlias = Literal["path", "query", "body", "content"]


@dataclass(frozen=True, slots=True)
class Content:
    """The content of a file that somebody sends, which is the whole body of the request. It lies at ``path`` as long as
    the operation goes on, and no longer."""

    path: Path


@dataclass(frozen=True, slots=True)
class Parameter:
    """One thing that an operation is told, and where a request has it. ``default`` may be `inspect.Parameter.empty`."""

    name: str
    annotation: Any
    default: Any
    place: Place


@dataclass(frozen=True)
class Card:
    """What is declared of an operation: who may ask for it, and where it is found over HTTP.

    ``permission`` None: everybody may ask, and the function says who gets what. ``function`` gets the home first, and
    ``given`` things in all from whoever calls it; the rest are its parameters.
    """

    name: str
    method: Method
    path: str
    permission: Permission | None
    function: Callable[..., Any]
    given: int
    status: int

    def must(self, actor: Actor) -> None:
        """Raises Forbidden where the actor may not ask."""
        if self.permission is not None:
            actor.must(self.permission)

    @property
    def noun(self) -> str:
        """What it is about."""
        return self.name.partition(".")[0]

    @property
    def told(self) -> str:
        """What it does, in the words of its function."""
        return inspect.getdoc(self.function) or ""

    @cached_property
    def _hints(self) -> dict[str, Any]:
        return hints(self.function, include_extras=True)

    @property
    def result(self) -> Any:
        """The type of its answer."""
        return self._hints["return"]

    @property
    def streams(self) -> bool:
        """Its answer comes line by line."""
        return get_origin(self.result) is Iterator

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """All that it is told."""
        _, *own = list(inspect.signature(self.function).parameters.values())[self.given - 1 :]
        in_path = set(re.findall(r"\{(\w+)\}", self.path))
        rest: Place = "query" if self.method in ("GET", "DELETE") or any(self._raw(one.name) for one in own) else "body"
        return tuple(
            Parameter(
                one.name,
                self._hints[one.name],
                one.default,
                "path" if one.name in in_path else "content" if self._raw(one.name) else rest,
            )
            for one in own
        )

    def bound(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """What a call says, by parameter; defaults are left out."""
        signature = inspect.signature(self.function)
        own = list(signature.parameters.values())[self.given :]
        return dict(signature.replace(parameters=own).bind(*args, **kwargs).arguments)

    def _raw(self, name: str) -> bool:
        return self._hints[name] is Content


@dataclass(frozen=True, slots=True)
class Operation(Generic[P, R]):
    """Something that is answered at once."""

    card: Card
    function: Callable[Concatenate[Home, P], R]

    def on(self, home: Home, *args: P.args, **kwargs: P.kwargs) -> R:
        """The answer of this home. Raises Forbidden where whoever asks may not."""
        self.card.must(home.actor)
        return self.function(home, *args, **kwargs)


@dataclass(frozen=True, slots=True)
class Watch:
    """How an errand is seen from outside: what it has done so far, and the wish that it stops."""

    meter: Meter = field(default_factory=Meter)
    stopping: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class Errand(Generic[P, R]):
    """Something that takes its time: it can be watched, and stopped."""

    card: Card
    function: Callable[Concatenate[Home, Watch, P], R]

    def on(self, home: Home, watch: Watch, *args: P.args, **kwargs: P.kwargs) -> R:
        """What came of it on this home. Raises Forbidden where whoever asks may not."""
        self.card.must(home.actor)
        return self.function(home, watch, *args, **kwargs)


class Desk(Protocol):
    """Where a face asks, without knowing where the home is."""

    def ask(self, operation: Operation[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The answer. Raises what the operation raises."""
        ...

    def send(self, errand: Errand[P, R], watch: Watch, *args: P.args, **kwargs: P.kwargs) -> R:
        """What came of the errand, once it has ended; meanwhile ``watch`` shows how far it is."""
        ...

    def apply(self, file: Path, *, dry_run: bool = False) -> Applied:
        """The home is as a file of this machine says; `-` is stdin. Variables are those of this process."""
        ...

    def settings(self, kind: Kind, type_: str, words: Mapping[str, str]) -> dict[str, Any]:
        """Settings of a connection as typed, with variables of this process; the files that they name are there."""
        ...


@dataclass(frozen=True, slots=True)
class Local:
    """The desk of a home on this machine."""

    home: Home

    def ask(self, operation: Operation[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        return operation.on(self.home, *args, **kwargs)

    def send(self, errand: Errand[P, R], watch: Watch, *args: P.args, **kwargs: P.kwargs) -> R:
        return errand.on(self.home, watch, *args, **kwargs)

    def apply(self, file: Path, *, dry_run: bool = False) -> Applied:
        from millrace.control.as_code.apply import apply_file

        return apply_file(self.home, file, dry_run=dry_run)

    def settings(self, kind: Kind, type_: str, words: Mapping[str, str]) -> dict[str, Any]:
        from millrace.control.as_code.apply import given

        return given(kind, type_, words, os.environ)


def operation(
    method: Method, path: str, permission: Permission | None = "view", *, noun: str | None = None, status: int = 200
) -> Callable[[Callable[Concatenate[Home, P], R]], Operation[P, R]]:
    """The function becomes an operation. Its parameters are keys of the path, of the query, or of a JSON body."""

    def declare(function: Callable[Concatenate[Home, P], R]) -> Operation[P, R]:
        return Operation(Card(_name(function, noun), method, path, permission, function, 1, status), function)

    return declare


def errand(
    path: str, permission: Permission, *, noun: str | None = None
) -> Callable[[Callable[Concatenate[Home, Watch, P], R]], Errand[P, R]]:
    """The function becomes an errand, which is begun with POST."""

    def declare(function: Callable[Concatenate[Home, Watch, P], R]) -> Errand[P, R]:
        return Errand(Card(_name(function, noun), "POST", path, permission, function, 2, 202), function)

    return declare


def _name(function: Callable[..., Any], noun: str | None) -> str:
    return f"{noun or function.__module__.rpartition('.')[2]}.{function.__name__.rstrip('_')}"
