"""What happens to what is new: event types, fields, and values that do not fit, each by one of four words."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, cast, get_args

from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError

Action: TypeAlias = Literal["evolve", "freeze", "discard_row", "discard_value"]
Preset: TypeAlias = Literal["ALLOW_ALL", "ALLOW_COLUMN_LEVEL", "BLOCK_ALL"]


@dataclass(frozen=True, slots=True)
class Policy:
    """What becomes of rows whose event type, fields or values have no place yet.

    ``tables``: rows of an event type that nobody has mapped. ``columns``: rows with a value in a field that has no
    column. ``types``: rows with a value that its column cannot hold. *evolve* makes the place; *freeze* rejects the
    row, to be replayed later; *discard_row* leaves the row out on purpose; *discard_value* loads the row without the
    value (of an event type without a table nothing is left then, so the row is out).
    """

    tables: Action = "evolve"
    columns: Action = "evolve"
    types: Action = "evolve"

    def to_json(self) -> dict[str, Any]:
        return {"tables": self.tables, "columns": self.columns, "types": self.types}

    @staticmethod
    def from_json(found: Any) -> Policy:
        """The policy of a preset's name, or of a mapping of tables, columns and types; what is left out evolves.

        Raises ConfigError for a word that means none.
        """
        if isinstance(found, str):
            return preset(found)
        if not isinstance(found, dict):
            raise _unknown(repr(found), "a policy")
        given = cast("dict[str, Any]", found)
        for key, action in given.items():
            if key not in Policy.__dataclass_fields__:
                raise ConfigError(f"a policy has no part {key!r}", hint="It has tables, columns, types.", code="policy")
            if action not in get_args(Action):
                raise _unknown(repr(action), f"what happens to {key}")
        return Policy(**given)

    @property
    def name(self) -> str:
        """The name of the preset that it is, or its three words."""
        known = next((name for name, policy in PRESETS.items() if policy == self), None)
        return known or f"tables={self.tables} columns={self.columns} types={self.types}"


# pipelines.md 19.12. A blocked field is not loaded while its rows are; a row whose values do not fit waits as a reject.
PRESETS: dict[Preset, Policy] = {
    "ALLOW_ALL": Policy(),
    "ALLOW_COLUMN_LEVEL": Policy(tables="discard_row"),
    "BLOCK_ALL": Policy(tables="freeze", columns="discard_value", types="freeze"),
}

ALLOW_ALL = PRESETS["ALLOW_ALL"]
# What auto mapping off means (loading.md 15.5): nothing is made by itself.
BY_HAND = PRESETS["BLOCK_ALL"]


def preset(name: str) -> Policy:
    """The policy of that name, in any case of letters. Raises ConfigError when there is none."""
    found = next((policy for known, policy in PRESETS.items() if known == name.upper().replace("-", "_")), None)
    if found is None:
        raise _unknown(repr(name), "a policy")
    return found


def _unknown(said: str, what: str) -> ConfigError:
    return ConfigError(
        f"{said} is not {what}",
        hint=f"Presets: {', '.join(PRESETS)}. Or tables, columns and types, each one of {', '.join(get_args(Action))}.",
        code="policy",
    )
