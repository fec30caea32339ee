"""The text of a cursor: opaque, signed, percent-encoded, of varying length, as CleverTap's are."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from urllib.parse import quote

import orjson

from millrace.data.dataclass import dataclass
from millrace.simulators.clevertap.chance import fraction, key

SHORTEST, LONGEST = 300, 2400
_ALPHABET = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_MAC_BYTES = 16


@dataclass(frozen=True, slots=True)
class Token:
    """What a cursor says: which page of which walk, for whom, and when the walk and this cursor were made."""

    account: str
    walk: int
    query_hash: str
    page: int
    opened_at: int
    issued_at: int


class Cursors:
    """Writes and reads cursors under one secret; the same token has the same text."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._secret = hashlib.blake2b(f"cursor:{seed}".encode(), digest_size=32).digest()

    def write(self, token: Token) -> str:
        """The cursor as CleverTap prints it: percent-encoded once, 300 to 2400 characters."""
        fields = [token.account, token.walk, token.query_hash, token.page, token.opened_at, token.issued_at]
        plain = orjson.dumps(fields) + b"\n"
        target = SHORTEST + fraction(key(self._seed, token.walk, token.page)) * (LONGEST - SHORTEST)
        size = max(len(plain), int(target * 0.68) - _MAC_BYTES, 230 - _MAC_BYTES)
        size += (size + _MAC_BYTES) % 3 == 0  # so that it ends in "=", as most real ones do
        noise = hashlib.shake_256(plain + self._secret).digest(size - len(plain))
        mac = self._mac(plain + noise)
        return quote(base64.b64encode(mac + _veil(mac, plain + noise, self._secret)).decode(), safe="")

    def read(self, text: str) -> Token | None:
        """The token of a cursor that was percent-decoded once; None for what is not ours or was changed."""
        if not _ALPHABET.fullmatch(text) or len(text) % 4:
            return None
        raw = base64.b64decode(text)
        mac, content = raw[:_MAC_BYTES], _veil(raw[:_MAC_BYTES], raw[_MAC_BYTES:], self._secret)
        if not hmac.compare_digest(mac, self._mac(content)):
            return None
        account, walk, query_hash, page, opened_at, issued_at = orjson.loads(content.partition(b"\n")[0])
        return Token(account, walk, query_hash, page, opened_at, issued_at)

    def _mac(self, content: bytes) -> bytes:
        return hashlib.blake2b(content, key=self._secret, digest_size=_MAC_BYTES).digest()


def _veil(nonce: bytes, content: bytes, secret: bytes) -> bytes:
    stream = hashlib.shake_256(secret + nonce).digest(len(content))
    return (int.from_bytes(content, "big") ^ int.from_bytes(stream, "big")).to_bytes(len(content), "big")
