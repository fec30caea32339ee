"""The home that pictures show: simulated data that were really read, in pipelines of every kind of health."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
from tests.control.people import cheap
from tests.control.receivers import Mailbox, Receiver, http_server, mail_server
from tests.ports import free_port
from tests.postgres import Database, Server, binaries

from millrace.control import settings
from millrace.control.alerting import alert_channels, alerts
from millrace.control.alerting.alert_wanted import Quiet, Wanted
from millrace.control.connecting import connections
from millrace.control.home import Home
from millrace.control.people import keys, users
from millrace.control.pipeline import drafts, lifecycle, pipelines, simulation
from millrace.control.pipeline.pipelines import Wish
from millrace.control.running import jobs
from millrace.control.transforming import transformations
from millrace.data.batch import JSON

PATIENCE_S = 300.0
# The stand-in makes up three events a second; in so long some of them cannot pass the script.
NEW_EVENTS_S = 6.0
DAYS = 7
WITH_BLOCKS = "Carts and searches"
FROM_DATABASE = "Customers"
FROM_FILES = "Price lists"
# Its number is that of the pipeline that would come next.
DRAFT = 7

FIRST_SCRIPT = """\
def transform(event):
    properties = event.getProperties()
    if properties.get("identity"):
        properties["identity"] = properties["identity"].lower()
    return event
"""
# It takes identities like cust-80098 for numbers, as happens.
SCRIPT = """\
def transform(event):
    properties = event.getProperties()
    if properties.get("identity"):
        properties["customer"] = int(properties["identity"])
    return event
"""
CHAIN = {
    "blocks": [
        {
            "id": "no-installs",
            "type": "DROP_EVENTS",
            "event_filters": [{"on": "EVENT_FIELD", "field": "event_name", "op": "EQUALS", "value": "App Installed"}],
        },
        {
            "id": "which",
            "type": "IF_ELSE",
            "condition": [{"on": "EVENT_FIELD", "field": "event_name", "op": "EQUALS", "value": "Search"}],
            "true": [
                {"id": "kind", "type": "ADD_FIELD", "settings": {"name": "funnel_step", "value": '"search"'}},
            ],
            "false": [
                {"id": "upper", "type": "ADD_FIELD", "settings": {"name": "funnel_step", "value": "UPPER(event_name)"}},
            ],
        },
    ]
}


def prepare(path: Path) -> None:
    """A new home whose simulated shop is small: pictures need few customers, and machines are busy."""
    with Home.open(path, create=True, env={}) as home:
        cheap(home)
    account = {"id": "SIM-EU1-0001", "passcode": "invented-4711", "users": 80, "days": DAYS}
    (path / "simulation.yaml").write_text(json.dumps({"accounts": [account], "control": False}), encoding="utf-8")
    plan = {"port": free_port(), "settings": "simulation.yaml", "account": account}
    (path / simulation.FILE).write_text(json.dumps(plan), encoding="utf-8")


@dataclass(frozen=True)
class Around:
    """What the home speaks to: a database with the customers of the shop, and where its alerts go."""

    database: Database
    hook: Receiver
    box: Mailbox


@contextmanager
def around() -> Generator[Around]:
    """A real PostgreSQL, and real receivers of this machine; the first message to each of these is not taken."""
    server = Server(binaries())
    try:
        found = server.start()
        found.run(
            "CREATE TABLE customers (id int PRIMARY KEY, name text, city text, orders int)",
            "INSERT INTO customers SELECT g, 'Customer ' || g,"
            " (ARRAY['Lagos', 'Lima', 'Leeds'])[1 + g % 3], g % 7 FROM generate_series(1, 2400) g",
        )
        with http_server() as hook, mail_server() as box:
            hook.answers += [404]
            box.answers += ["451 Come again later"]
            yield Around(found, hook, box)
    finally:
        server.stop()


def fill(path: Path, email: str, around: Around) -> None:
    """The shop has run twice, the second time with a script that some events cannot pass; others stand beside it."""
    with Home.open(path, env={}) as home:
        until_idle(home)
        transformations.deploy(home, simulation.PIPELINE, "python", FIRST_SCRIPT, reason="Names in lower case")
        transformations.deploy(home, simulation.PIPELINE, "python", SCRIPT, reason="Customers by number")
        _beside(home, around)
        time.sleep(NEW_EVENTS_S)
        jobs.start(home, simulation.PIPELINE)
        jobs.start(home, WITH_BLOCKS)
        until_idle(home)
        until_told(home)
        lifecycle.pause(home, WITH_BLOCKS)
        _meddle(home)
        users.create(home, "grace@example.com", ("OBSERVER",), name="Grace")
        users.create(home, "edsger@example.com", ("PIPELINE_ADMIN",), name="Edsger")
        keys.create(home, email, name="Airflow")


def _beside(home: Home, around: Around) -> None:
    """A pipeline from a database, one that cannot reach its source, one that is paused, one that has not run yet."""
    nowhere = {
        "db_host": "orders.invalid",
        "db_port": 5432,
        "db_name": "shop",
        "db_user": "reader",
        "db_password": "invented",
    }
    connections.create(home, "source", "Orders database", "postgres", nowhere)
    connections.create(home, "destination", "BI", "duckdb", {"path": str(_bi(home))})
    # Who looks at the screens may compare what this machine holds, and alerts go to it.
    settings.change(home, allow_private_addresses=True)
    _told(home, around)
    here = around.database.settings(ingestion_mode="table")
    connections.create(home, "source", "Customers database", "postgres", here)
    pipelines.create(home, Wish(FROM_DATABASE, "Customers database", "BI", schedule={"every_s": 3600}))
    jobs.start(home, FROM_DATABASE)
    pipelines.create(home, Wish("Orders", "Orders database", "BI", schedule={"every_s": 3600}))
    jobs.start(home, "Orders")
    connections.create(home, "source", "Folder of price lists", "files", {"url": str(_price_lists(home))})
    pipelines.create(home, Wish(FROM_FILES, "Folder of price lists", "BI", schedule={"every_s": 3600}))
    jobs.start(home, FROM_FILES)
    connections.create(home, "source", "Clicks of the shop", "webhook", {})
    pipelines.create(home, Wish("Clicks", "Clicks of the shop", "BI"))
    lifecycle.clone(home, simulation.PIPELINE, new_name=WITH_BLOCKS, table_prefix="funnel_")
    transformations.deploy(home, WITH_BLOCKS, "blocks", json.dumps(CHAIN))
    lifecycle.resume(home, WITH_BLOCKS)
    account = json.loads((home.path / simulation.FILE).read_text(encoding="utf-8"))["account"]
    found = connections.find(home, "source", simulation.SOURCE)
    config = {**found.config, "passcode": account["passcode"]}
    chosen: dict[str, JSON] = {"step": "objects", "destination": "BI"}
    draft = drafts.save(home, name="Shop → BI", source_type=found.type, config=config, chosen=chosen)
    assert draft.number == DRAFT


def _told(home: Home, around: Around) -> None:
    """Alerts go to those who are on call, and to everybody by mail."""
    alert_channels.add(home, "On call", "webhook", {"url": f"{around.hook.url}/alerts"})
    mail = {"host": "127.0.0.1", "port": around.box.port, "security": "none", "sender": "millrace@example.com"}
    alert_channels.add(home, "Data team", "email", mail | {"to": ["data@example.com"]})


def _bi(home: Home) -> Path:
    return home.path / "files" / "bi.duckdb"


def _price_lists(home: Home) -> Path:
    """A folder of files, of which one was cut off on its way."""
    folder = home.path / "files" / "price-lists"
    (folder / "prices").mkdir(parents=True)
    for month in range(1, 10):
        lines = [f"{item},{item * month}.50" for item in range(1, 40 * month)]
        (folder / "prices" / f"2026-{month:02}.csv").write_text("\n".join(["id,price", *lines]), encoding="utf-8")
    whole = gzip.compress((folder / "prices" / "2026-09.csv").read_bytes())
    (folder / "prices" / "2026-10.csv.gz").write_bytes(whole[: len(whole) // 2])
    return folder


def _meddle(home: Home) -> None:
    """Somebody changed rows at the destination, which a comparison of values finds."""
    with duckdb.connect(str(_bi(home))) as connection:
        connection.execute("UPDATE customers SET city = 'Paris' WHERE id IN (7, 8)")
        connection.execute("DELETE FROM customers WHERE id BETWEEN 520 AND 523")


def until_told(home: Home) -> None:
    """Each message was sent at least once; from now on it is quiet at night, when pictures may be taken too."""
    until = time.monotonic() + PATIENCE_S
    while not (sent := alerts.deliveries(home).items) or any(one.attempts == 0 for one in sent):
        if time.monotonic() > until:
            raise TimeoutError("nobody is told of the pipelines that fail")
        time.sleep(0.5)
    categories = ("pipeline", "destination", "failed_events")
    wanted = Wanted(categories, "WARNING", Quiet("22:00", "07:00", "Europe/Berlin"))
    alert_channels.change(home, "Data team", wanted=wanted)


def until_idle(home: Home) -> None:
    """No job waits or works. Raises TimeoutError when that does not come to be."""
    until = time.monotonic() + PATIENCE_S
    while any(one.run.status in ("QUEUED", "IN_PROGRESS") for one in jobs.page(home).items):
        if time.monotonic() > until:
            raise TimeoutError("the jobs of the pictures do not come to an end")
        time.sleep(0.5)
