"""The main job, shown: two simulated CleverTap projects into one DuckDB file, with faults, over two days.

Everything below `$` is a command that a user could type; the numbers at the end come from the file itself.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb

from millrace.simulators.clevertap import Account, Settings, Simulator
from millrace.simulators.clevertap.config import Duplicates, Late, Latency, Waits

FOLDER = Path("demo")
WAREHOUSE = FOLDER / "warehouse.duckdb"
DAY_S = 86_400

# A name whose devices have broken clocks: its rows have a time that is none, so they can only become rejects.
BROKEN = "Coupon Imported"

PROJECTS = {
    "shop": Account(
        id="SIM-EU1-0001",
        passcode="demo-pass-eu",
        region="eu1",
        timezone="Europe/Berlin",
        users=300,
        days=45,
        events=(BROKEN,),
    ),
    "travel": Account(
        id="SIM-IN1-0001",
        passcode="demo-pass-in",
        region="in1",
        timezone="Asia/Kolkata",
        users=150,
        days=40,
        profile="travel",
        events=("Room Booked",),
    ),
}

# What goes wrong while the demo runs. Millrace has to end with every row all the same.
ALWAYS = [{"step": "page", "event": BROKEN, "effect": "bad_ts", "form": "impossible", "records": 0}]
FAULTS_OF_THE_FIRST_DAY = [
    {"step": "page", "probability": 0.01, "effect": "server_error", "status": 503, "body": "html"},
    {"step": "page", "nth": 20, "effect": "truncate"},
    {"step": "open", "nth": 30, "effect": "not_ready"},
    {"step": "page", "nth": 45, "effect": "expire_cursor"},
    {"step": "page", "nth": 60, "effect": "reset"},
]
FAULTS_OF_THE_SECOND_DAY = [
    {"step": "page", "nth": 2, "effect": "truncate"},
    {"step": "page", "nth": 8, "effect": "duplicate_page"},
    {"step": "page", "nth": 12, "effect": "duplicate_records", "copies": 2, "records": 40},
    {"step": "page", "nth": 15, "effect": "reset"},
]


def main() -> int:
    started = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    now = datetime.now(UTC).replace(microsecond=0)
    settings = Settings(
        now=now - timedelta(days=1),
        accounts=tuple(PROJECTS.values()),
        latency_ms=Latency(open=(0, 5), page=(0, 10)),
        page_not_ready=Waits(probability=0.01, times=(1, 1)),
        partial=Waits(probability=0),
        duplicates=Duplicates(probability=0.004),
        late=Late(probability=0.02, max_days=5),
    )
    say("A simulator plays two CleverTap projects; it cuts pages, answers 503, repeats and delays rows.")
    with Simulator(settings, port=0) as simulator:
        write_files(simulator)
        add_broken(simulator, now - timedelta(days=3))
        add_booking(simulator, now - timedelta(days=3), room=101)
        simulator.faults.set(ALWAYS + FAULTS_OF_THE_FIRST_DAY)
        say("In flight: shop makes an order of each purchase in Python; travel goes through blocks. First on paper.")
        command("transform", "test", "--script", str(FOLDER / "shop.py"), "--events", str(FOLDER / "samples.jsonl"))
        say("Day 1. The historical load: 30 days and today, of both projects.")
        command("run", str(FOLDER / "pipelines.yaml"), behind_s=DAY_S)
        simulator.clock.advance(DAY_S)
        simulator.faults.set(ALWAYS + FAULTS_OF_THE_SECOND_DAY)
        add_drift(simulator, now)
        say("Day 2. The clock has moved; rows came late, twice, cut in the middle, and one property changed its type.")
        for name in PROJECTS:
            command("run", name)
        say("The column that the blocks made of that property was a number on day 1; it has become text, 101 and all.")
        command("mapping", "diff", "travel", "Events")
        say("What could not pass: two rows had a time that is none, and one an amount that the script cannot read.")
        command("rejects", "list")
        say("The script is mended, tried on what failed, and deployed; the next run lets that event try again.")
        command("transform", "test", "shop", "--script", str(FOLDER / "shop-2.py"), "--failed")
        command("transform", "deploy", "shop", "--script", str(FOLDER / "shop-2.py"), "-m", "amounts may be missing")
        command("run", "shop")
        command("rejects", "list")
        command("trace", "shop", "objectId=__demo4")
        say("CleverTap's own counts beside the table's.")
        for name in PROJECTS:
            command("reconcile", name, "--fix", "--summary")
        say("Three questions to the file.")
        for query in QUERIES:
            command("query", query)
        equal = compare(simulator) and orders_are_whole()
    say(
        f"Done in {time.monotonic() - started:.0f} s. The file is {WAREHOUSE}; `millrace query` or any DuckDB opens it."
    )
    return 0 if equal else 1


QUERIES = (
    "SELECT event_name, count(*) AS events, count(DISTINCT object_id) AS devices "
    "FROM shop_events GROUP BY ALL ORDER BY events DESC LIMIT 8",
    "SELECT date_trunc('day', ts) AS day, count(*) AS orders, "
    "round(sum(try_cast(event_props ->> 'Amount' AS DOUBLE))) AS amount FROM shop_events "
    "WHERE event_name = 'Charged' GROUP BY ALL ORDER BY day DESC LIMIT 5",
    "SELECT json_type(event_props -> 'Room') AS type_of_room, count(*) AS events FROM travel_events "
    "WHERE event_name = 'Room Booked' GROUP BY ALL ORDER BY ALL",
    "SELECT count(*) AS orders, count(amount) AS with_amount, round(sum(amount)) AS amount, "
    "min(ordered_at) AS first FROM shop_orders",
    "SELECT room, left(identity, 12) AS hidden_identity FROM travel_events "
    "WHERE event_name = 'Room Booked' AND starts_with(object_id, '__demo') ORDER BY room",
)

# What happens to the rows of shop in flight; the second version knows that an amount may be missing.
SCRIPT = """\
from millrace.api import Event


def transform(event):
    p = event.getProperties()
    if p["event_name"] != "Charged":
        return event
    order = {"ordered_at": p.get("ts"), "device": p["objectId"], "amount": float(p["event_props"]["Amount"])}
    return [event, Event("orders", order)]
"""
MENDED = SCRIPT.replace(
    '    order = {"ordered_at": p.get("ts"), "device": p["objectId"], "amount": float(p["event_props"]["Amount"])}\n',
    '    order = {"ordered_at": p.get("ts"), "device": p["objectId"]}\n'
    '    if p["event_props"].get("Amount") not in (None, "n/a"):\n'
    '        order["amount"] = float(p["event_props"]["Amount"])\n',
)
SAMPLES = """\
{"event_name": "Events", "properties": {"event_name": "Charged", "objectId": "a", "event_props": {"Amount": 5}}}
{"event_name": "Events", "properties": {"event_name": "App Launched", "objectId": "a", "event_props": {}}}
"""

# What happens to those of travel: who booked is hidden, and the room has a column of its own.
BLOCKS = """\
[
  {"id": "hide", "type": "HASH_FIELDS", "field_filters": [{"on": "FIELD_NAME", "op": "EQUALS", "value": "identity"}],
   "settings": {"algorithm": "SHA-256"}},
  {"id": "room", "type": "ADD_FIELD", "event_filters": [{"on": "EVENT_FIELD", "field": "event_name", "op": "EQUALS",
   "value": "Room Booked"}], "settings": {"name": "room", "value": "event_props.Room"}}
]
"""
IN_FLIGHT = {"shop": "{python: ./shop.py}", "travel": "{blocks: ./travel.json}"}


def write_files(simulator: Simulator) -> None:
    """Events files as CleverTap offers them for download, and the pipelines as a user would write them."""
    for name, account in PROJECTS.items():
        (FOLDER / f"{name}-events.csv").write_text(simulator.events_csv(account.id), encoding="utf-8")
    pipelines = "\n".join(
        f"""\
  {name}:
    source:
      type: clevertap
      config:
        project_id: {account.id}
        passcode: ${{{name.upper()}_PASSCODE}}
        region: {account.region.upper().rstrip("1")}
        timezone: {account.timezone}
        events_file: ./{name}-events.csv
        base_url: {simulator.url(account.region)}
    destination: warehouse
    load_mode: merge
    table_prefix: {name}
    transformation: {IN_FLIGHT[name]}
    schedule: {{every: 6h}}"""
        for name, account in PROJECTS.items()
    )
    for file, text in {"shop.py": SCRIPT, "shop-2.py": MENDED, "travel.json": BLOCKS, "samples.jsonl": SAMPLES}.items():
        (FOLDER / file).write_text(text, encoding="utf-8")
    (FOLDER / "pipelines.yaml").write_text(
        f"destinations:\n  warehouse: {{type: duckdb, config: {{path: ./{WAREHOUSE.name}}}}}\n"
        f"pipelines:\n{pipelines}\n",
        encoding="utf-8",
    )


def add_broken(simulator: Simulator, at: datetime) -> None:
    """Two rows of devices with broken clocks."""
    simulator.add_events(
        PROJECTS["shop"].id,
        [
            {"event_name": BROKEN, "objectId": f"__old{n}", "epoch_s": int(at.timestamp()), "event_props": {"Code": n}}
            for n in (1, 2)
        ],
    )


def add_booking(simulator: Simulator, at: datetime, *, room: object) -> None:
    """Somebody booked a room."""
    simulator.add_events(
        PROJECTS["travel"].id,
        [
            {
                "event_name": "Room Booked",
                "objectId": f"__demo{at:%d%H}",
                "profile": {"identity": "ann@example.com"},
                "epoch_s": int(at.timestamp()),
                "event_props": {"Room": room, "Nights": 2},
            }
        ],
    )


def add_drift(simulator: Simulator, now: datetime) -> None:
    """A property that was a number is text and a list, and an amount is none."""
    for hour, room in ((1, 101), (2, "101 B"), (3, ["101", "102"])):
        add_booking(simulator, now - timedelta(hours=hour), room=room)
    simulator.add_events(
        PROJECTS["shop"].id,
        [
            {
                "event_name": "Charged",
                "objectId": "__demo4",
                "epoch_s": int((now - timedelta(hours=4)).timestamp()),
                "event_props": {"Amount": "n/a", "Order": "M-1"},
            }
        ],
    )


def orders_are_whole() -> bool:
    """Each purchase has become one order."""
    with duckdb.connect(str(WAREHOUSE), read_only=True) as connection:
        query = (
            "SELECT (SELECT count(*) FROM shop_events WHERE event_name = 'Charged'), (SELECT count(*) FROM shop_orders)"
        )
        purchases, orders = connection.execute(query).fetchall()[0]
    verdict = "equal" if purchases == orders else "DIFFERENT"
    print(f"  shop     purchases {purchases:>5,}   orders {orders:>8,}   {verdict}")
    return purchases == orders


def compare(simulator: Simulator) -> bool:
    """Every row that the simulator holds is in the table, once, and nothing else."""
    say("The simulator's ledger beside the file: every row by its identity.")
    equal = True
    with duckdb.connect(str(WAREHOUSE), read_only=True) as connection:
        for name, account in PROJECTS.items():
            last = simulator.clock.now().astimezone(ZoneInfo(account.timezone)).date()
            # The first day's "30 days and today", as CleverTap's own calendar counts them.
            first = last - timedelta(days=31)
            rows = [row for row in simulator.ledger(account.id, first, last) if row.event_name != BROKEN]
            served = {row.hevo_id for row in rows}
            table = [row for (row,) in connection.execute(f"SELECT __hevo_id FROM {name}_events").fetchall()]
            missing, extra, doubled = len(served - set(table)), len(set(table) - served), len(table) - len(set(table))
            verdict = "equal" if not (missing or extra or doubled) else "DIFFERENT"
            equal = equal and verdict == "equal"
            print(
                f"  {name:8} ledger {len(served):>8,}   table {len(table):>8,}   missing {missing}   "
                f"extra {extra}   doubled {doubled}   {verdict}"
            )
    return equal


def command(*words: str, behind_s: int = 0) -> None:
    """Runs `millrace …` as a user would, with the demo's home and passcodes; ends the demo when it fails."""
    print(f"\n$ millrace {' '.join(word if ' ' not in word else repr(word) for word in words)}", flush=True)
    env = os.environ | {
        "MILLRACE_HOME": str(FOLDER / ".millrace"),
        "MILLRACE_CLOCK_SHIFT_S": str(-behind_s),
        **{f"{name.upper()}_PASSCODE": account.passcode for name, account in PROJECTS.items()},
    }
    # A command starts in half the time when Python may keep what it has compiled.
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    ended = subprocess.run([sys.executable, "-m", "millrace", *words], env=env, check=False)
    if ended.returncode:
        sys.exit(f"that command failed with exit code {ended.returncode}")


def say(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n== {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
