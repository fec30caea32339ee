"""The other ways out of a project: export files as they land in a bucket, and webhook calls."""

from __future__ import annotations

import gzip
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Literal

import orjson

from millrace.simulators.clevertap.chance import key
from millrace.simulators.clevertap.jsontext import JSON, dumps
from millrace.simulators.clevertap.store import Flags, Project

RECORDS_PER_FILE = 1_000_000
WHO = ("identity", "objectId", "all_identities", "platform", "phone", "name", "email", "push_token")
WEBHOOK_TIMEOUT_S, WEBHOOK_TRIES = 5, 3


def write(
    project: Project,
    folder: Path,
    *,
    days: Iterable[int],
    now_s: int,
    events: list[str] | None = None,
    kind: Literal["events", "profiles"] = "events",
) -> list[Path]:
    """The export's files are in ``folder``, named and shaped as CleverTap's legacy JSON export; their paths.

    Events: one event, day and database (shard) a file, the event name on the first line. All events are there,
    those too that the events API refuses. Profiles: one gzip file a database.
    """
    folder.mkdir(parents=True, exist_ok=True)
    request = 1_000_000 + key(project.account.id, now_s) % 9_000_000
    if kind == "profiles":
        return _write_profiles(project, folder, request, now_s)
    written: list[Path] = []
    seen = project.snapshot(now_s)
    for day in days:
        for shard in range(project.shards):
            for name in project.names(shard, day):
                if events is not None and name not in events:
                    continue
                lines = (
                    _event_line(project, name, rows.device[i], rows.tail[i], now_s)
                    for _, _, rows, i in project.rows((day,), seen, event=name, shards=(shard,))
                )
                stem = f"{request}-{now_s}-{_safe(name)}-{date.fromordinal(day).strftime('%Y%m%d')}"
                written += _write_chunks(folder, stem, shard, name, lines)
    return written


def webhook_payload(
    project: Project, *, count: int, single: bool, key_values: Mapping[str, JSON], now_s: int
) -> dict[str, JSON]:
    """What a webhook campaign sends: a list of profiles, or with ``single`` one profile as an object."""
    everyone = len(project.people)
    people = [_webhook_profile(project, device, now_s) for device in range(min(count, everyone))]
    profiles: JSON = people
    if single and people:
        profiles = people[0]
    return {"targetId": 1773470001, "key_values": dict(key_values), "profiles": profiles}


def fire(url: str, payload: Mapping[str, JSON]) -> dict[str, JSON]:
    """The payload was sent to ``url``, with two more tries after a failure; what each try met."""
    met: list[JSON] = []
    for _ in range(WEBHOOK_TRIES):
        content = {"Content-Type": "application/json"}
        request = urllib.request.Request(url, dumps(payload), content, method="POST")  # noqa: S310  checked above
        try:
            with urllib.request.urlopen(request, timeout=WEBHOOK_TIMEOUT_S) as answer:  # noqa: S310 - scheme was checked
                met.append(answer.status)
                return {"delivered": True, "tries": met}
        except urllib.error.HTTPError as exc:
            met.append(exc.code)
            exc.close()
        except OSError as exc:
            met.append(type(exc).__name__)
        time.sleep(0.05)
    return {"delivered": False, "tries": met}


def _write_chunks(folder: Path, stem: str, shard: int, name: str, lines: Iterable[bytes]) -> list[Path]:
    written: list[Path] = []
    chunk: list[bytes] = []
    for line in lines:
        chunk.append(line)
        if len(chunk) == RECORDS_PER_FILE:
            written.append(_write_file(folder / f"{stem}-{len(written)}-{shard}.json", name, chunk))
            chunk = []
    if chunk:
        written.append(_write_file(folder / f"{stem}-{len(written)}-{shard}.json", name, chunk))
    return written


def _write_file(path: Path, name: str, lines: list[bytes]) -> Path:
    path.write_bytes(name.encode() + b"\n" + b"\n".join(lines) + b"\n")
    return path


def _write_profiles(project: Project, folder: Path, request: int, now_s: int) -> list[Path]:
    written: list[Path] = []
    for shard, devices in enumerate(project.people.by_shard):
        path = folder / f"{project.account.id}-{request}-{now_s}-{shard}.json.gz"
        lines = [dumps(project.person_record(device, now_s, Flags(events=False))) for device in devices]
        path.write_bytes(gzip.compress(b"\n".join(lines) + b"\n", 1, mtime=0))
        written.append(path)
    return written


def _event_line(project: Project, name: str, device: int, tail: bytes, now_s: int) -> bytes:
    record = orjson.loads(b'{"":0' + tail)
    profile = project.profile(device, now_s, Flags())
    props = record["event_props"]
    line: dict[str, JSON] = {
        "profile": {field: profile[field] for field in WHO if field in profile},
        "ts": record["ts"],
        "eventName": name,
        "deviceInfo": {
            "make": profile.get("make", ""),
            "model": profile.get("model", ""),
            "appVersion": profile.get("app_version", ""),
            "osVersion": profile.get("os_version", ""),
        },
        # Exports write the system's own properties in another spelling than the events API does.
        "eventProps": {k.lower().replace(" ", "_") if k.startswith("CT ") else k: v for k, v in props.items()},
    }
    if name == "UTM Visited":
        line["sessionProps"] = record.get("session_props", {})
    return dumps(line)


def _webhook_profile(project: Project, device: int, now_s: int) -> dict[str, JSON]:
    profile = project.profile(device, now_s, Flags(events=False))
    found = {
        k: profile[k] for k in ("email", "identity", "all_identities", "objectId", "name", "push_token") if k in profile
    }
    if "phone" in profile:
        found["phone"] = f"+{profile['phone']}"
    system = {"timezone": project.account.timezone, "age": "30 years", "emailSubscription": "Subscribed"}
    return found | {
        "systemProfileData": system,
        "profileData": profile.get("profileData", {}),
        "event_properties": {"Amount": 1299.5, "date": f"$D_{now_s}"},
        "session_props": {},
    }


def _safe(name: str) -> str:
    return re.sub(r"[\x01-\x1f\x7f]", "?", re.sub(r"[\s/\x00]", "-", name))
