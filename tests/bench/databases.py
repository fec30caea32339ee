"""`make bench-databases`: tables of databases into DuckDB and PostgreSQL, beside raw floors and other programs.

python -m tests.bench.databases                       5,000,000 rows, writes docs/databases.md
python -m tests.bench.databases --rows 2000000        the same with fewer rows; about twelve minutes on two cores
python -m tests.bench.databases --memory              and the memory that 1,000,000 to 20,000,000 rows take
python -m tests.bench.databases --quick               50,000 rows once (--memory: and ten times as many); writes nothing
python -m tests.bench.databases --only mysql-duckdb   one way; writes nothing
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.bench import measure, product, report
from tests.bench.measure import Ran
from tests.bench.orders import Orders
from tests.bench.report import Detail, Line

# A load so small that its time is the time to start.
SMALL = 1_000
MEMORY_ROWS = (1_000_000, 10_000_000, 20_000_000)
QUICK = 50_000


@dataclass(frozen=True, slots=True)
class Way:
    """From a kind of database into another. ``goal``: share of the floor; ``ahead``: times a peer; ``near``: the peers
    that come nearest. They get all rows, since a large load of theirs is not as much slower as it is larger."""

    title: str
    source: str
    to: str
    floor: str
    goal: float
    ahead: int
    near: tuple[str, ...]


_CONNECTORX = ("dlt-connectorx", "dlt-connectorx-stream")

WAYS = {
    "postgres-duckdb": Way("PostgreSQL → DuckDB", "postgres", "duckdb", "ADBC → DuckDB", 0.8, 2, _CONNECTORX),
    "postgres-postgres": Way(
        "PostgreSQL → PostgreSQL", "postgres", "postgres", "binary COPY → binary COPY", 0.7, 4, ("sling",)
    ),
    "mysql-duckdb": Way("MySQL → DuckDB", "mysql", "duckdb", "ConnectorX → DuckDB", 0.8, 2, _CONNECTORX),
}


@dataclass(frozen=True, slots=True)
class Peer:
    """Another program, and the most rows that it is given where it is not near: the slower it is, the fewer."""

    title: str
    rows: int


PEERS = {
    "dlt-pyarrow": Peer("dlt by pyarrow", 200_000),
    "dlt-connectorx": Peer("dlt by ConnectorX", 400_000),
    "dlt-connectorx-stream": Peer("dlt by ConnectorX, streamed", 400_000),
    "sling": Peer("Sling", 200_000),
}


@dataclass(slots=True)
class Bench:
    """One run: how many rows and how often, the servers, and what was found."""

    rows: int
    repeats: int
    place: Path
    stack: ExitStack
    sources: dict[str, Orders] = field(default_factory=dict[str, Orders])
    postgres: Any = None
    lines: list[Line] = field(default_factory=list[Line])
    details: list[Detail] = field(default_factory=list[Detail])

    # Servers and tables.

    def source(self, kind: str) -> Orders:
        if kind not in self.sources:
            self.sources[kind] = self._postgres() if kind == "postgres" else self._mysql()
        return self.sources[kind]

    def _postgres(self) -> Orders:
        from tests.postgres import Server, binaries

        server = Server(binaries())
        self.stack.callback(server.stop)
        self.postgres = server.start()
        # Sling takes no password that is proven in one turn, as in tests.
        self.postgres.run(f"ALTER ROLE {self.postgres.user} PASSWORD '{self.postgres.password}'")
        return Orders("postgres", self.postgres, self.postgres.url, "public.")

    def _mysql(self) -> Orders:
        from tests.mariadb import Server

        server = Server()
        self.stack.callback(server.stop)
        # Pages that do not fit into its memory come from the system's, as with PostgreSQL.
        root = server.start("--innodb-flush-method=fsync")
        root.run("CREATE DATABASE bench")
        one = replace(root, name="bench")
        return Orders("mysql", one, f"mysql://{one.user}:{one.password}@{one.host}:{one.port}/{one.name}", "")

    # The parties.

    def into(self, way: Way, rows: int, party: Callable[[str, str], Ran]) -> Ran:
        """One load into an empty target, by ``party`` of a table and a target; its rows are counted."""
        table = self.source(way.source).table(rows)
        if way.to == "duckdb":
            target = self.place / "target.duckdb"
            target.unlink(missing_ok=True)
            ran = party(table, str(target))
            count = _rows_of_duckdb(target, table) if target.exists() else 0
            target.unlink(missing_ok=True)
        else:
            fresh = replace(self.postgres, name="target")
            self.postgres.run("DROP DATABASE IF EXISTS target WITH (FORCE)", "CREATE DATABASE target", "CHECKPOINT")
            ran = party(table, fresh.url)
            found = fresh.run(f"SELECT schemaname FROM pg_tables WHERE tablename = '{table}'")
            count = fresh.run(f"SELECT count(*) FROM {found[0][0]}.{table}")[0][0] if found else 0
        if count != rows:
            raise measure.Failed(f"{count:,} rows, not {rows:,}: {ran.output[:1000]}")
        return ran

    def floor(self, name: str, way: Way, rows: int) -> Ran:
        url = self.source(way.source).url
        return self.into(way, rows, lambda table, to: measure.module("database_floors", name, url, table, to))

    def millrace(self, way: Way, rows: int) -> Ran:
        source = self.source(way.source)

        def run(table: str, target: str) -> Ran:
            config = {"path": target} if way.to == "duckdb" else replace(self.postgres, name="target").settings()
            pipeline = {
                "source": {"type": source.type, "config": source.database.settings()},
                "destination": "warehouse",
                "objects": [f"{source.prefix}{table}"],
            }
            file = {
                "destinations": {"warehouse": {"type": way.to, "config": config}},
                "pipelines": {"orders": pipeline},
            }
            with tempfile.TemporaryDirectory(prefix="millrace-bench-") as name:
                folder = Path(name)
                (folder / "pipelines.yaml").write_text(json.dumps(file))
                return measure.run(
                    [product.COMMAND, "run", "pipelines.yaml", "--json"],
                    folder=folder,
                    environment={"MILLRACE_HOME": str(folder / "home")},
                )

        return self.into(way, rows, run)

    def peer(self, name: str, way: Way, rows: int) -> Ran:
        url = self.source(way.source).url
        scratch = self.place / "scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        return self.into(
            way, rows, lambda table, to: measure.module("database_peers", name, url, table, to, str(scratch))
        )

    # The measures.

    def note(self, what: str, ran: dict[str, list[Ran]]) -> None:
        for party, runs in ran.items():
            if not runs:
                continue
            each = " ".join(f"{one.seconds:.2f}" for one in runs)
            self.details.append(
                Detail(what, party, measure.seconds(runs), each, measure.cpu_s(runs), measure.peak_bytes(runs))
            )
            say(f"  {party}: {measure.seconds(runs):.2f} s ({each}), CPU {measure.cpu_s(runs):.1f} s")

    def speed(self, name: str, peers: Sequence[str]) -> None:
        """Rows a second of all, in turns."""
        way, rows = WAYS[name], self.rows
        sizes = {peer: rows if peer in way.near else min(rows, PEERS[peer].rows) for peer in peers}
        say(f"making tables for {way.title}")
        for size in {rows, SMALL, *sizes.values()} if peers else {rows}:
            self.source(way.source).table(size)
        say(f"{way.title}, {rows:,} rows")
        floor, failed = f"floor: {way.floor}", dict[str, str]()
        parties: dict[str, Callable[[], Ran]] = {
            floor: lambda: self.floor(name, way, rows),
            "Millrace": lambda: self.millrace(way, rows),
        }
        for peer, most in sizes.items():
            for size in (SMALL, most) if most < rows else (most,):
                parties[_party(peer, size)] = lambda peer=peer, size=size: self.peer(peer, way, size)
                failed[_party(peer, size)] = ""
        ran = measure.turns(parties, self.repeats, failed)
        self.note(f"{way.title}, {rows:,} rows", ran)
        ours, least = (rows / measure.seconds(ran[party]) for party in ("Millrace", floor))
        self.lines.append(
            Line(
                f"{way.title}, {rows:,} rows",
                f"{ours:,.0f} rows/s",
                f"{way.floor} {least:,.0f} rows/s",
                f"{ours / least:.0%}",
                f"≥ {way.goal * 100:.0f} %",
                ours >= way.goal * least,
            )
        )
        for peer, most in sizes.items():
            few, many = _party(peer, SMALL), _party(peer, most)
            why = failed.get(few, "") or failed[many]
            self.lines.append(beside(way, PEERS[peer], rows, ours, most, ran.get(few, ()), ran[many], why))

    def memory(self, name: str, sizes: Sequence[int]) -> None:
        """Peak memory does not grow with the number of rows."""
        way = WAYS[name]
        peaks: list[float] = []
        for rows in sizes:
            say(f"memory of {way.title}, {rows:,} rows")
            ran = {f"Millrace, {rows:,} rows": [self.millrace(way, rows)]}
            self.note(f"{way.title}, memory", ran)
            peaks += [measure.peak_bytes(runs) for runs in ran.values()]
            if rows != self.rows:
                self.source(way.source).drop(rows)
        for (few, less), (many, more) in pairwise(zip(sizes, peaks, strict=True)):
            self.lines.append(
                Line(
                    f"Peak memory of {way.title}, {many:,} rows",
                    f"{more / 1e6:,.0f} MB",
                    f"of {few:,} rows {less / 1e6:,.0f} MB",
                    f"{more / less:.2f} ×",
                    "the same",
                    more <= 1.1 * less,
                )
            )


def _party(peer: str, rows: int) -> str:
    return f"{PEERS[peer].title}, {rows:,} rows"


def beside(
    way: Way, peer: Peer, rows: int, ours: float, most: int, few: Sequence[Ran], many: Sequence[Ran], failed: str
) -> Line:
    """Millrace beside a peer, or why that did not run: as many rows, each from its start to its end. A peer that got
    fewer, ``most`` of them, needs as long for each further one as for each beyond the small load."""
    what = f"The same beside {peer.title}"
    if failed:
        say(f"  {peer.title} did not run: {failed}")
        return Line(what, f"{ours:,.0f} rows/s", f"did not run: {_reason(failed)}")
    if most == rows:
        theirs = rows / measure.seconds(many)
    else:
        start, longer = measure.seconds(few), max(measure.seconds(many) - measure.seconds(few), 0.01)
        theirs = rows / (start + (rows - SMALL) * longer / (most - SMALL))
    return Line(
        what,
        f"{ours:,.0f} rows/s",
        f"{theirs:,.0f} rows/s",
        f"{ours / theirs:.1f} ×",
        f"≥ {way.ahead} ×",
        ours >= way.ahead * theirs,
    )


def _reason(failed: str) -> str:
    """The line that says most of what a process that failed wrote: of errors that followed each other the first."""
    said = [line.strip() for line in failed.splitlines() if line.strip()]
    errors = [line for line in said if re.match(r"[\w. ]*(Error|Exception): .", line)]
    return (errors[0] if errors else said[-1])[:200].replace("|", "\\|")


def _rows_of_duckdb(target: Path, table: str) -> int:
    """Asked by another process: this one stays small (see `measure.run`)."""
    question = (
        f"import duckdb; c = duckdb.connect({str(target)!r}); "
        f"s = c.execute(\"SELECT schema_name FROM duckdb_tables() WHERE table_name = '{table}'\").fetchall(); "
        f"print(c.execute(f'SELECT count(*) FROM {{s[0][0]}}.{table}').fetchall()[0][0] if s else 0)"
    )
    return int(measure.run([sys.executable, "-c", question]).output)


PAGE = report.Page(
    "databases.md",
    "Databases",
    "make bench-databases",
    (
        *("duckdb", "pyarrow", "adbc-driver-postgresql", "psycopg", "pymysql"),
        *("connectorx", "dlt", "sling-linux-amd64", "duckdb-cli"),
    ),
    "Speeds are medians of three runs; what is compared took turns in one run (A B A B …), so that noise of the "
    "machine meets all alike. Each is a whole process, from its start to its end. Memory is that of one run.",
)

NOTES = (
    "**The table**: 12 columns (numbers with and without a point, text, moments, a day, a flag, JSON, a UUID), some "
    "200 bytes a row, with a key. MySQL is a MariaDB. The servers run on the same machine and do not "
    "wait for the disk.",
    "**Millrace**: `millrace run FILE` reads the table into a new home and a new table: types, one snapshot, a durable "
    "stage, state, counts and a key included.",
    "**Floor**: the fastest bare loop that was found: ADBC's stream into `CREATE TABLE … AS SELECT`; a pipe from "
    "binary COPY to binary COPY; ConnectorX's stream, whose driver is written in Rust, into `CREATE TABLE … AS SELECT` "
    "(drivers that make rows of Python take twice as long). Each does none of what Millrace does beside.",
    "**dlt**: its `sql_database` with the backends pyarrow, in pieces of 50,000 rows, and ConnectorX, as it is by "
    "itself (all rows at once) and with the setting that makes it a stream; replacing. **Sling**: the newest program "
    "of its own that PyPI has, full refresh, into DuckDB by files. Those that come nearest get as many rows as "
    "Millrace, the others fewer, as said below: for as many they are charged the time that they need for "
    f"{SMALL:,} rows, their start among that, and for each row more as long as for each between the two loads below.",
    "**Peak memory**: the most that the process had resident, DuckDB inside it included, and the most that each of its "
    "processes had, added up. What they share, Python and libraries, counts once.",
)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="50,000 rows once; nothing is written")
    parser.add_argument("--only", choices=tuple(WAYS), action="append", help="one way; nothing is written")
    parser.add_argument("--without-peers", action="store_true", help="nothing is written")
    parser.add_argument("--memory", action="store_true", help="the memory of few and of many rows too; minutes more")
    wanted = parser.parse_args(arguments)
    rows, repeats = (QUICK, 1) if wanted.quick else (wanted.rows, wanted.repeats)
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="millrace-bench-")))
        bench = Bench(rows, repeats, place, stack)
        for name in wanted.only or WAYS:
            bench.speed(name, () if wanted.without_peers else tuple(PEERS))
            if wanted.memory:
                bench.memory(name, (QUICK, 10 * QUICK, 20 * QUICK) if wanted.quick else MEMORY_ROWS)
    print(report.table(bench.lines))
    if not (wanted.quick or wanted.only or wanted.without_peers):
        say(f"wrote {report.write(PAGE, bench.lines, bench.details, NOTES).relative_to(report.ROOT)}")


if __name__ == "__main__":
    main()
