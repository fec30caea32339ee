"""Which addresses the connectors of a home may talk to, by who asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from millrace.connect.reach import ANYWHERE, NETWORK, SIMULATOR, WORLD, Reach
from millrace.control.settings import workspace

if TYPE_CHECKING:
    from millrace.control.home import Home


def of(home: Home, *, private: bool | None = None) -> Reach:
    """All of them for the operator, who is at the machine; for people, keys and the service those that the settings
    ``allow_private_addresses`` and ``allow_server_credentials`` of the workspace leave. ``private``: what the first of
    them will be, where it is about to change."""
    if home.actor.kind == "operator":
        return ANYWHERE
    settings = workspace(home.database)
    found = NETWORK if (settings.allow_private_addresses if private is None else private) else WORLD
    return replace(found, credentials=True) if settings.allow_server_credentials else found


def of_source(home: Home, source_type: str, config: Mapping[str, Any]) -> Reach:
    """The same for a source with these settings. One that is aimed at the simulator of this home, and finds it there,
    reaches it: whoever asked for that did not choose where it is."""
    found = of(home)
    if found.web != WORLD.web:
        return found
    # Imported here: it needs what needs this module, and few runs need it.
    from millrace.control.pipeline import simulation

    return SIMULATOR if simulation.is_ours(home, source_type, config) else found
