"""Secrets are found nowhere: one of each kind is planted, used and looked for in everything that comes out (I7)."""

from __future__ import annotations

import base64
import html
import json
import os
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, quote_plus

import httpx
import pytest
import yaml
from tests.cli.asking import ask
from tests.control.identity import CLIENT_ID, provider
from tests.control.people import acting, cheap

from millrace.control import settings as workspace_settings
from millrace.control.alerting import alert_channels
from millrace.control.home import Home
from millrace.control.people import keys, second_factor, sessions, single_sign_on, users
from millrace.control.pipeline import drafts
from millrace.control.running import jobs
from millrace.control.secrecy import keyring, sealing
from millrace.simulators.clevertap import Account, Settings, Simulator

PROJECT = "TEST-654-321X"
NAMES = ("App Launched", "Charged")
# Signs that every encoding has another form for.
PASSCODE = 'Sentinel-1/passcode+"&%41x'
WRONG = 'Sentinel-2/wrong+"&%41x'
DATABASE = 'Sentinel-3/dätabase+"&%41x'
DRAFT = 'Sentinel-4/draft+"&%41x'
MAIL = 'Sentinel-5/mail+"&%41x'
PASSWORD = 'Sentinel-6/password+"&%41x'
CLIENT = 'Sentinel-7/client+"&%41x'
HOOK = 'Sentinel-9/hook+"&%41x'
SIGNING = 'Sentinel-10/signing+"&%41x'
ROUTING = 'Sentinel-11/routing+"&%41x'
OPSGENIE = 'Sentinel-12/opsgenie+"&%41x'
MAILING = 'Sentinel-13/mailing+"&%41x'
VARIABLE = 'Sentinel-8/variable+"&%41x'
SCRIPT = (
    "def transform(event):\n"
    "    p = event.getProperties()\n"
    "    if event.getEventName() == 'Charged':\n"
    "        raise ValueError(str(sorted(p)))\n"
    "    return event\n"
)


def forms(secret: str) -> set[bytes]:
    """All that a secret may look like in a file, a log, a request or a text."""
    raw = secret.encode()
    found = {
        raw,
        raw.hex().encode(),
        secret.encode("utf-16-le"),
        html.escape(secret).encode(),
        repr(secret).encode()[1:-1],
    }
    for encoded in (quote(secret), quote(secret, safe=""), quote_plus(secret), quote_plus(quote_plus(secret))):
        found |= {encoded.encode(), encoded.lower().encode()}
    for text in (secret, json.dumps(secret)[1:-1]):
        once = json.dumps(text)[1:-1]
        found |= {once.encode(), json.dumps(text, ensure_ascii=False)[1:-1].encode()}
    # In base64 of something longer, by the place where it begins; what touches its neighbours is left out.
    for shift in range(3):
        whole = base64.b64encode(b"\0" * shift + raw)
        steady = whole[4 if shift else 0 : len(whole) - 4]
        found |= {steady, steady.replace(b"+", b"-").replace(b"/", b"_")}
    return found


def leaks(secrets: dict[str, str], places: dict[str, bytes]) -> list[str]:
    """Which secret is in which place."""
    looked_for = [(name, form) for name, secret in secrets.items() for form in forms(secret)]
    return [f"{name} in {place}" for place, content in places.items() for name, form in looked_for if form in content]


@contextmanager
def watching(seen: dict[str, bytes]) -> Iterator[None]:
    """Arguments of all processes, and the environment of guests, as long as the block runs."""
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            for folder in Path("/proc").glob("[0-9]*"):
                try:
                    arguments = (folder / "cmdline").read_bytes()
                    if b"millrace" not in arguments and b"guest.py" not in arguments:
                        continue
                    seen[f"arguments {arguments[:200]!r}"] = arguments
                    if b"guest.py" in arguments:
                        seen[f"environment of the guest {folder.name}"] = (folder / "environ").read_bytes()
                except OSError:
                    continue
            time.sleep(0.1)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def run(home: Path, seen: dict[str, bytes], *words: str, env: dict[str, str]) -> None:
    """A command in a process of its own: all that it says, and what others see of it."""
    command = [sys.executable, "-m", "millrace", *words, "--home", str(home)]
    piped = subprocess.PIPE
    with subprocess.Popen(command, env=env, stdout=piped, stderr=piped) as process, watching(seen):
        out, err = process.communicate(timeout=120)
    seen[f"what {' '.join(words)} says"] = out + err


def channels(home: Home, url: str) -> None:
    """One channel of each kind, at a server that knows none of them."""
    there = quote(HOOK, safe="")
    alert_channels.add(home, "hook", "webhook", {"url": f"{url}/{there}?t={there}", "secret": SIGNING})
    alert_channels.add(home, "chat", "slack", {"url": f"{url}/{there}"})
    alert_channels.add(home, "pager", "pagerduty", {"routing_key": ROUTING, "url": url})
    alert_channels.add(home, "genie", "opsgenie", {"api_key": OPSGENIE, "url": url})
    mail = {"host": "127.0.0.1", "port": 9, "sender": "m@example.com", "to": ["o@example.com"]}
    alert_channels.add(home, "mail", "email", mail | {"username": "m", "password": MAILING})


def unpacked(file: Path) -> dict[str, bytes]:
    """What is in a zip."""
    with zipfile.ZipFile(file) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def ask_everything(url: str, pair: tuple[str, str], seen: dict[str, bytes]) -> int:
    """Every look of the APIs, at things that are there; how many answered with something."""
    there = {
        "pipeline": "events",
        "name": "project",
        "source": "project",
        "destination": "warehouse",
        "type": "clevertap",
        "email": "ada@example.com",
        "stream": "Events",
        "object": "Events",
        "event_type": "App Launched",
    }
    answered = 0
    with httpx.Client(base_url=url, auth=pair, timeout=60, trust_env=False) as client:
        document = client.get("/api/openapi.json")
        seen["the description of the APIs"] = document.content
        for path, methods in document.json()["paths"].items():
            if "get" not in methods or path.endswith("/events"):
                continue
            filled = path
            for name in [part[1:-1] for part in path.split("/") if part.startswith("{")]:
                filled = filled.replace(f"{{{name}}}", quote(there.get(name, "1"), safe=""))
            answer = client.get(filled)
            answered += answer.status_code == 200
            seen[f"GET {filled}"] = answer.content + str(answer.headers).encode()
        for path in ("/api/millrace/v1/sources", "/api/public/v2.0/pipelines"):
            answer = client.post(path, json={"name": "x", "type": "clevertap", "config": {"passcode": [WRONG]}})
            seen[f"POST {path}"] = answer.content
        answer = client.post("/api/millrace/v1/sources", content=b'{"config": {"passcode": "' + quote(WRONG).encode())
        seen["POST of half a document"] = answer.content
    return answered


def test_every_encoding_of_a_planted_secret_would_be_found() -> None:
    plants = [
        PASSCODE.encode(),
        f"https://x/?p={quote(PASSCODE, safe='')}".encode(),
        json.dumps({"a": json.dumps({"b": PASSCODE})}).encode(),
        base64.b64encode(f"user:{PASSCODE}".encode()),
        base64.b64encode(f"users:{PASSCODE}!".encode()),
        base64.urlsafe_b64encode(f"{PASSCODE}??".encode()),
        PASSCODE.encode().hex().encode(),
        str({"p": PASSCODE}).encode(),
    ]
    for plant in plants:
        assert leaks({"it": PASSCODE}, {"there": b"..." + plant + b"..."}), plant
    assert leaks({"it": DATABASE}, {"there": json.dumps(DATABASE).encode()})
    assert not leaks({"it": PASSCODE}, {"there": b"another"})


@pytest.mark.timeout(300)
def test_no_secret_comes_out_anywhere(tmp_path: Path) -> None:
    seen: dict[str, bytes] = {}
    folder, key = tmp_path / "home", keyring.new_key()
    env = {name: value for name, value in os.environ.items() if not name.startswith("MILLRACE_")}
    env |= {"MILLRACE_KEY": key, "PASSCODE": PASSCODE, "WRONG": WRONG, "DATABASE": DATABASE, "UNRELATED": VARIABLE}
    now = datetime.now(UTC).replace(microsecond=0)
    account = Account(id=PROJECT, passcode=PASSCODE, users=8, days=3, events=NAMES)
    quick = {"latency_ms": {"open": (0, 1), "page": (0, 1)}}
    with Simulator(Settings.plain(account, now=now, **quick), port=0) as simulator, provider() as idp:
        (tmp_path / "events.csv").write_text("Event name\n" + "".join(f"{name}\n" for name in NAMES))
        (tmp_path / "script.py").write_text(SCRIPT)
        clevertap = {
            "project_id": PROJECT,
            "events_file": "./events.csv",
            "base_url": simulator.base_url,
            "historical_days": 3,
        }
        document = {
            "settings": {"allow_private_addresses": True},
            "sources": {
                "project": {"type": "clevertap", "config": clevertap | {"passcode": "${PASSCODE}"}},
                "wrong": {"type": "clevertap", "config": clevertap | {"passcode": "${WRONG}"}},
            },
            "destinations": {
                "warehouse": {"type": "duckdb", "config": {"path": "./warehouse.duckdb"}},
                "closed": {
                    "type": "postgres",
                    "config": {"db_host": "127.0.0.1", "db_port": 9, "db_name": "x", "db_user": "x",
                               "db_password": "${DATABASE}"},
                },
            },
            "pipelines": {
                "events": {"source": "project", "destination": "warehouse",
                           "transformation": {"python": "./script.py"}},
                "failing": {"source": "wrong", "destination": "warehouse"},
            },
        }  # fmt: skip
        (tmp_path / "pipelines.yaml").write_text(yaml.safe_dump(document))
        run(folder, seen, "apply", str(tmp_path / "pipelines.yaml"), env=env)
        assert b"created" in seen[f"what apply {tmp_path / 'pipelines.yaml'} says"]
        with Home.open(folder, env=env) as home:
            cheap(home)
            users.create(home, "ada@example.com", ["TEAM_ADMIN"], password=PASSWORD)
            session = sessions.sign_in(home, "ada@example.com", PASSWORD)
            seed = second_factor.begin(home, session.token).seed
            pair = keys.create(home, "ada@example.com")
            ada = acting(home, "ada@example.com")
            drafts.save(home, name="d", source_type="clevertap", config={"passcode": DRAFT})
            sealing.put(home, "mail", {"password": MAIL})
            single_sign_on.change(ada, issuer=idp.issuer, client_id=CLIENT_ID, client_secret=CLIENT)
            channels(home, simulator.base_url)
            assert workspace_settings.workspace(home.database).allow_private_addresses
        secrets = {
            "the passcode": PASSCODE, "a wrong passcode": WRONG, "the password of a database": DATABASE,
            "the secret of a draft": DRAFT, "the password of the mail": MAIL, "a password": PASSWORD,
            "the secret of a client": CLIENT, "a variable": VARIABLE, "the key": key, "a seed": seed,
            "the secret of an API key": pair.secret, "a session": session.token, "the URL of a hook": HOOK,
            "what signs": SIGNING, "a routing key": ROUTING, "a key of Opsgenie": OPSGENIE, "a mail password": MAILING,
        }  # fmt: skip
        run(folder, seen, "run", "events", "--debug", env=env)
        run(folder, seen, "run", "failing", "--debug", env=env)
        for words in (
            ("check",),
            ("check", "wrong", "--json"),
            ("sources", "show", "project", "--json"),
            ("export",),
            ("rejects", "show", "--json"),
            ("runs", "1", "--json"),
            ("status", "--json"),
            ("activity", "--json"),
            ("sso", "show", "--json"),
        ):
            asked = ask(*words, home=folder, env={"MILLRACE_KEY": key})
            seen[f"what {' '.join(words)} says"] = (asked.out + asked.err).encode()
        assert b"run 1: completed" in seen["what run events --debug says"]
        assert b"passcode" in seen["what run failing --debug says"]
        assert b"127.0.0.1:9" in seen["what check says"]
        assert b'"fail"' in seen["what check wrong --json says"]
        assert any("environment of the guest" in place for place in seen)
        log = tmp_path / "server.log"
        command = [sys.executable, "-m", "millrace", "serve", "--port", "0", "--workers", "1", "--home", str(folder)]
        with log.open("wb") as out, subprocess.Popen(command, env=env, stdout=out, stderr=out) as server:
            try:
                with watching(seen):
                    url = _url(log)
                    with httpx.Client(
                        base_url=url, auth=(pair.key, pair.secret), timeout=60, trust_env=False
                    ) as client:
                        for name in ("events", "failing"):
                            answer = client.post(f"/api/millrace/v1/pipelines/{name}/run", json={})
                            seen[f"run of {name}"] = answer.content
                        _both_ended(home=folder, env=env)
                        answered = ask_everything(url, (pair.key, pair.secret), seen)
            finally:
                server.terminate()
                server.wait(60)
        seen["the log of the server"] = log.read_bytes()
        leaky = tmp_path / "leaky.log"
        leaky.write_text(f"somebody logged {PASSCODE} and {json.dumps(SIGNING)} and {quote(HOOK, safe='')}\n")
        made = ["diagnose", tmp_path / "trouble.zip", "--log", log, "--log", leaky]
        diagnosed = ask(*made, home=folder, env={"MILLRACE_KEY": key})
        assert diagnosed.code == 0, diagnosed.err
        parts = unpacked(tmp_path / "trouble.zip")
        assert b"somebody logged *** and" in parts["logs/2-leaky.log"]
        seen |= {f"{name} of the diagnosis": content for name, content in parts.items()}
        assert answered > 30
    for file in folder.rglob("*"):
        if file.is_file():
            seen[f"the file {file.relative_to(folder)}"] = file.read_bytes()
    assert {"the file millrace.db"} <= seen.keys()
    assert any("stage" in place for place in seen)
    assert leaks(secrets, seen) == []
    assert ask("status", home=folder, env={"MILLRACE_KEY": key}).code == 0


def _both_ended(home: Path, env: dict[str, str]) -> None:
    """The jobs that were asked for are done, one of them without success."""
    deadline = time.monotonic() + 60
    with Home.open(home, env=env) as opened:
        while time.monotonic() < deadline:
            found = [job.run.status for job in jobs.page(opened, limit=2).items]
            if not {"QUEUED", "IN_PROGRESS"} & set(found):
                assert "FAILED" in found
                return
            time.sleep(0.1)
    raise AssertionError("they do not end")


def _url(log: Path) -> str:
    """Where the server says that it listens."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for word in log.read_text().split():
            if word.startswith("http://127.0.0.1"):
                return word
        time.sleep(0.1)
    raise AssertionError(log.read_text())
