"""Chance from a seed alone: the same numbers give the same draw, in any order and in any process."""

from __future__ import annotations

import zlib

_MASK = (1 << 64) - 1


def mix(number: int) -> int:
    """64 well-mixed bits of any integer.

    Source: the finaliser of splitmix64, Steele, Lea and Flood, "Fast splittable pseudorandom number generators".
    """
    x = (number + 0x9E3779B97F4A7C15) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


def fraction(number: int) -> float:
    """A number in [0, 1) drawn by ``number``."""
    return mix(number) / 18446744073709551616.0


def key(*parts: object) -> int:
    """64 bits that stand for the parts, for use as a seed."""
    text = "\x1f".join(map(str, parts)).encode()
    return mix((zlib.crc32(text) << 32) | zlib.crc32(text, 0x5EED))
