"""Roles, and what each allows: one table, read by everything that asks (accounts-models-activate.md 1.2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias, get_args

from millrace.control.as_code.findings import nearest
from millrace.control.people.actors import EVERYTHING, Permission
from millrace.errors import ConfigError

Role: TypeAlias = Literal[
    "TEAM_ADMIN",
    "TEAM_COLLABORATOR",
    "PIPELINE_ADMIN",
    "PIPELINE_COLLABORATOR",
    "MODEL_WORKFLOW_ADMIN",
    "MODEL_WORKFLOW_COLLABORATOR",
    "ACTIVATION_ADMIN",
    "ACTIVATION_COLLABORATOR",
    "BILLING_ADMIN",
    "OBSERVER",
]
ROLES: tuple[Role, ...] = get_args(Role)
ADMINISTRATOR: Role = "TEAM_ADMIN"
DEFAULT: Role = "OBSERVER"

# The two roles of workspaces of old, which the public API still names (api.md A9).
FORMER: Mapping[str, Role] = {"OWNER": "TEAM_ADMIN", "MEMBER": "TEAM_COLLABORATOR"}


def _all_of(*nouns: str, but: str = "") -> frozenset[Permission]:
    return frozenset(one for one in EVERYTHING if one.split(".")[0] in nouns and not (but and one.endswith(but)))


_LOOKING: frozenset[Permission] = frozenset({"view"})
_SHAPING: frozenset[Permission] = frozenset({"transformations.edit", "mappings.edit"})
_INVITING: frozenset[Permission] = frozenset({"users.edit", "usage.view"})

PERMISSIONS: Mapping[Role, frozenset[Permission]] = {
    "TEAM_ADMIN": EVERYTHING,
    "TEAM_COLLABORATOR": _all_of("pipelines", "destinations", "models", "activations", but=".delete")
    | _SHAPING
    | _LOOKING
    | _INVITING,
    "PIPELINE_ADMIN": _all_of("pipelines", "destinations") | _SHAPING | _LOOKING,
    "PIPELINE_COLLABORATOR": frozenset(
        {"view", "pipelines.edit", "destinations.edit", "transformations.edit", "mappings.edit"}
    ),
    "MODEL_WORKFLOW_ADMIN": _all_of("models") | _LOOKING,
    "MODEL_WORKFLOW_COLLABORATOR": frozenset({"view", "models.edit"}),
    "ACTIVATION_ADMIN": _all_of("activations", "destinations") | _LOOKING,
    "ACTIVATION_COLLABORATOR": frozenset({"view", "activations.edit"}),
    "BILLING_ADMIN": frozenset({"usage.view"}),
    "OBSERVER": frozenset({"view", "usage.view"}),
}


def permissions(roles: Iterable[Role]) -> frozenset[Permission]:
    """What roles allow together."""
    return frozenset[Permission]().union(*(PERMISSIONS[role] for role in roles))


def checked(names: Iterable[str]) -> tuple[Role, ...]:
    """The roles of those names, each once, in the order of the table. OWNER and MEMBER are roles of old.

    Raises ConfigError "unknown_role" for a name that is none, and "no_role" when there is none at all.
    """
    chosen: set[str] = set()
    for name in names:
        role = FORMER.get(name, name)
        if role not in ROLES:
            raise ConfigError(
                f"there is no role {name[:80]!r}",
                hint=nearest(name, ROLES, what="There are"),
                path="roles",
                code="unknown_role",
            )
        chosen.add(role)
    if not chosen:
        raise ConfigError("a user needs at least one role", hint=f"For one who may only look: {DEFAULT}.",
                          path="roles", code="no_role")  # fmt: skip
    return tuple(role for role in ROLES if role in chosen)
