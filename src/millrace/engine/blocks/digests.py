"""Hashes of text columns: by DuckDB where there are many values, by Python's hashlib where few."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Literal, TypeAlias

import pyarrow as pa

from millrace.engine.blocks import scalar

if TYPE_CHECKING:
    import duckdb

Algorithm: TypeAlias = Literal["MD5", "SHA-1", "SHA-256", "SHA-512"]

_IN_DUCKDB: dict[Algorithm, str] = {"MD5": "md5", "SHA-1": "sha1", "SHA-256": "sha256"}
# From here on a query is done sooner than a loop.
MANY = 20_000


class Digests:
    """Hashes texts. Keeps one connection to DuckDB open, in memory."""

    def __init__(self) -> None:
        self._duckdb: duckdb.DuckDBPyConnection | None = None

    def __call__(self, texts: pa.Array, algorithm: Algorithm, salt: bytes | None = None) -> pa.Array:
        """Lower-case hexadecimal digests of the texts' UTF-8, or, with a salt, their HMACs; null stays null."""
        name = scalar.ALGORITHMS[algorithm]
        if salt is None and algorithm in _IN_DUCKDB and len(texts) >= MANY:
            return self._many(texts, _IN_DUCKDB[algorithm])
        given = texts.cast(pa.binary()).to_pylist()
        if salt is not None:
            return pa.array([None if g is None else hmac.digest(salt, g, name).hex() for g in given], pa.string())
        new = getattr(hashlib, name)
        return pa.array([None if g is None else new(g).hexdigest() for g in given], pa.string())

    def _many(self, texts: pa.Array, function: str) -> pa.Array:
        import duckdb

        if self._duckdb is None:
            self._duckdb = duckdb.connect(":memory:", config={"threads": 1})
        found = self._duckdb.from_arrow(pa.table({"texts": texts})).project(f"{function}(texts)").to_arrow_table()
        return found.column(0).combine_chunks().cast(pa.string())

    def close(self) -> None:
        if self._duckdb is not None:
            self._duckdb.close()
            self._duckdb = None
