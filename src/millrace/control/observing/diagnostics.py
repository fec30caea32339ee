"""What somebody who helps needs to know of a home, in one zip without secrets (`millrace diagnose`)."""

from __future__ import annotations

import json
import platform
import re
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import sqlalchemy as sa

from millrace.control import settings
from millrace.control.as_code import export
from millrace.control.books import records
from millrace.control.database import db
from millrace.control.failed import rejects
from millrace.control.observing import metrics, status
from millrace.control.secrecy import sealing
from millrace.control.secrecy.secrets import redact
from millrace.data import native
from millrace.data.dataclass import dataclass
from millrace.engine.stage import Stage
from millrace.errors import EnvironmentProblem, Forbidden, MillraceError

if TYPE_CHECKING:
    from millrace.control.home import Home

RUNS = 100

# Of each log its end alone is taken.
TAIL_BYTES = 1 << 20


# Shorter parts of a URL are words that stand elsewhere too, such as `hooks` and `services`.
_SHORTEST = 9


@dataclass(frozen=True, slots=True)
class Diagnosed:
    """Where the zip is, what is in it, and which of its parts tell of an error because they could not be made."""

    file: str
    parts: tuple[str, ...]
    failed: tuple[str, ...]


def collect(home: Home, file: Path, *, logs: Sequence[Path] = ()) -> Diagnosed:
    """The zip is written, readable by its owner alone, with the ends of ``logs``. What cannot be found out is told in
    its place, so that a home that is not well can be looked at.

    Every secret that the home keeps is taken out of every part (I7). Raises EnvironmentProblem when the file cannot be
    written, and "wrong_key" when a secret cannot be opened: nobody could tell then what to take out.
    """
    if home.actor.kind != "operator":
        raise Forbidden("only the operator of the server makes a diagnosis", hint="Run it on its machine.")
    hidden, alive = _hidden(home)
    sources: dict[str, Callable[[], Any]] = {
        "versions.json": _versions,
        "health.json": lambda: {"database": _database(home), "stage": _stage(home)},
        "settings.json": lambda: settings.workspace(home.database),
        "pipelines.yaml": lambda: export.export(home).text,
        "status.json": lambda: status.statuses(home),
        "numbers.json": lambda: metrics.measure(home),
        "runs.json": lambda: records.run_records(home, limit=RUNS),
        "failed-events.json": lambda: [_unsampled(one) for one in records.to_json(rejects.grouped(home))],
    }
    # Without the database nothing of it is known, and logs could not be cleaned.
    sources |= {f"logs/{number}-{log.name}": _tail(log) for number, log in enumerate(logs, 1)} if alive else {}
    failed: list[str] = []
    written: dict[str, str] = {}
    for name, source in sources.items():
        try:
            found = source()
        except MillraceError as error:
            failed.append(name)
            found = {"error": records.to_json(error.problem)}
        text = found if isinstance(found, str) else json.dumps(records.to_json(found), indent=1, ensure_ascii=False)
        written[name] = redact(text, hidden)
    _write(file, written)
    return Diagnosed(str(file), tuple(written), tuple(failed))


def _hidden(home: Home) -> tuple[list[str], bool]:
    """Secrets of the home, and whether its database answers at all."""
    try:
        home.database.now()
    except MillraceError:
        return [], False
    whole = sealing.all_texts(home)
    return [*whole, *(piece for text in whole for piece in _pieces(text))], True


def _pieces(text: str) -> list[str]:
    """Parts of a secret URL that are secret by themselves, as they stand there and as they are meant."""
    if "://" not in text:
        return []
    found = [part for part in re.split(r"[/?&=#@:;]", text.partition("://")[2]) if len(part) >= _SHORTEST]
    host = urlsplit(text).hostname or ""
    return [form for part in found if part.lower() != host for form in (part, unquote(part))]


def _write(file: Path, parts: Mapping[str, str]) -> None:
    try:
        file.touch(mode=0o600)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
            for name, text in parts.items():
                made.writestr(name, text)
    except OSError as cause:
        raise EnvironmentProblem(
            f"{file} cannot be written: {cause.strerror}", hint="Name another file.", path="FILE", code="unwritable"
        ) from cause


def _versions() -> dict[str, Any]:
    packages = sorted({(one.name, one.version) for one in distributions() if one.name})
    found = {"python": platform.python_version(), "platform": platform.platform(), "schema": db.HEAD}
    return found | {"native": native.absent() or "in use", "made_at": datetime.now(UTC), "packages": dict(packages)}


def _database(home: Home) -> dict[str, Any]:
    """Where it is, without a password, its schema, and how long it takes to answer."""
    began = time.perf_counter()
    try:
        with home.database.reading() as connection:
            revision = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
            rows = {name: connection.execute(sa.select(sa.func.count()).select_from(table)).scalar()
                    for name, table in sorted(db.known_tables().items())}  # fmt: skip
    except MillraceError as error:
        return {"ok": False, "error": error.problem}
    took_ms = round((time.perf_counter() - began) * 1000, 1)
    return {"ok": True, "where": home.database.shown, "schema": revision, "took_ms": took_ms, "rows": rows}


def _stage(home: Home) -> dict[str, Any]:
    """Whether a file can be put there and taken away again."""
    began = time.perf_counter()
    try:
        stage = Stage(home.stage_url)
        try:
            spooled = stage.spool()
            spooled.write_bytes(b"diagnosis")
            path = f"diagnosis/{spooled.name}"
            stage.put(spooled, path)
            stage.delete(path)
        finally:
            stage.close()
    except MillraceError as error:
        return {"ok": False, "error": error.problem}
    return {"ok": True, "where": home.stage_url, "took_ms": round((time.perf_counter() - began) * 1000, 1)}


def _unsampled(group: dict[str, Any]) -> dict[str, Any]:
    """Without the words of a refused row, which are data."""
    return {name: value for name, value in group.items() if name != "sample"}


def _tail(log: Path) -> Callable[[], str]:
    def read() -> str:
        try:
            with log.open("rb") as file:
                size = file.seek(0, 2)
                file.seek(max(0, size - TAIL_BYTES))
                if size > TAIL_BYTES:
                    file.readline()  # half a line could hold half of a secret
                return file.read().decode("utf-8", "replace")
        except OSError as cause:
            raise EnvironmentProblem(
                f"{log} cannot be read: {cause.strerror}", path="--log", code="unreadable"
            ) from cause

    return read
