"""Which addresses the connectors of a home may talk to, by who asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from millrace.connect.reach import ANYWHERE, NETWORK, WORLD, Reach
from millrace.control.settings import workspace

if TYPE_CHECKING:
    from millrace.control.home import Home


def of(home: Home) -> Reach:
    """All of them for the operator, who is at the machine; for people, keys and the service those that the setting
    ``allow_private_addresses`` of the workspace leaves."""
    if home.actor.kind == "operator":
        return ANYWHERE
    return NETWORK if workspace(home.database).allow_private_addresses else WORLD
