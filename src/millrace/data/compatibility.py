"""The compatibility table: which type of field loads into which type of column (loading.md 16), as `data.cast` has it.

`cast.fits` answers for any two types; here its answers are put into the rows and columns in which people read them.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import pyarrow as pa

from millrace.data import types
from millrace.data.cast import Fit, fits

Cell: TypeAlias = Literal["Y", "P", "N"]

# Types that stand for a heading; where several do, the cell holds for all of them.
ROWS: dict[str, tuple[pa.DataType, ...]] = {
    "BOOLEAN": (types.BOOLEAN,),
    "BYTE": (types.BYTE,),
    "SHORT": (types.SHORT,),
    "INTEGER": (types.INTEGER,),
    "LONG": (types.LONG,),
    "DECIMAL": (types.decimal(38, 9), types.decimal(38, 18)),
    "FLOAT": (types.FLOAT,),
    "DOUBLE": (types.DOUBLE,),
    "VARCHAR": (types.VARCHAR,),
    "BYTEARRAY": (types.BYTEARRAY,),
    "DATE": (types.DATE,),
    "TIME": (types.TIME,),
    "TIMETZ": (types.TIMETZ,),
    "TIMESTAMP": (types.TIMESTAMP,),
    "TIMESTAMPTZ": (types.TIMESTAMPTZ,),
    "JSON": (types.JSON,),
    "STRUCT, ARRAY": (pa.struct([("a", types.LONG)]), types.array(types.LONG)),
    "XML, UUID, GEO": (types.XML, types.UUID, types.GEO),
}
COLUMNS: dict[str, pa.DataType] = {
    name: kinds[0] for name, kinds in ROWS.items() if name not in ("STRUCT, ARRAY", "XML, UUID, GEO")
}

_CELLS: dict[Fit, Cell] = {"always": "Y", "perhaps": "P", "never": "N"}


def cells() -> dict[tuple[str, str], Cell]:
    """Every cell by row and column: Y all values load, P those that convert exactly, N none.

    A cell of several types is P where only some of them always load.
    """
    return {(row, column): _cell(ROWS[row], to) for row in ROWS for column, to in COLUMNS.items()}


def _cell(sources: tuple[pa.DataType, ...], to: pa.DataType) -> Cell:
    found: list[Cell] = [_CELLS[fits(source, to)] for source in sources]
    return found[0] if len({*found}) == 1 else "P"
