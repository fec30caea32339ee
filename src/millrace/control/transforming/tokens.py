"""Keys of a home for the blocks that hide personal data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from millrace.control.secrecy.keyring import derived

if TYPE_CHECKING:
    from millrace.control.home import Home
    from millrace.engine.blocks.privacy import TokenKeys


def keys(home: Home) -> TokenKeys:
    """Keys for tokens and salted hashes. They follow from the first key that sealed secrets, and stay when another one
    does so."""
    from millrace.control.secrecy import sealing
    from millrace.engine.blocks.privacy import TokenKeys

    lasting = sealing.lasting_key(home)
    return TokenKeys(token=derived(lasting, b"tokens", 64), salt=derived(lasting, b"salted hashes", 32))
