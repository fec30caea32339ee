"""`make bench`: speed and memory of Millrace, as ratios to a raw floor, to plain SQL and to a peer.

python -m tests.bench                 everything at full size, writes docs/benchmark.md; half an hour on two cores
python -m tests.bench --quick         100,000 events; writes nothing
python -m tests.bench --only duckdb   one measure
python -m tests.bench --only sync-duckdb --only sync-postgres   Millrace alone: a few minutes
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench import measure, product, report
from tests.bench.measure import Ran
from tests.bench.report import Detail, Line

# A sync so small that its time is the time to start.
SMALL = 1_000


@dataclass(frozen=True, slots=True)
class Sizes:
    events: int
    dlt: int
    most: int
    base: int
    rows: int
    tries: int
    repeats: int = 3
    """Turns of what takes long; other measures take more."""


FULL = Sizes(events=1_000_000, dlt=200_000, most=5_000_000, base=5_000_000, rows=1_000_000, tries=200_000)
QUICK = Sizes(events=100_000, dlt=20_000, most=500_000, base=500_000, rows=100_000, tries=50_000)


@dataclass(frozen=True, slots=True)
class Data:
    """A rendered data set and the server process that hands it out."""

    url: str
    folder: Path
    events: int
    distinct: int


@dataclass(slots=True)
class Bench:
    """One run of the benchmark: sizes, what was found, servers and the folder for all files."""

    sizes: Sizes
    place: Path
    stack: ExitStack
    lines: list[Line] = field(default_factory=list[Line])
    details: list[Detail] = field(default_factory=list[Detail])
    served: dict[int, Data] = field(default_factory=dict[int, Data])
    postgres: Any = None

    def data(self, events: int) -> Data:
        if events not in self.served:
            say(f"rendering {events:,} events")
            folder = Path(json.loads(measure.module("pages", str(events)).output)["folder"])
            about = json.loads((folder / "about.json").read_text())
            # Numpy stays out of this process: it must be small (see `measure.run`).
            url = self.stack.enter_context(_serving(folder))
            self.served[events] = Data(url, folder, about["events"], about["distinct"])
        return self.served[events]

    def note(self, what: str, ran: dict[str, list[Ran]]) -> None:
        for party, runs in ran.items():
            each = " ".join(f"{one.seconds:.2f}" for one in runs)
            self.details.append(
                Detail(what, party, measure.seconds(runs), each, measure.cpu_s(runs), measure.peak_bytes(runs))
            )
            say(f"  {party}: {measure.seconds(runs):.2f} s ({each}), CPU {measure.cpu_s(runs):.1f} s")

    # The parties.

    def floor(self, to: str, variant: str, data: Data) -> Ran:
        if to == "postgres":
            return measure.module("floor", to, variant, data.url, str(data.folder), self.fresh_database())
        target = self.place / "floor.duckdb"
        try:
            return measure.module("floor", to, variant, data.url, str(data.folder), str(target))
        finally:
            target.unlink(missing_ok=True)

    def best_floor(self, to: str) -> str:
        """The fastest variant, found on fewer events by two turns."""
        from tests.bench.floor import VARIANTS

        data = self.data(self.sizes.tries)
        say(f"variants of the floor into {to}, {data.events:,} events")
        ran = measure.turns({name: lambda name=name: self.floor(to, name, data) for name in VARIANTS[to]}, 3)
        self.note(f"floor into {to}, {data.events:,} events", ran)
        return min(ran, key=lambda name: measure.seconds(ran[name]))

    def sync(self, to: str, data: Data) -> Ran:
        events_file = data.folder / "events.csv"
        if to == "postgres":
            self.fresh_database()
            destination = {"type": "postgres", "config": self.postgres.settings()}
            count = lambda folder: self.postgres.run("SELECT count(*) FROM events")[0][0]  # noqa: E731  one line, used at once
            return product.sync(data.url, events_file, destination, data.distinct, count)
        destination = {"type": "duckdb", "config": {"path": "./warehouse.duckdb"}}
        counted = lambda folder: product.duckdb_rows(folder / "warehouse.duckdb")  # noqa: E731  one line, used at once
        return product.sync(data.url, events_file, destination, data.distinct, counted)

    def dlt(self, data: Data) -> Ran:
        target = self.place / "dlt.duckdb"
        try:
            ran = measure.module("peer", data.url, str(data.folder), str(target))
            if (found := product.duckdb_rows(target)) != data.distinct:
                raise measure.Failed(f"dlt's table has {found:,} rows, not {data.distinct:,}")
            return ran
        finally:
            target.unlink(missing_ok=True)

    def fresh_database(self) -> str:
        """An empty database on a server of this run's own; its URL."""
        if self.postgres is None:
            from dataclasses import replace

            from tests.postgres import Server, binaries

            server = Server(binaries())
            self.stack.callback(server.stop)
            self.postgres = replace(server.start(), name="bench")
        maintenance = _maintenance(self.postgres)
        maintenance.run("DROP DATABASE IF EXISTS bench WITH (FORCE)", "CREATE DATABASE bench", "CHECKPOINT")
        return self.postgres.url

    # The measures.

    def start(self) -> None:
        """`millrace --help`."""
        runs = [measure.run([product.COMMAND, "--help"]) for _ in range(11)][1:]
        self.note("millrace --help", {"Millrace": runs})
        found = measure.seconds(runs)
        self.lines.append(Line("`millrace --help`", f"{found:.2f} s", goal="< 0.3 s", met=found < 0.3))

    def small(self) -> None:
        """A sync of so few events that starting is most of it."""
        data = self.data(SMALL)
        say(f"a sync of {SMALL:,} events")
        parties = {"Millrace": lambda: self.sync("duckdb", data), "dlt": lambda: self.dlt(data)}
        measure.turns(parties, 1)
        ran = measure.turns(parties, 5)
        self.note(f"sync of {SMALL:,} events into DuckDB", ran)
        ours, theirs = measure.seconds(ran["Millrace"]), measure.seconds(ran["dlt"])
        self.lines.append(
            Line(
                f"Sync of {SMALL:,} events into DuckDB, process start included",
                f"{ours:.2f} s",
                f"dlt {theirs:.1f} s",
                f"{theirs / ours:.1f} ×",
                "< 1 s",
                ours < 1,
            )
        )

    def duckdb(self) -> None:
        """API to DuckDB beside the floor and dlt."""
        variant = self.best_floor("duckdb")
        data, fewer, fewest = self.data(self.sizes.events), self.data(self.sizes.dlt), self.data(SMALL)
        say(f"{data.events:,} events into DuckDB; the floor is {variant}")
        ran = measure.turns(
            {
                f"floor: {variant}": lambda: self.floor("duckdb", variant, data),
                "Millrace": lambda: self.sync("duckdb", data),
                f"dlt, {fewer.events:,} events": lambda: self.dlt(fewer),
                f"dlt, {SMALL:,} events": lambda: self.dlt(fewest),
            },
            self.sizes.repeats,
        )
        self.note(f"{data.events:,} events into DuckDB", ran)
        floor, ours, many, few = (measure.seconds(runs) for runs in ran.values())
        rate = data.events / ours
        self.lines.append(_share(f"CleverTap → DuckDB, {data.events:,} events", rate, data.events / floor))
        # What dlt needs to start is not counted against it; Millrace's start is counted.
        theirs = (fewer.events - SMALL) / max(many - few, 0.01)
        self.lines.append(
            Line(
                "The same beside dlt's `rest_api`",
                f"{rate:,.0f} events/s",
                f"dlt {theirs:,.0f} events/s",
                f"{rate / theirs:.1f} ×",
                "≥ 10 ×",
                rate >= 10 * theirs,
            )
        )

    def to_postgres(self) -> None:
        """API to PostgreSQL beside the floor."""
        variant = self.best_floor("postgres")
        data = self.data(self.sizes.events)
        say(f"{data.events:,} events into PostgreSQL; the floor is {variant}")
        ran = measure.turns(
            {
                f"floor: {variant}": lambda: self.floor("postgres", variant, data),
                "Millrace": lambda: self.sync("postgres", data),
            },
            self.sizes.repeats,
        )
        self.note(f"{data.events:,} events into PostgreSQL", ran)
        floor, ours = (measure.seconds(runs) for runs in ran.values())
        self.lines.append(
            _share(f"CleverTap → PostgreSQL, {data.events:,} events", data.events / ours, data.events / floor)
        )

    def alone(self, to: str) -> None:
        """API to a table without anything beside it, for a look after a change."""
        data = self.data(self.sizes.events)
        title = TITLES[to]
        say(f"{data.events:,} events into {title}, Millrace alone")
        ran = measure.turns({"Millrace": lambda: self.sync(to, data)}, self.sizes.repeats)
        self.note(f"{data.events:,} events into {title}, alone", ran)
        runs = ran["Millrace"]
        self.lines.append(
            Line(
                f"CleverTap → {title}, {data.events:,} events, nothing beside it",
                f"{data.events / measure.seconds(runs):,.0f} events/s",
                f"CPU {measure.cpu_s(runs) / data.events * 1e6:.1f} µs an event",
                f"{measure.peak_bytes(runs) / 1e6:,.0f} MB",
            )
        )

    def loads(self, to: str) -> None:
        """Stage to table beside plain SQL."""
        sizes = self.sizes
        for kind, goal in (("append", 1.3), ("merge", 1.5)):
            say(f"{kind} of {sizes.rows:,} rows into {sizes.base:,} in {to}")
            settings = "{}"
            if to == "postgres":
                url = self.fresh_database()
                settings = json.dumps({"url": url, "config": self.postgres.settings()})
            place = self.place / f"loads-{kind}"
            place.mkdir()
            words = (to, kind, str(sizes.base), str(sizes.rows), str(sizes.repeats), str(place), settings)
            measured = json.loads(measure.module("loads", *words).output)
            found: dict[str, list[float]] = measured["seconds"]
            shutil.rmtree(place)
            middle = {name: median(seconds) for name, seconds in found.items()}
            for name, seconds in found.items():
                each = " ".join(f"{one:.2f}" for one in seconds)
                cpu_s = median(measured["cpu_s"][name])
                self.details.append(Detail(f"{kind} into {to}", name, middle[name], each, cpu_s))
                say(f"  {name}: {middle[name]:.2f} s ({each}), CPU {cpu_s:.1f} s")
            ours = middle.pop("Millrace")
            best = min(middle, key=middle.__getitem__)
            self.lines.append(
                Line(
                    f"{kind.capitalize()} of {sizes.rows:,} rows into {sizes.base:,}, {TITLES[to]}",
                    f"{ours:.2f} s",
                    f"{best} {middle[best]:.2f} s",
                    f"{ours / middle[best]:.2f} ×",
                    f"≤ {goal} ×",
                    ours <= goal * middle[best],
                )
            )

    def memory(self) -> None:
        """Peak memory does not grow with the number of events."""
        peaks: dict[int, float] = {}
        sets = [self.data(self.sizes.events), self.data(self.sizes.most)]
        say("peak memory of whole syncs into DuckDB")
        ran = measure.turns(
            {f"{data.events:,} events": lambda data=data: self.sync("duckdb", data) for data in sets},
            self.sizes.repeats,
        )
        self.note("memory of a sync into DuckDB", ran)
        for data, runs in zip(sets, ran.values(), strict=True):
            peaks[data.events] = measure.peak_bytes(runs)
            say(f"  {data.events:,}: {peaks[data.events] / 1e6:,.0f} MB")
        less, more = peaks.values()
        self.lines.append(
            Line(
                f"Peak memory of a sync of {sets[1].events:,} events into DuckDB",
                f"{more / 1e6:,.0f} MB",
                f"of {sets[0].events:,} events {less / 1e6:,.0f} MB",
                f"{more / less:.2f} ×",
                "< 400 MB, the same",
                more < 400e6 and more <= 1.1 * less,
            )
        )


def _share(what: str, ours: float, floor: float) -> Line:
    return Line(
        what,
        f"{ours:,.0f} events/s",
        f"raw floor {floor:,.0f} events/s",
        f"{ours / floor:.0%}",
        "≥ 60 %",
        ours >= 0.6 * floor,
    )


def _serving(folder: Path) -> Any:
    from tests.bench.server import serving

    return serving(folder)


def _maintenance(database: Any) -> Any:
    from dataclasses import replace

    return replace(database, name="postgres")


TITLES = {"duckdb": "DuckDB", "postgres": "PostgreSQL"}

MEASURES: dict[str, Callable[[Bench], None]] = {
    "start": Bench.start,
    "small": Bench.small,
    "duckdb": Bench.duckdb,
    "postgres": Bench.to_postgres,
    "load-duckdb": lambda bench: bench.loads("duckdb"),
    "load-postgres": lambda bench: bench.loads("postgres"),
    "memory": Bench.memory,
}

# Measured only when asked for: the whole benchmark has them beside something else.
ALONE: dict[str, Callable[[Bench], None]] = {
    "sync-duckdb": lambda bench: bench.alone("duckdb"),
    "sync-postgres": lambda bench: bench.alone("postgres"),
}

NOTES = (
    "**CleverTap →**: a local process serves rendered pages of the Get Events API over loopback without delay: about "
    "ten properties an event, some nested, 570 bytes a record, 20 event names (5 where there are 1,000 events), 31 "
    "days, walked three at a time in windows of five days, at most 4,991 records a page. `millrace run FILE` reads "
    "them into a new home and a new table, in merge mode.",
    "**Raw floor**: the same pages fetched with httpx, parsed and inserted, in the fastest of the variants listed "
    "below. It does none of: types, time zones, identity (a SHA-256 over each event's canonical JSON), deduplication, "
    "durability on a stage, state, counts.",
    "**dlt**: its `rest_api` source with a paginator for CleverTap's cursors, merge disposition, nested properties "
    "kept as JSON, Parquet load files; on fewer events, and without the time that it needs for 1,000 events, which is "
    "its start.",
    "**Append and merge**: a load of rows that lie in memory as Arrow, by Millrace's destination and by hand (DuckDB: "
    "`INSERT … SELECT`, `MERGE`, or `DELETE` and `INSERT`; PostgreSQL: binary COPY into a temporary table, then "
    "`INSERT … SELECT`, `ON CONFLICT`, or `DELETE` and `INSERT`), each into a table of its own that began equal. Of a "
    "merge, every other row has a key that the table holds. Beside is the fastest way by hand.",
    "**Peak memory**: the most that the process had resident, DuckDB inside it included.",
    "PostgreSQL runs on the same machine without fsync, for all alike. Compiled Python modules are kept between runs.",
)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="100,000 events; nothing is written")
    parser.add_argument(
        "--only", choices=sorted(MEASURES | ALONE), action="append", help="one measure; nothing is written"
    )
    parser.add_argument("--write", action="store_true", help="write the page after a smaller run too")
    parser.add_argument("--events", type=int, help="so many events; nothing is written")
    given = parser.parse_args(arguments)
    sizes = QUICK if given.quick else FULL
    if given.events:
        from dataclasses import replace

        sizes = replace(sizes, events=given.events)
    chosen = given.only or list(MEASURES)
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="millrace-bench-")))
        bench = Bench(sizes, place, stack)
        for name in chosen:
            (MEASURES | ALONE)[name](bench)
    print(report.table(bench.lines))
    if given.write or not (given.quick or given.only or given.events):
        page = report.write(report.BENCHMARK, bench.lines, bench.details, NOTES)
        for path in (page, *report.write_readme(bench.lines)):
            say(f"wrote {path.relative_to(report.ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
