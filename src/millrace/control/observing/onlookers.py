"""Those outside who are told of runs: a collector of traces (OpenTelemetry), a catalogue of lineage (OpenLineage).

They are told once, as well as it goes: a run never waits long for them, and none fails because of them.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from millrace.control.home import Home
    from millrace.control.pipeline.pipelines import Pipeline

TRACES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
LINEAGE = "OPENLINEAGE_URL"

_log = logging.getLogger("millrace.onlookers")


def began(home: Home, pipeline: Pipeline, run_id: int) -> None:
    """A run has begun."""
    _lineage(home, pipeline, run_id, "START")


def ended(home: Home, pipeline: Pipeline, run_id: int) -> None:
    """A run has ended, and is on record so."""
    _lineage(home, pipeline, run_id, None)
    if not any(home.variable(name) for name in TRACES) or home.variable("OTEL_SDK_DISABLED") == "true":
        return
    try:
        # Imported here: it is an extra, and takes a third of a second.
        from millrace.control.observing import tracing

        tracing.trace(home, pipeline, run_id)
    except ImportError:
        _log.warning("no trace of run %s: install millrace[otel]", run_id)
    except Exception as error:  # whatever it is, it is no matter of the run
        _log.warning("no trace of run %s: %s", run_id, type(error).__name__)


def _lineage(home: Home, pipeline: Pipeline, run_id: int, state: str | None) -> None:
    from millrace.control.settings import workspace

    try:
        if not home.variable(LINEAGE) and workspace(home.database).lineage_url is None:
            return
        # Imported here: it needs HTTP, which a run may not.
        from millrace.control.observing import lineage

        lineage.tell(home, pipeline, run_id, state)
    except Exception as error:  # whatever it is, it is no matter of the run
        told = getattr(error, "message", type(error).__name__)
        _log.warning("nobody was told of the lineage of run %s: %s", run_id, told)
