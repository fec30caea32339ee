"""One person's profile by any of its names, and the partners' credential check."""

from __future__ import annotations

from millrace.simulators.clevertap.jsontext import dumps
from millrace.simulators.clevertap.store import Flags
from millrace.simulators.clevertap.world import JSON_TYPE, Call, answer, failure
from millrace.simulators.server import Response


def profile(call: Call) -> Response:
    """`/1/profile.json` by identity, email or objectId; 404 when nobody has it."""
    given = {name: call.params[name] for name in ("identity", "email", "objectId") if call.params.get(name)}
    if len(given) != 1:
        return failure(400, "exactly one of identity, email, objectId is needed", 400)
    project = call.project
    (name, value), device = *given.items(), None
    if project is not None:
        if name == "identity":
            device = project.device_of_identity(value)
        elif name == "email":
            device = project.device_of_email(value)
        else:
            device = project.find(value)
    if project is None or device is None:
        return failure(404, "Profile not found", 404)
    record = project.person_record(device, call.now_s, Flags())
    return Response(200, b'{"status":"success","record":%b}' % dumps(record), JSON_TYPE)


def connect(call: Call) -> Response:
    """`/v1/connect`: these credentials are good."""
    return answer({"status": "success", "partner": call.params.get("partner", "")})
