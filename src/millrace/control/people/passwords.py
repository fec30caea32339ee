"""Passwords: what they must be, and Argon2id hashes of them."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from millrace.errors import ConfigError

if TYPE_CHECKING:
    from argon2 import PasswordHasher

    from millrace.control.settings import Workspace

SHORTEST = 8
# What is longer only costs time to hash.
LONGEST = 1024


def check(password: str) -> None:
    """Raises ConfigError "weak_password" unless it has eight characters, of four kinds (accounts 1.4)."""
    missing = [
        word
        for word, there in (
            (f"at least {SHORTEST} characters", len(password) >= SHORTEST),
            (f"at most {LONGEST} characters", len(password) <= LONGEST),
            ("an upper-case letter", any(sign.isupper() for sign in password)),
            ("a lower-case letter", any(sign.islower() for sign in password)),
            ("a digit", any(sign.isdigit() for sign in password)),
            ("a sign that is neither letter nor digit", any(not sign.isalnum() for sign in password)),
        )
        if not there
    ]
    if missing:
        raise ConfigError(
            f"the password needs {', '.join(missing)}", hint="A sentence makes a good one.", path="password",
            code="weak_password",
        )  # fmt: skip


def hashed(password: str, settings: Workspace) -> str:
    """The hash, with its salt and its cost, as Argon2 writes it."""
    return _hasher(settings.password_memory_mib, settings.password_passes).hash(_bytes(password))


def fits(hash: str | None, password: str, settings: Workspace) -> bool:
    """Whether it is the password of the hash. Takes as long when there is no hash."""
    from argon2.exceptions import InvalidHashError, VerificationError

    hasher = _hasher(settings.password_memory_mib, settings.password_passes)
    if len(password) > LONGEST:
        hash, password = None, ""
    try:
        hasher.verify(hash or _nobody(settings.password_memory_mib, settings.password_passes), _bytes(password))
    except (VerificationError, InvalidHashError):
        return False
    return hash is not None


def is_dated(hash: str, settings: Workspace) -> bool:
    """The hash was made at another cost than the settings ask for now."""
    return _hasher(settings.password_memory_mib, settings.password_passes).check_needs_rehash(hash)


def _bytes(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")


@lru_cache(maxsize=4)
def _hasher(memory_mib: int, passes: int) -> PasswordHasher:
    from argon2 import PasswordHasher

    return PasswordHasher(time_cost=passes, memory_cost=memory_mib * 1024, parallelism=4)


@lru_cache(maxsize=4)
def _nobody(memory_mib: int, passes: int) -> str:
    """A hash that no password fits but the empty one, which is refused; it costs what others cost."""
    return _hasher(memory_mib, passes).hash(b"")
