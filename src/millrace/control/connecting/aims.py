"""Secrets that are kept go where they were meant to: who may change a connection, and not read its secrets, cannot have
them sent to a place of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from millrace.connect.config import Settings
from millrace.errors import ConfigError

if TYPE_CHECKING:
    from millrace.control.home import Home


def must_stay(
    home: Home, model: type[Settings], old: Mapping[str, Any], new: Mapping[str, Any], kept: Iterable[str], what: str
) -> None:
    """Raises ConfigError "secret_needed" where settings lead elsewhere by now while secrets are kept. The operator has
    the keys of all secrets, and is not asked.

    ``kept``: names of the secrets that were not given with the ``new`` settings.
    """
    names = sorted(model.secret_keys().intersection(kept))
    if not names or home.actor.kind == "operator":
        return
    before, after = model.aims(old), model.aims(new)
    moved = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    if moved:
        raise ConfigError(
            f"{what} would lead elsewhere by {', '.join(moved)}, and what is secret would go there with it",
            hint=f"Give {', '.join(names)} again, or let go of what is of no use there: Forget on the screen, null by "
            "API, KEY= on a command line.",
            path=names[0],
            code="secret_needed",
        )
