"""What a pipeline's rows become at its destination: how names are made, and what becomes of nested values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from millrace.connect.config import DestinationConfig
from millrace.connect.destination import Destination, Strategy
from millrace.control import settings
from millrace.control.connecting import connections
from millrace.data.columns import Prefix
from millrace.engine.mapping import Naming

if TYPE_CHECKING:
    from millrace.control.home import Home
    from millrace.control.pipeline.pipelines import Pipeline


Place: TypeAlias = tuple[type[Destination[Any]], DestinationConfig]


def strategy_of(home: Home, pipeline: Pipeline, place: Place | None = None) -> Strategy:
    """What becomes of nested values: as the pipeline says, else the destination's default.

    ``place``: the destination's class and settings, where they are known already.
    """
    family, config = place or connections.destination_of(home, pipeline.destination_id)
    return pipeline.options.get("json_parsing_strategy") or family.strategies(config)[0]


def naming_of(home: Home, pipeline: Pipeline, place: Place | None = None) -> Naming:
    """How names are made for this pipeline at its destination. ``place``: as of `strategy_of`."""
    family, config = place or connections.destination_of(home, pipeline.destination_id)
    return Naming(
        limits=family.limits,
        rules=pipeline.naming,
        prefix=Prefix(settings.workspace(home.database).metadata_prefix),
        table_prefix=pipeline.table_prefix,
        sanitized=config.sanitize_names,
        oversize=config.on_oversize,
    )
