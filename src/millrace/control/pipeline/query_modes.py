"""How objects of databases can be queried, and what each way needs (api.md A3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from millrace.data.batch import JSON
from millrace.errors import ConfigError

_BOTH = frozenset({"incrementing_column_name", "timestamp_column_name", "timestamp_delay_interval_ms"})

# Keys that a query mode may have beside its name.
QUERY_MODES: Mapping[str, frozenset[str]] = {
    "full load": frozenset(),
    "incrementing": frozenset({"incrementing_column_name", "stop_on_gap"}),
    "timestamp": frozenset({"timestamp_column_name", "timestamp_delay_interval_ms"}),
    "timestamp+incrementing": _BOTH,
    "unique_incrementing": frozenset({"unique_column_name"}),
    "change_tracking": frozenset({"historical_enabled", "unique_column_name"}),
    "xmin": frozenset(),
    # The same by the names that files of pipelines use.
    "auto": frozenset(),
    "full_load": frozenset(),
    "delta": frozenset({"timestamp_column_name", "timestamp_delay_interval_ms"}),
    "increment_append_only": frozenset({"incrementing_column_name"}),
    "change_data_capture": _BOTH,
}

QueryMode: TypeAlias = Literal[
    "auto", "full_load", "delta", "increment_append_only", "change_data_capture", "change_tracking", "xmin"
]

# Modes that the public API names otherwise.
_SAME: Mapping[str, QueryMode] = {
    "full load": "full_load",
    "timestamp": "delta",
    "incrementing": "increment_append_only",
    "unique_incrementing": "increment_append_only",
    "timestamp+incrementing": "change_data_capture",
}

# Pipelines that came from elsewhere go on with these; nobody chooses them anew (pipelines.md 4).
_IMPORTED = frozenset({"xmin"})


def selectable(mode: JSON, before: JSON) -> None:
    """Raises ConfigError for a query mode that only a file of pipelines brings, but where the object has it already."""
    if _name(mode) in _IMPORTED and _name(mode) != _name(before):
        raise ConfigError(
            f"query mode {_name(mode)} cannot be chosen: pipelines that came from elsewhere have it by their file",
            hint="Choose change_data_capture or delta, or apply a file of pipelines.",
            path="config.mode",
            code="import_only",
        )


def _name(mode: JSON) -> JSON:
    return mode.get("mode") if isinstance(mode, dict) else mode


def chosen(mode: JSON) -> JSON:
    """Which `QueryMode` was chosen, under whichever name; "auto" where that was left to the source."""
    said = _name(mode)
    return "auto" if said is None else _SAME.get(said, said)


def checked(config: Mapping[str, Any]) -> dict[str, Any]:
    """The query mode, when its keys belong together. Raises ConfigError."""
    mode = config.get("mode")
    if mode is None and set(config) == {"use_bulk_api"}:
        return dict(config)
    if not isinstance(mode, str) or mode not in QUERY_MODES:
        raise ConfigError(
            f"there is no query mode {str(mode)[:80]!r}",
            hint=f"There are {', '.join(QUERY_MODES)}.",
            path="config.mode",
            code="invalid_parameter",
        )
    if unknown := sorted(set(config) - QUERY_MODES[mode] - {"mode"}):
        raise ConfigError(
            f"query mode {mode} has no {unknown[0][:80]!r}",
            path=f"config.{unknown[0][:80]}",
            code="invalid_parameter",
        )
    return dict(config)
