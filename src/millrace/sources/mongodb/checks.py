"""The test of a connection: the deployment lets the user in, it can be followed, and there is something to read."""

from __future__ import annotations

from typing import Any

from millrace.connect.source import Context, Verdict
from millrace.errors import MillraceError
from millrace.sources.mongodb.catalog import objects
from millrace.sources.mongodb.client import Server
from millrace.sources.mongodb.config import Config
from millrace.sources.mongodb.errors import STREAMS_HINT
from millrace.sources.mongodb.log import Log

_MEMBERS = {"isdbgrid": "a router of a sharded cluster"}


def verdicts(config: Config, context: Context) -> list[Verdict]:
    """Findings in order: connection, version, log, objects. A "fail" is the last."""
    server = Server(config, context)
    found: list[Verdict] = []
    step = "connection"
    try:
        said = server.hello()
        found.append(Verdict(step, "pass", f"{config.where} answers"))
        step = "version"
        found.append(_version(server, said))
        if config.ingestion_mode == "log":
            step = "log"
            found.append(_log(server, context, said))
            if found[-1].state == "fail":
                return found
        step = "objects"
        found.append(_objects(server))
    except MillraceError as error:
        return [*found, Verdict(step, "fail", error.message, error.hint)]
    finally:
        server.close()
    return found


def _version(server: Server, said: dict[str, Any]) -> Verdict:
    with server.asked() as client:
        version = client.admin.command("buildInfo", read_preference=client.read_preference)["version"]
    member = _MEMBERS.get(str(said.get("msg"))) or (
        f"a member of the replica set {said['setName']}" if "setName" in said else "alone"
    )
    return Verdict("version", "pass", f"MongoDB {version}, {member}")


def _log(server: Server, context: Context, said: dict[str, Any]) -> Verdict:
    if "setName" not in said and said.get("msg") != "isdbgrid":
        return Verdict("log", "fail", "the server is no member of a replica set", STREAMS_HINT)
    log = Log(server, context)
    for scope in log.scopes:
        with server.asked():
            log.opened(scope, ()).close()
    return Verdict("log", "pass", "change streams can be read")


def _objects(server: Server) -> Verdict:
    found = objects(server)
    if server.config.ingestion_mode == "log":
        found = {name: one for name, one in found.items() if not one.view}
    if not found:
        among = f" in {', '.join(server.config.db_names)}" if server.config.db_names else ""
        return Verdict(
            "objects",
            "fail",
            f"there is no collection{among} that the user may read",
            "Check db_names, and grant the user the role read on these databases.",
        )
    return Verdict("objects", "pass", f"{len(found)} collections")
