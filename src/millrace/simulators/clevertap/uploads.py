"""The upload API: events and profiles that other programs send in."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from millrace.simulators.clevertap.catalog import BY_NAME
from millrace.simulators.clevertap.jsontext import JSON, dumps
from millrace.simulators.clevertap.store import Project
from millrace.simulators.clevertap.world import JSON_TYPE, Call, failure
from millrace.simulators.server import Response

MOST_RECORDS = 1000
MOST_PROPERTIES = 256
WHO = ("identity", "objectId", "FBID", "GPID")
FIELDS = {"Name": "name", "Email": "email", "Phone": "phone"}

# Field of profileData, its code and text when wrong, and what is right.
PROFILE_RULES: tuple[tuple[str, int, str, Callable[[JSON], bool]], ...] = (
    ("Gender", 514, "Gender invalid", lambda v: v in ("M", "F")),
    ("Email", 515, "Email invalid", lambda v: isinstance(v, str) and "@" in v[1:-1]),
    ("Phone", 516, "Phone invalid", lambda v: str(v).removeprefix("+").isdigit()),
    ("Employed", 517, "Employment status invalid", lambda v: v in ("Y", "N")),
    ("Education", 518, "Education invalid", lambda v: v in ("School", "College", "Graduate")),
    ("Married", 519, "Marital status invalid", lambda v: v in ("Y", "N")),
    ("Age", 520, "Age invalid", lambda v: isinstance(v, int) and not isinstance(v, bool) and 0 <= v <= 150),
)


def upload(call: Call) -> Response:
    """`/1/upload`: each record is taken or comes back with its code; `dryRun=1` only looks."""
    try:
        # Not orjson: integers beyond 64 bits must come in whole.
        records = json.loads(call.request.body)["d"]
    except (ValueError, TypeError, KeyError):
        return failure(400, 'Malformed request: {"d": [...]} is needed', 400)
    if not isinstance(records, list) or not 1 <= len(records) <= MOST_RECORDS:
        return failure(400, f"d must be a list of 1 to {MOST_RECORDS} records", 400)
    project = call.project
    assert project is not None
    dry = call.params.get("dryRun") in ("1", "true")
    refused: list[JSON] = []
    for record in records:
        wrong = _fault(call, project, record)
        if wrong is not None:
            refused.append({"status": "fail", "code": wrong[0], "error": wrong[1], "record": record})
        elif not dry:
            _take(call, project, record)
    taken = len(records) - len(refused)
    status = "success" if not refused else "partial" if taken else "fail"
    call.records = taken
    return Response(200, dumps({"status": status, "processed": taken, "unprocessed": refused}), JSON_TYPE)


def _fault(call: Call, project: Project, record: JSON) -> tuple[int, str] | None:
    """Code and text of what is wrong with an uploaded record."""
    if not isinstance(record, dict) or record.get("type") not in ("event", "profile"):
        return 524, "Neither event nor profile"
    who = [record[name] for name in WHO if record.get(name)]
    if not who:
        return 523, "Missing identity"
    object_id = record.get("objectId")
    if object_id is not None and (not isinstance(object_id, str) or not 1 <= len(object_id) <= 64):
        return 526, "ObjectId invalid"
    if not _is_epoch(record.get("ts", call.now_s)):
        return 525, "Timestamp not epoch"
    return _event_fault(call, project, record) if record["type"] == "event" else _profile_fault(record)


def _event_fault(call: Call, project: Project, record: Mapping[str, JSON]) -> tuple[int, str] | None:
    name, data = record.get("evtName"), record.get("evtData", {})
    if not isinstance(name, str) or not name:
        return 509, "Event name is mandatory"
    if not isinstance(data, dict):
        return 512, "Invalid event structure"
    if name != "Charged" and name in BY_NAME and BY_NAME[name].system:
        return 513, "Restricted system event"
    if len(data) > MOST_PROPERTIES:
        return 522, "Too many properties"
    if project.status(name, call.now_s) == "discarded":
        return 528, "Discarded event"
    return None


def _profile_fault(record: Mapping[str, JSON]) -> tuple[int, str] | None:
    data = record.get("profileData")
    if not isinstance(data, dict):
        return 512, "Invalid profile structure"
    if len(data) > MOST_PROPERTIES:
        return 522, "Too many properties"
    for field, code, text, right in PROFILE_RULES:
        if field in data and not right(data[field]):
            return code, text
    return None


def _is_epoch(ts: JSON) -> bool:
    """Seconds since 1970, and not milliseconds: up to the year 5138."""
    return isinstance(ts, int) and not isinstance(ts, bool) and 0 < ts < 100_000_000_000


def _take(call: Call, project: Project, record: Mapping[str, JSON]) -> None:
    who = str(next(record[name] for name in WHO if record.get(name)))
    object_id = record.get("objectId") or project.object_id_for_identity(who)
    if "identity" in record and project.device_of_identity(who) is None:
        project.set_profile(object_id, {"identity": who, "all_identities": [who]}, merge=True)
    if record["type"] == "profile":
        data = record["profileData"]
        fields: dict[str, JSON] = {FIELDS[name]: data[name] for name in FIELDS if name in data}
        if "phone" in fields:
            fields["phone"] = int(str(fields["phone"]).removeprefix("+"))
        custom = {name: value for name, value in data.items() if name not in FIELDS}
        project.set_profile(object_id, fields | {"profileData": custom}, merge=True)
        return
    at = record.get("ts", call.now_s)
    project.add_event(
        record["evtName"],
        object_id,
        at=at,
        visible_at=call.now_s,
        event_props=record.get("evtData", {}),
        now_s=call.now_s,
    )
