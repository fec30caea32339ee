"""What was measured, as tables in pages of the documents and in the README."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).parents[2]
START, END = "<!-- bench:start -->", "<!-- bench:end -->"


@dataclass(frozen=True, slots=True)
class Page:
    """A page in docs: its file, its title, the task that writes it, packages whose versions it names, and how it was
    measured."""

    file: str
    title: str
    task: str
    packages: tuple[str, ...]
    method: str


BENCHMARK = Page(
    "benchmark.md",
    "Benchmark",
    "make bench",
    ("duckdb", "pyarrow", "msgspec", "httpx", "adbc-driver-postgresql", "psycopg", "dlt"),
    "Every number is the median of at least three runs; what is compared took turns in one run (A B A B …), so that "
    "noise of the machine meets all alike. Syncs are whole processes, from their start to their end.",
)


@dataclass(frozen=True, slots=True)
class Line:
    """One number of Millrace with what stands beside it. ``met`` None: there is no goal."""

    what: str
    ours: str
    beside: str = ""
    ratio: str = ""
    goal: str = ""
    met: bool | None = None


@dataclass(frozen=True, slots=True)
class Detail:
    """Numbers behind the lines: medians of one party."""

    what: str
    party: str
    seconds: float
    each: str
    cpu_s: float | None = None
    peak_bytes: float | None = None


def table(lines: Sequence[Line]) -> str:
    rows = ["| What | Millrace | Beside it | Ratio | Goal | |", "|---|---|---|---|---|---|"]
    for line in lines:
        mark = {True: "✓", False: "missed", None: ""}[line.met]
        rows.append(f"| {line.what} | {line.ours} | {line.beside} | {line.ratio} | {line.goal} | {mark} |")
    return "\n".join(rows)


def details(found: Sequence[Detail]) -> str:
    rows = ["| Measure | Party | Seconds | Each run | CPU seconds | Peak memory |", "|---|---|---|---|---|---|"]
    for one in found:
        cpu = "" if one.cpu_s is None else f"{one.cpu_s:.1f}"
        peak = "" if one.peak_bytes is None else f"{one.peak_bytes / 1e6:,.0f} MB"
        rows.append(f"| {one.what} | {one.party} | {one.seconds:.2f} | {one.each} | {cpu} | {peak} |")
    return "\n".join(rows)


def machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    model = next(
        (text.partition(":")[2].strip() for text in _lines("/proc/cpuinfo") if text.startswith("model name")), "?"
    )
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} cores ({model}), {memory / 1e9:.0f} GB of memory, {platform.system()} "
        f"{platform.release().split('-')[0]}, Python {platform.python_version()}, load at the end {load:.1f}"
    )


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def page(about: Page, lines: Sequence[Line], found: Sequence[Detail], notes: Sequence[str]) -> str:
    """The whole text of a page."""
    versions = ", ".join(f"{package} {_version(package)}" for package in about.packages)
    return f"""# {about.title}

Written by `{about.task}` on {datetime.now(UTC):%Y-%m-%d}; do not edit. Machine: {machine()}. {versions}.

{START}
{table(lines)}
{END}

{about.method}

## What the numbers are

{chr(10).join(f"* {note}" for note in notes)}

## Each party

{details(found)}
"""


def write(about: Page, lines: Sequence[Line], found: Sequence[Detail], notes: Sequence[str]) -> Path:
    """The page is written."""
    target = ROOT / "docs" / about.file
    target.write_text(page(about, lines, found, notes))
    return target


def write_readme(lines: Sequence[Line]) -> list[Path]:
    """The table stands in the README between its marks, where it has them."""
    readme = ROOT / "README.md"
    text = readme.read_text()
    if START not in text or END not in text:
        return []
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    said = f"{table(lines)}\n\nMeasured on {os.cpu_count()} cores; more in [benchmark](docs/benchmark.md)."
    readme.write_text(f"{before}{START}\n{said}\n{END}{after}")
    return [readme]
