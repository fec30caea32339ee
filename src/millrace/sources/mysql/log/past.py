"""Changes of rows of now, told from those of rows of the past, where the server keeps what its rows were.

MariaDB writes into its log what it does to such a table: an update changes the row of now and puts the row of the past
beside it, a delete gives the row an end, and `DELETE HISTORY` takes rows of the past away.
Source: https://mariadb.com/kb/en/system-versioned-tables/
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from millrace.sources.mysql.log.errors import wrong_format
from millrace.sources.mysql.log.events import DELETE, INSERT, UPDATE
from millrace.sources.mysql.log.locating import Flags, Ints, Located, Places

# The end of a row that has none, as a TIMESTAMP(6): the latest moment that the server knows, older ones to 2038.
_ENDLESS = np.frombuffer(b"\x7f\xff\xff\xff\x0f\x42\x3f\xff\xff\xff\xff\x0f\x42\x3f", np.uint8).reshape(2, 7)


def of_now(found: Located, ended: int, width: int) -> Located:
    """What the changes mean for the rows of now. ``ended``: the column with the end of a row. ``width``: so many
    columns were declared."""
    old, new = found.old[ended], found.new[ended]
    before = _stands(found, old, found.kinds != INSERT)
    after = _stands(found, old.behind(new), found.kinds != DELETE)
    kinds: Ints = np.where(before & after, UPDATE, np.where(before, DELETE, INSERT))
    some = np.flatnonzero(before | after)
    return replace(
        found,
        kinds=kinds[some],
        event=found.event[some],
        old=[one.take(some) for one in found.old[:width]],
        new=[one.take(some) for one in found.new[:width]],
    )


def _stands(found: Located, places: Places, told: Flags) -> Flags:
    """Rows that have not ended, of those that are ``told``."""
    if not places.said[told].all():
        raise wrong_format("changes of a table with system versioning do not say whether their rows have ended")
    stands = np.zeros(len(told), np.bool_)
    at = places.start[told]
    ends = found.marks[at[:, None] + np.arange(_ENDLESS.shape[1])]
    stands[told] = (ends[:, None, :] == _ENDLESS).all(axis=2).any(axis=1)
    return stands
