"""The team of whoever asks, and how its people may come in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from millrace.control.desk import operation
from millrace.control.home import Home
from millrace.control.operations.names import Name
from millrace.control.people import security, teams
from millrace.control.people.security import Security
from millrace.control.people.teams import Team

Addresses = Annotated[
    Sequence[str],
    Field(max_length=1000, description="Addresses and networks from which requests are taken; none: all."),
]


@operation("GET", "/team")
def show(home: Home) -> Team:
    """Show the team."""
    return teams.own(home)


@operation("PUT", "/team", "settings.edit")
def rename(home: Home, name: Name) -> Team:
    """Give the team another name."""
    return teams.rename(home, name)


@operation("GET", "/team/security")
def show_security(home: Home) -> Security:
    """Show how people may come in."""
    return security.security(home)


@operation("PUT", "/team/security", "settings.edit")
def set_security(
    home: Home, two_factor_required: bool | None = None, allowed_addresses: Addresses | None = None
) -> Security:
    """Change how people may come in. What is not named stays."""
    changes: dict[str, Any] = {"two_factor_required": two_factor_required, "allowed_addresses": allowed_addresses}
    return security.change(home, **{key: value for key, value in changes.items() if value is not None})


OPERATIONS = (show, rename, show_security, set_security)
