"""What a team's identity provider may say of somebody, whichever way it speaks."""

from __future__ import annotations

from millrace.data.dataclass import dataclass
from millrace.errors import AuthError

# How far clocks may be apart, in seconds.
LEEWAY_S = 60


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom the provider vouches for, by an address that it has verified."""

    email: str
    name: str


def refused(why: str) -> AuthError:
    """Words for somebody whom no provider vouches for."""
    return AuthError(f"you cannot be signed in: {why}", hint="Begin again, or ask an administrator of the team.",
                     code="sign_on")  # fmt: skip
