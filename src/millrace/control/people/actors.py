"""Who asks for something, and what that one may: checked by the function that is asked, in one line."""

from __future__ import annotations

import getpass
from dataclasses import replace
from datetime import datetime
from typing import Literal, TypeAlias, get_args

from millrace.data.dataclass import dataclass
from millrace.errors import Forbidden

# What can be allowed. `view` is for everybody who may look at the entities of the team.
Permission: TypeAlias = Literal[
    "view",
    "pipelines.create",
    "pipelines.edit",
    "pipelines.delete",
    "destinations.create",
    "destinations.edit",
    "destinations.delete",
    "transformations.edit",
    "mappings.edit",
    "models.create",
    "models.edit",
    "models.delete",
    "activations.create",
    "activations.edit",
    "activations.delete",
    "users.edit",
    "usage.view",
    "settings.edit",
]
EVERYTHING: frozenset[Permission] = frozenset(get_args(Permission))

# The team of a home that knows no other: whoever types on that machine works in it.
FIRST_TEAM = "00000000-0000-4000-8000-000000000001"

ActorKind: TypeAlias = Literal["operator", "user", "key", "system"]


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks. ``name``: an e-mail address, "operator", or "system". All that it sees belongs to ``team_id``.

    ``user_id`` is None for whoever types on the machine of the home (the operator) and for Millrace itself (system).
    """

    kind: ActorKind
    name: str
    team_id: str = FIRST_TEAM
    user_id: str | None = None
    permissions: frozenset[Permission] = frozenset()
    address: str | None = None
    """Where the request came from, for the activity log; None for what was typed on this machine."""
    until: datetime | None = None
    """When the key ends with which it asks; None where it has no end, or asks without one."""

    def may(self, permission: Permission) -> bool:
        return permission in self.permissions

    def must(self, permission: Permission) -> None:
        """Raises Forbidden where it may not."""
        if permission not in self.permissions:
            raise Forbidden(
                f"{self.name} is not permitted to perform this action ({permission})",
                hint="Ask an administrator of the team for a role that includes it.",
            )

    def of(self, team_id: str) -> Actor:
        """The same one at work in another team."""
        return replace(self, team_id=team_id)


OPERATOR = Actor("operator", "operator", permissions=EVERYTHING)
SYSTEM = Actor("system", "system", permissions=EVERYTHING)


def signed(actor: Actor) -> str:
    """The author of what the actor makes; for the operator the user of the operating system, who sits there."""
    if actor.kind != "operator":
        return actor.name
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
