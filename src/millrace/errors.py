"""The errors of Millrace, chosen by who can act. Nothing here imports anything else of Millrace."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

_ERRNO = re.compile(r"\[Errno -?\d+\] ")


@dataclass(frozen=True, slots=True)
class Problem:
    """What a person or a program is told about an error. Never holds a secret (I7)."""

    code: str
    message: str
    hint: str | None = None
    path: str | None = None
    docs: str | None = None


def as_typed(*words: str) -> str:
    """A command of Millrace as it is typed into a shell, whatever is in the names that it holds."""
    # Imported here: few processes have something to hint at.
    import shlex

    return shlex.join(("millrace", *words))


def in_words(cause: BaseException) -> str:
    """What an error of the system or of a library says, without the system's number for it."""
    return _ERRNO.sub("", str(cause))


class MillraceError(Exception):
    """An error with a stable code, a message (what, on what), a hint (how to mend) and a path into the settings."""

    code = "internal"
    exit_code = 1

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        path: str | None = None,
        docs: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.path = path
        self.docs = docs
        if code is not None:
            self.code = code

    @property
    def problem(self) -> Problem:
        return Problem(self.code, self.message, self.hint, self.path, self.docs)


class ConfigError(MillraceError):
    """The user must change a setting; no retry helps."""

    code = "config"
    exit_code = 2


class AuthError(ConfigError):
    """The other system refused the credentials."""

    code = "auth"


class ObjectRefused(ConfigError):
    """One object cannot be read until somebody changes it, or its grants; the others can."""


class Forbidden(MillraceError):
    """Whoever asks may not do this; somebody else may."""

    code = "forbidden"
    exit_code = 2


class EnvironmentProblem(MillraceError):
    """This machine must be mended: a full disk, a locked file, a missing driver, a damaged stage."""

    code = "environment"
    exit_code = 3


class Transient(MillraceError):
    """Nobody must act; time mends it. The engine tries again later."""

    code = "transient"
    exit_code = 3

    def __init__(self, message: str, *, retry_after_s: float | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class RateLimited(Transient):
    """The other system asked for fewer or later calls: of this object alone, or of whoever uses the credential."""

    code = "rate_limited"

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: float | None = None,
        hint: str | None = None,
        scope: Literal["endpoint", "credential"] = "credential",
    ) -> None:
        super().__init__(message, retry_after_s=retry_after_s, hint=hint)
        self.scope = scope


class DataError(MillraceError):
    """The user must mend a row. It never leaves a step or the mapping: it becomes a reject."""

    code = "data"


class SchemaError(ConfigError):
    """A table at the destination cannot take what its mapping says; a person must decide."""

    code = "schema"


class Stale(MillraceError):
    """Another worker has taken over; this one ends without doing harm (I4)."""

    code = "stale"
