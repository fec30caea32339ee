"""The desk of a server: each operation as one HTTP request, with the same answers and errors as on a local home."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from hashlib import file_digest
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from urllib.parse import quote

import httpx
import pyarrow as pa
import yaml

from millrace.cli import repeating
from millrace.cli.documents import told
from millrace.cli.progress import INTERRUPTED
from millrace.control.desk import Card, Content, Errand, Operation, Watch
from millrace.control.wire import ARROW, decode, encode
from millrace.data import json_text
from millrace.engine.meter import Meter
from millrace.errors import (
    AuthError,
    ConfigError,
    EnvironmentProblem,
    Forbidden,
    MillraceError,
    Problem,
    Transient,
    in_words,
)

if TYPE_CHECKING:
    from millrace.control.as_code.apply import Applied
    from millrace.control.connecting.connections import Kind

P = ParamSpec("P")
R = TypeVar("R")

PREFIX = "/api/millrace/v1"

# A query or a look into a source may take minutes; a server that is not there is told soon.
TIMEOUT = httpx.Timeout(600.0, connect=10.0)

# How often a stream of events that broke off is asked for once more.
RESUMES = 10


class Refused(MillraceError):
    """The server could not do it, and nobody on this side can mend that."""


class Remote:
    """The desk of the server at ``url``, for whoever holds ``key`` (`KEY:SECRET`)."""

    def __init__(self, url: str, key: str) -> None:
        name, colon, secret = key.partition(":")
        if not colon or not name or not secret:
            raise ConfigError(
                "the API key is not KEY:SECRET",
                hint="Give both parts, as `millrace key create` printed them, with --key or MILLRACE_API_KEY.",
                path="--key",
                code="usage",
            )
        if not url.startswith(("http://", "https://")):
            raise ConfigError(
                f"{url!r} is no URL of a server", hint="Write https://HOST:PORT.", path="--url", code="usage"
            )
        self._url = url.rstrip("/")
        self._http = httpx.Client(base_url=self._url + PREFIX, auth=(name, secret), timeout=TIMEOUT)

    def close(self) -> None:
        self._http.close()

    def ask(self, operation: Operation[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The server's answer. Raises what the operation raises there."""
        said = operation.card.bound(*args, **kwargs)
        if operation.card.streams:
            return self._lines(operation.card, said)  # pyright: ignore[reportReturnType]  # its result is lines
        answer = self._request(operation.card, said)
        if answer.headers.get("content-type") == ARROW:
            with pa.ipc.open_stream(answer.content) as reader:
                return reader.read_all()  # pyright: ignore[reportReturnType]  # its result is a table
        return decode(operation.card.result, answer.text)

    def send(self, errand: Errand[P, R], watch: Watch, *args: P.args, **kwargs: P.kwargs) -> R:
        """What came of the errand at the server, followed until it ends. A wish to stop is handed on, once."""
        begun: Any = json_text.loads(self._request(errand.card, errand.card.bound(*args, **kwargs)).text)
        ended = self._follow(begun["id"], watch)
        if ended["state"] == "failed":
            raise error_of(ended["status"], ended["error"])
        return decode(errand.card.result, json_text.dumps(ended["result"]))

    def apply(self, file: Path, *, dry_run: bool = False) -> Applied:
        """The server's home is as a file of this machine says. Variables, and files beside it, go along."""
        from millrace.control.operations import documents

        text, variables = told(file)
        sent = {name: self._send(found) for name in _named(text) if (found := file.parent / name).is_file()}
        name = "stdin" if str(file) == "-" else str(file)
        return self.ask(documents.apply, text, name, variables, sent, dry_run)

    def settings(self, kind: Kind, type_: str, words: Mapping[str, str]) -> dict[str, Any]:
        """Settings as typed. A file of this machine goes to the server, and is called by its name there."""
        from millrace.control.as_code.apply import given
        from millrace.control.connecting.connections import config_class

        found = given(kind, type_, words, os.environ)
        for key in config_class(kind, type_).path_keys() & found.keys():
            typed, at = words[key], Path(str(found[key]))
            if key.endswith("file") and at.is_file():
                found[key] = self._send(at)
            elif "${" not in typed:
                found[key] = typed  # a path of the server's machine
        return found

    def _send(self, file: Path) -> str:
        """The server has the file; its name there, which no other content has."""
        from millrace.control.operations import documents

        try:
            with file.open("rb") as content:
                digest = file_digest(content, "sha256").hexdigest()
        except OSError as wrong:
            raise ConfigError(f"{file} cannot be read: {wrong}", path=str(file), code="no_file") from wrong
        return self.ask(documents.put, f"{digest[:16]}/{file.name}", Content(file)).name

    def _follow(self, id_: str, watch: Watch) -> Any:
        asked_to_stop = False
        for attempt in range(RESUMES):
            try:
                for kind, data in self._events(f"/errands/{id_}/events"):
                    if kind != "progress":
                        return data
                    _show(watch.meter, data)
                    if watch.stopping.is_set() and not asked_to_stop:
                        asked_to_stop = True
                        self._raw("POST", f"/errands/{id_}/cancel")
            except (httpx.TransportError, Transient):
                time.sleep(min(0.2 * 2**attempt, 10.0))
        raise EnvironmentProblem(
            f"the connection to {self._url} breaks off again and again",
            hint="The server goes on with it; `millrace runs` tells what came of it.",
            code="server_lost",
        )

    def _events(self, path: str) -> Iterator[tuple[str, Any]]:
        """Server-sent events: name and data (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""
        with self._http.stream("GET", path) as answer:
            if answer.is_error:
                answer.read()
                raise _error(answer)
            kind, data = "message", ""
            for line in answer.iter_lines():
                word, _, value = line.partition(":")
                match word:
                    case "event":
                        kind = value.strip()
                    case "data":
                        data += value.removeprefix(" ")
                    case "" if not line and data:
                        yield kind, json_text.loads(data)
                        kind, data = "message", ""
                    case _:
                        pass

    def _lines(self, card: Card, said: Mapping[str, Any]) -> Iterator[bytes]:
        path, more = _parts(card, said)
        with _translated(self._url), self._http.stream(card.method, path, **more) as answer:
            if answer.is_error:
                answer.read()
                raise _error(answer)
            rest = b""
            for chunk in answer.iter_bytes():
                *whole, rest = (rest + chunk).split(b"\n")
                yield from (line + b"\n" for line in whole)
            if rest:
                yield rest

    def _request(self, card: Card, said: Mapping[str, Any]) -> httpx.Response:
        path, more = _parts(card, said)
        file = next((said[own.name] for own in card.parameters if own.place == "content" and own.name in said), None)
        return self._raw(card.method, path, file=None if file is None else file.path, **more)

    def _raw(self, method: str, path: str, *, file: Path | None = None, **more: Any) -> httpx.Response:
        key = repeating.key(method, len(more.get("content") or b"")) if file is None else None
        if key is not None:
            more["headers"] = {**more.get("headers", {}), repeating.HEADER: key}

        def ask() -> httpx.Response:
            with ExitStack() as opened:
                if file is not None:
                    # A file object, so that it is sent piece by piece with its length before it.
                    more["content"] = opened.enter_context(file.open("rb"))
                return self._http.request(method, path, **more)

        attempts = 0
        while True:
            with _translated(self._url):
                answer = repeating.answered(ask, again=method == "GET" or key is not None)
            attempts += 1
            # A request that came too often was not looked at, so it may come again.
            if answer.status_code != HTTPStatus.TOO_MANY_REQUESTS or attempts > 3:
                break
            time.sleep(min(float(answer.headers.get("retry-after", 1)), 60.0))
        if answer.is_error or answer.is_redirect:
            raise _error(answer)
        return answer


def _named(text: str) -> Iterator[str]:
    """Relative paths of files that a file of pipelines names: scripts, chains of blocks, and settings like
    `events_file`."""
    try:
        whole: Any = yaml.safe_load(text)
    except yaml.YAMLError:
        return  # the server says so, with the line

    def found(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            for key, below in value.items():
                file = str(key) in ("python", "blocks") or str(key).endswith("_file")
                if file and isinstance(below, str) and "\n" not in below and not Path(below).is_absolute():
                    yield below
                else:
                    yield from found(below)
        elif isinstance(value, list):
            for below in value:
                yield from found(below)

    yield from dict.fromkeys(found(whole))


def _parts(card: Card, said: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The path of a request, and the rest of it as httpx takes it."""
    by_place: dict[str, dict[str, Any]] = {"path": {}, "query": {}, "body": {}, "content": {}}
    for own in card.parameters:
        if own.name in said:
            by_place[own.place][own.name] = said[own.name]
    path = card.path.format(**{name: segment(str(value)) for name, value in by_place["path"].items()})
    content: bytes | None = None
    headers = {"accept": f"{ARROW}, application/json"}
    if any(own.place == "body" for own in card.parameters):
        content = encode(by_place["body"])
        headers["content-type"] = "application/json"
    elif any(own.place == "content" for own in card.parameters):
        headers["content-type"] = "application/octet-stream"
    query = json_text.loads(encode({k: v for k, v in by_place["query"].items() if v is not None}).decode())
    return path, {"params": query, "content": content, "headers": headers}


def segment(text: str) -> str:
    """The text as one segment of a path. Servers undo one round of escapes before they look for slashes, so there
    are two; dots alone would be taken for folders."""
    once = quote(text, safe="")
    if not once.strip("."):
        once = once.replace(".", "%2E")
    return quote(once, safe="")


def error_of(status: int, said: Mapping[str, Any]) -> MillraceError:
    """The error that a server answered, as the class that says who can act."""
    family: type[MillraceError] = Refused
    if status == HTTPStatus.UNAUTHORIZED:
        family = AuthError
    elif status == HTTPStatus.FORBIDDEN:
        family = Forbidden
    elif said.get("code") == "ALREADY_RUNNING" or status == HTTPStatus.TOO_MANY_REQUESTS:
        family = Transient
    elif status == HTTPStatus.SERVICE_UNAVAILABLE:
        family = EnvironmentProblem
    elif 400 <= status < 500:
        family = ConfigError
    error = family(str(said.get("message", f"the server answered {status}")), hint=said.get("hint"))
    error.code, error.path = str(said.get("code", "internal")).lower(), said.get("field")
    if several := said.get("problems"):
        error.problems = tuple(  # pyright: ignore[reportAttributeAccessIssue]  # as `DocumentError` has them
            Problem(one["code"].lower(), one["message"], one.get("hint"), one.get("field")) for one in several
        )
    if error.code == "cancelled":
        error.exit_code = INTERRUPTED
    return error


def _error(answer: httpx.Response) -> MillraceError:
    try:
        said: Any = answer.json()["error"]
        return error_of(answer.status_code, said)
    except (ValueError, KeyError, TypeError, AttributeError):
        return EnvironmentProblem(
            f"{answer.url.copy_with(query=None)} answered {answer.status_code}, and not as Millrace does",
            hint="Check the URL: it is the one that `millrace serve` printed.",
            code="no_server",
        )


@contextmanager
def _translated(url: str) -> Generator[None]:
    try:
        yield
    except (httpx.ReadError, httpx.RemoteProtocolError, httpx.ReadTimeout) as cause:
        raise EnvironmentProblem(
            f"the answer of the server at {url} was lost: {in_words(cause)}",
            hint="Nobody here knows whether it was done: look at what is there before you ask again.",
            code="answer_lost",
        ) from cause
    except (httpx.TransportError, httpx.InvalidURL) as cause:
        raise EnvironmentProblem(
            f"the server at {url} cannot be reached: {in_words(cause)}",
            hint="Is `millrace serve` running there, and is the URL right (--url or MILLRACE_URL)?",
            code="no_server",
        ) from cause


def _show(meter: Meter, progress: Mapping[str, Any]) -> None:
    for name, value in progress.items():
        if hasattr(meter, name):
            setattr(meter, name, value)
