"""Keys of a home for the blocks that hide personal data. They follow from the key that seals its secrets."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from millrace.control.home import Home
    from millrace.engine.blocks.privacy import TokenKeys


def keys(home: Home) -> TokenKeys:
    """Keys for tokens and salted hashes, the same ones as long as the home has its key."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    from millrace.engine.blocks.privacy import TokenKeys

    def derived(purpose: bytes, length: int) -> bytes:
        secret = base64.urlsafe_b64decode(home.key)
        return HKDF(algorithm=hashes.SHA256(), length=length, salt=None, info=b"millrace " + purpose).derive(secret)

    return TokenKeys(token=derived(b"tokens", 64), salt=derived(b"salted hashes", 32))
