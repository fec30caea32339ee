"""Geometry as GeoJSON, in the words of the server's own ST_AsGeoJSON.

Source: https://dev.mysql.com/doc/refman/8.4/en/gis-data-formats.html (four bytes of the reference system, then WKB)
"""

from __future__ import annotations

import struct
from typing import Any

_NAMES = (
    "", "Point", "LineString", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon", "GeometryCollection",
)  # fmt: skip
_SRID_BYTES = 4


def geojson(data: bytes) -> str:
    """Raises ValueError for what is no geometry."""
    try:
        shape, end = _shape(data, _SRID_BYTES)
    except (struct.error, IndexError) as cause:
        raise ValueError("these bytes are no geometry") from cause
    if end != len(data):
        raise ValueError("there is something behind a geometry")
    return shape


def _shape(data: bytes, at: int) -> tuple[str, int]:
    order = "<" if data[at] else ">"
    (kind,) = struct.unpack_from(order + "I", data, at + 1)
    if not 0 < kind < len(_NAMES):
        raise ValueError(f"there is no shape {kind}")
    inner, at = _inside(data, at + 5, order, kind)
    name = "geometries" if kind == 7 else "coordinates"
    return f'{{"type": "{_NAMES[kind]}", "{name}": {inner}}}', at


def _inside(data: bytes, at: int, order: str, kind: int) -> tuple[str, int]:
    if kind == 1:
        return _point(data, at, order)
    (count,) = struct.unpack_from(order + "I", data, at)
    at += 4
    parts: list[str] = []
    for _ in range(count):
        if kind == 2:
            part, at = _point(data, at, order)
        elif kind == 3:
            part, at = _inside(data, at, order, 2)
        elif kind == 7:
            part, at = _shape(data, at)
        else:
            # Each part is a whole shape of the simple kind.
            part, at = _inside(data, at + 5, "<" if data[at] else ">", kind - 3)
        parts.append(part)
    return f"[{', '.join(parts)}]", at


def _point(data: bytes, at: int, order: str) -> tuple[str, int]:
    values: tuple[Any, ...] = struct.unpack_from(order + "2d", data, at)
    return f"[{', '.join(map(_number, values))}]", at + 16


def _number(value: float) -> str:
    return repr(value).removesuffix(".0").replace("e+", "e")
