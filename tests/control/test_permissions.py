"""Every operation of `control` asks for its permission before it does anything: each role by each operation."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.control.conftest import Desk
from tests.control.operations import ASKS, INSIDE, OWN
from tests.control.people import PASSWORD, cheap

import millrace.control
from millrace.control.books import records
from millrace.control.connecting import connections
from millrace.control.failed import rejects
from millrace.control.home import Home
from millrace.control.observing import status
from millrace.control.people import roles, teams
from millrace.control.people.actors import EVERYTHING, OPERATOR, Actor
from millrace.control.people.roles import ROLES
from millrace.control.pipeline import lifecycle, pipelines, positions, simulation
from millrace.errors import ConfigError, Forbidden

NOBODY = Actor("user", "nobody@example.com")
# Modules of `control` by the last part of their names. Faces ask for what is made of them, nobody for migrations.
MODULES = {
    found.name.rpartition(".")[2]: found.name
    for found in pkgutil.walk_packages(millrace.control.__path__, "millrace.control.")
    if not found.ispkg and not {"migrations", "operations"} & set(found.name.split("."))
}


def operations() -> Iterator[str]:
    """Every public function of `control` whose first argument is a home."""
    for noun, path in sorted(MODULES.items()):
        module = importlib.import_module(path)
        for name, value in vars(module).items():
            if name.startswith("_") or not inspect.isfunction(value) or value.__module__ != module.__name__:
                continue
            first = next(iter(inspect.signature(value).parameters.values()), None)
            if first is not None and first.annotation in ("Home", Home):
                yield f"{noun}.{name}"


def function(operation: str) -> Callable[..., Any]:
    module, name = operation.split(".")
    return getattr(importlib.import_module(MODULES[module]), name)


def call(operation: str, home: Home, kind: str = "source") -> None:
    """The operation with arguments that mean nothing: whoever may gets some other error, or nothing at all."""
    called = function(operation)
    given: dict[str, Any] = {}
    for name, parameter in list(inspect.signature(called).parameters.items())[1:]:
        if parameter.default is inspect.Parameter.empty and parameter.kind is not inspect.Parameter.VAR_KEYWORD:
            given[name] = {"kind": kind, "what": "skip", "format": "csv"}.get(name, "x")
    answer = called(home, **given)
    if inspect.isgenerator(answer):
        next(answer, None)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server keeps a simulator here."""
    monkeypatch.setattr(simulation, "PATIENCE_S", 0.0)


def test_every_operation_is_in_the_table() -> None:
    known = {*ASKS, *OWN, *INSIDE}
    found = set(operations())
    assert found - known == set(), "say what it asks for in tests/control/operations.py"
    assert known - found == set(), "it is gone"
    assert len(known) == len(ASKS) + len(OWN) + len(INSIDE)


CASES = [
    (operation, kind, permission.replace("<kind>", "pipeline" if kind == "source" else kind))
    for operation, permission in sorted(ASKS.items())
    for kind in (("source", "destination") if "<kind>" in permission else ("source",))
]


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with Home.open(tmp_path_factory.mktemp("matrix") / "home", create=True, env={}) as home:
        yield home


@pytest.mark.parametrize(("operation", "kind", "permission"), CASES, ids=lambda part: str(part))
def test_an_operation_is_open_to_exactly_the_roles_that_have_its_permission(
    quiet: Home, operation: str, kind: str, permission: str
) -> None:
    assert permission in EVERYTHING
    for role in ROLES:
        actor = replace(NOBODY, permissions=roles.PERMISSIONS[role])
        refused = None
        try:
            call(operation, quiet.acting(actor), kind)
        except Forbidden as error:
            refused = error
        except Exception:
            refused = None
        assert (refused is None) == (permission in roles.PERMISSIONS[role]), f"{operation} for {role}: {refused}"


@pytest.mark.parametrize(("operation", "kind", "permission"), CASES, ids=lambda part: str(part))
def test_one_permission_less_closes_an_operation(quiet: Home, operation: str, kind: str, permission: str) -> None:
    lacking = replace(NOBODY, permissions=EVERYTHING - {permission})
    with pytest.raises(Forbidden) as caught:
        call(operation, quiet.acting(lacking), kind)
    assert f"({permission})" in caught.value.message


def test_the_table_of_roles_is_that_of_the_specification() -> None:
    """accounts-models-activate.md 1.2, cell by cell for what it states."""
    allowed = roles.PERMISSIONS
    assert allowed["TEAM_ADMIN"] == EVERYTHING
    assert {role for role in ROLES if "pipelines.create" in allowed[role]} == {
        "TEAM_ADMIN", "TEAM_COLLABORATOR", "PIPELINE_ADMIN",
    }  # fmt: skip
    assert {role for role in ROLES if "transformations.edit" in allowed[role]} == {
        "TEAM_ADMIN", "TEAM_COLLABORATOR", "PIPELINE_ADMIN", "PIPELINE_COLLABORATOR",
    }  # fmt: skip
    assert {role for role in ROLES if "models.edit" in allowed[role]} == {
        "TEAM_ADMIN", "TEAM_COLLABORATOR", "MODEL_WORKFLOW_ADMIN", "MODEL_WORKFLOW_COLLABORATOR",
    }  # fmt: skip
    assert {role for role in ROLES if "users.edit" in allowed[role]} == {"TEAM_ADMIN", "TEAM_COLLABORATOR"}
    assert {role for role in ROLES if "settings.edit" in allowed[role]} == {"TEAM_ADMIN"}
    assert {role for role in ROLES if "destinations.delete" in allowed[role]} == {
        "TEAM_ADMIN", "PIPELINE_ADMIN", "ACTIVATION_ADMIN",
    }  # fmt: skip
    assert not any(one.split(".")[-1] in ("create", "edit", "delete") for one in allowed["OBSERVER"])


def test_what_belongs_to_another_team_is_not_found_rather_than_forbidden(
    home: Home, saved: Desk, clevertap: dict[str, Any], tmp_path: Path
) -> None:
    cheap(home)
    run = records.begin_run(home.database, saved.pipeline, "INCREMENTAL")
    other = teams.create(home, "Others", "zoe@elsewhere.example", PASSWORD)
    there = home.acting(OPERATOR.of(other.id))
    for attempt in (
        lambda: pipelines.find(there, "events"),
        lambda: lifecycle.delete(there, "events"),
        lambda: pipelines.set_state(there, "events", "PAUSED"),
        lambda: connections.find(there, "source", "project"),
        lambda: connections.remove(there, "destination", "warehouse"),
        lambda: connections.change(there, "source", "project", new_name="mine"),
        lambda: positions.listed(there, "events"),
        lambda: records.run_record(there, run),
        lambda: status.statuses(there, "events"),
    ):
        with pytest.raises(ConfigError) as caught:
            attempt()
        assert caught.value.code.startswith("unknown_")
        assert "events" not in (caught.value.hint or "") and "warehouse" not in (caught.value.hint or "")
    assert not pipelines.listed(there) and not connections.listed(there)
    assert not records.run_records(there) and not status.statuses(there) and not rejects.listed(there)
    # Names are taken within a team only, and a pipeline cannot stand on another team's connections.
    connections.create(there, "source", "project", "clevertap", clevertap)
    with pytest.raises(ConfigError):
        pipelines.create(there, pipelines.Wish("events", "project", "warehouse"))
    connections.create(there, "destination", "warehouse", "duckdb", {"path": str(tmp_path / "o.duckdb")})
    pipelines.create(there, pipelines.Wish("events", "project", "warehouse"))
    assert pipelines.find(home, "events").id != pipelines.find(there, "events").id
