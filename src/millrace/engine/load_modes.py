"""How rows of event types reach their tables: as is wished, or as they did when their tables began."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Mapping as Dict
from dataclasses import replace

from millrace.connect.source import Note
from millrace.data.batch import LoadMode
from millrace.engine.ledger import Shelved
from millrace.engine.mapping import Mapping
from millrace.engine.mappings import Mappings
from millrace.errors import as_typed


def mode_of(stream: str, whole: Mapping | None, modes: Dict[str, LoadMode], mode: LoadMode) -> LoadMode:
    """The load mode of a new event type: its own, or that by which the source reads the rows that it is made of.

    ``whole``: the mapping of these, where they are of another stream; without a key it says nothing of what was wished.
    """
    if whole is not None and whole.key:
        mode = whole.mode
    elif whole is not None:
        mode = modes.get(whole.stream, mode)
    return modes.get(stream, mode)


def unlike(known: Dict[str, Mapping], modes: Dict[str, LoadMode], mode: LoadMode) -> dict[str, LoadMode]:
    """Of event types that are loaded otherwise than is wished by now, the load mode that is."""
    found: dict[str, LoadMode] = {}
    for stream, mapping in known.items():
        whole = known.get(mapping.source) if mapping.source not in (None, stream) else None
        wished = mode_of(stream, whole, modes, mode) if mapping.key else "append"
        if mapping.mapped and wished != mapping.mode:
            found[stream] = wished
    return found


def begin(mappings: Mappings, unlike: Callable[[Mappings], Dict[str, LoadMode]], tables: Sequence[Shelved]) -> None:
    """Tables that are filled anew, or never had a row, begin as is wished by now, where no row of their objects
    has come yet: a source reads an object's rows for all of its tables alike."""
    filled = (one for one in tables if one.last or not (one.fresh or one.generation == 1))
    begun = {source for one in filled for source in one.mapping.sources}
    streams = {one.mapping.stream for one in tables if not one.mapping.sources & begun}
    # What is made of an object follows it, so it is looked at again once the object has another mode.
    while begun := {stream: mode for stream, mode in unlike(mappings).items() if stream in streams}:
        for stream, mode in begun.items():
            mapping = mappings.by_stream[stream]
            mappings.put(replace(mapping, mode=mode, version=mapping.version + 1))


def kept(mapping: Mapping, wished: LoadMode, pipeline: str) -> Note:
    """Says that the table goes on as before: rows that are there do not fit another load mode."""
    anew = as_typed("resync", pipeline, "--mode", "drop-and-load")
    text = f"{mapping.table} is loaded by {mapping.mode} as before; for {wished} fill it anew: `{anew}`"
    return Note("load_mode_kept", text)
