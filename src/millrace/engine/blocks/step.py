"""A chain of blocks as a step between source and mapping."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from millrace.data import columns
from millrace.data.batch import Batch
from millrace.data.columns import is_ours
from millrace.engine.blocks.block import Passage
from millrace.engine.blocks.digests import Digests
from millrace.engine.blocks.frame import Frame, joined
from millrace.engine.blocks.model import Blocks, through
from millrace.engine.blocks.privacy import TokenKeys
from millrace.engine.steps import Stepped


class BlockStep:
    """Runs a chain of blocks over batches. ``keys``: what blocks for tokens and named salts need."""

    def __init__(self, blocks: Blocks, *, keys: TokenKeys | None = None) -> None:
        self._blocks = blocks
        self._keys = keys
        self._digests = Digests()

    def apply(self, batch: Batch, key: tuple[str, ...] = ()) -> Stepped:
        """The rows after the chain: every one in an output, refused (``TRANSFORM_ERROR``) or counted as filtered (I5).

        Metadata of Millrace's own stays as it is. Raises ConfigError where a block needs keys and there are none.
        """
        ours = frozenset(field.name for field in batch.rows.schema if is_ours(field))
        origin = pa.array(np.arange(batch.rows.num_rows, dtype=np.int32))
        shown = ours & {columns.ID} & set(key)
        frame = Frame(batch.stream, batch.rows, origin, key, ours, shown)
        passage = Passage(self._keys, self._digests)
        frames = through(self._blocks.blocks, frame, passage) if batch.rows.num_rows else []
        outputs = joined(frames, batch.stream, key)
        refused = tuple(sorted(passage.refused))
        return Stepped(outputs, refused, passage.filtered)

    def close(self) -> None:
        self._digests.close()
