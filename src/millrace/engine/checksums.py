"""Checksums of staged files: XXH3 with 128 bits (https://github.com/Cyan4973/xxHash), as text.

They find what a disk, a bucket or a person changed. Whoever may write to the stage could write anything, so that a hash
against forgery would say no more; it would take as long as all else that a file is staged with.
"""

from __future__ import annotations

import hashlib
from io import BufferedReader, BytesIO

import xxhash

_XXH3 = "xxh3:"


def checksum(file: BufferedReader | BytesIO) -> str:
    """The checksum of the bytes from where the file stands to its end."""
    return _XXH3 + hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()


def agrees(file: BufferedReader | BytesIO, wanted: str) -> bool:
    """Whether these bytes have the checksum ``wanted``; one without a name is the SHA-256 of an older file."""
    if wanted.startswith(_XXH3):
        return checksum(file) == wanted
    return hashlib.file_digest(file, "sha256").hexdigest() == wanted
