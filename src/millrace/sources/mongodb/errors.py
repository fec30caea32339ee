"""What MongoDB and its driver say, in our errors; those of the connection have numbers.

Source: https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager

from bson.errors import BSONError
from pymongo.errors import (
    AutoReconnect,
    ConfigurationError,
    ConnectionFailure,
    InvalidURI,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from millrace.connect.log import expired
from millrace.errors import AuthError, ConfigError, MillraceError, ObjectRefused, Transient

_AUTHENTICATION = (18, 11, 334)
_ATLAS = 8000
_UNAUTHORIZED = (13, 33)
_NOT_PRIMARY = (10107, 13435, 13436)
# The change stream cannot be gone on with: its place is no longer in the oplog, or is of another one.
_LOST = (136, 222, 260, 280, 286, 40585, 40615, 50811)
_NO_STREAMS = (40573,)
_ENDED = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
_TOO_LARGE = (10334, 17420)
_SNAPSHOT = (239, 246)
# Of code 136 and others that a cursor may end with while nothing is lost: the words that make the difference.
_GONE = ("history", "resume", "oplog", "no longer")
# Codes of ours for what a server may refuse of one object while it shows the others.
_OF_ONE = ("mongodb_1011", "mongodb_refused")

STREAMS_HINT = (
    "Change streams need a replica set, or a sharded cluster: start the server with --replSet and say rs.initiate(), "
    "or read with ingestion_mode: table."
)


@contextmanager
def translated(
    where: str,
    members: Callable[[], Iterable[BaseException]] = tuple,
    *,
    plain: bool = False,
    object_: str | None = None,
) -> Generator[None]:
    """What the driver raises within comes out as ours. ``where`` names the deployment, without user and password;
    ``members`` tells what trouble there is with each of its servers. ``plain``: the settings ask for no encryption.
    ``object_``: what the server refuses is a matter of this object alone."""
    try:
        yield
    except PyMongoError as error:
        raise our(error, where, members(), plain=plain, object_=object_) from error
    except BSONError as error:
        raise Transient(f"{where} sent what cannot be read: {error}.") from error


def our(
    error: PyMongoError,
    where: str,
    members: Iterable[BaseException] = (),
    *,
    plain: bool = False,
    object_: str | None = None,
) -> MillraceError:
    """Our error for one of the driver's."""
    causes = [*_causes(error, *members)]
    walled = next((one for one in causes if isinstance(one, MillraceError)), None)
    if walled is not None:
        return walled
    if isinstance(error, OperationFailure):
        found = _refused(error, where)
        return found if object_ is None or found.code not in _OF_ONE else _alone(found, object_)
    if isinstance(error, InvalidURI):
        return ConfigError(
            f"connection_string cannot be read: {_said(error)}.", path="connection_string", code="mongodb_1006"
        )
    if isinstance(error, ConfigurationError):
        return _configured(error, where)
    if isinstance(error, ConnectionFailure):
        return _unreachable(error, where, causes, plain=plain)
    return Transient(f"{where} could not be asked: {_said(error)}.")


def _alone(refused: MillraceError, name: str) -> ObjectRefused:
    hint = refused.hint or "Mend the collection or view at the server, or leave it out of the pipeline."
    return ObjectRefused(f"{name}: {refused.message}", hint=hint, code=refused.code)


def _refused(error: OperationFailure, where: str) -> MillraceError:
    said, code = _said(error), error.code
    if code in _AUTHENTICATION or (code == _ATLAS and "auth" in said.lower() and "not allowed" not in said):
        return AuthError(
            f"{where} refused the user: {said}.",
            hint="Check db_user, db_password and auth_database.",
            path="db_password",
            code="mongodb_1001",
        )
    if code in _UNAUTHORIZED or code == _ATLAS:
        return ConfigError(
            f"The user of {where} lacks a right: {said}.",
            hint="Grant the role read on every database of db_names, or readAnyDatabase where all are read.",
            code="mongodb_1011",
        )
    if code in _NO_STREAMS:
        return ConfigError(f"{where} has no change streams: {said}.", hint=STREAMS_HINT, code="mongodb_standalone")
    if code in _NOT_PRIMARY:
        return _no_primary(where, said)
    if code in _LOST and (code != 136 or any(word in said for word in _GONE)):
        return expired(f"the oplog of {where} does not reach back to where they were read: {said}")
    if code in _TOO_LARGE:
        return ConfigError(
            f"A change at {where} is larger than the 16 MB that a message may have: {said}.",
            hint="Turn changeStreamPreAndPostImages of the collection off, and run `millrace resync --mode "
            "drop-and-load`.",
            code="mongodb_too_large",
        )
    if code in _SNAPSHOT:
        return Transient(
            f"{where} no longer has the state that was read: {said}.",
            hint="Raise minSnapshotHistoryWindowInSeconds at the server above the time that reading the history takes.",
        )
    if error.has_error_label("RetryableError") or isinstance(error, AutoReconnect) or code in (43, 91, 189, 11600):
        return Transient(f"{where} did not answer to the end: {said}.")
    if code in (26, 166):
        return Transient(
            f"{where} has changed while it was read: {said}.", hint="Run again: collections are listed anew."
        )
    return MillraceError(f"{where} refused what it was asked: {said}.", code="mongodb_refused")


def _configured(error: ConfigurationError, where: str) -> MillraceError:
    said = _said(error)
    if "wire version" in said:
        return ConfigError(
            f"{where} has a version that is not read: {said}.",
            hint="Use a server of version 4.4 or newer.",
            code="mongodb_1029",
        )
    if "DNS" in said or "resolution" in said or "SRV" in said:
        return _no_host(where, said)
    return ConfigError(f"{where} cannot be reached with these settings: {said}.", code="mongodb_settings")


def _unreachable(
    error: ConnectionFailure, where: str, causes: Sequence[BaseException], *, plain: bool
) -> MillraceError:
    """Words of the members are told, as each of them has its own trouble."""
    said = _said(error)
    if any(isinstance(one, socket.gaierror) for one in causes) or "Name or service not known" in said:
        return _no_host(where, said)
    if any(isinstance(one, _ENDED) for one in causes) or "EOF occurred" in said or "closed (EOF)" in said:
        # So does a server that has no encryption; one that goes away does it too.
        passing = Transient(
            f"{where} ended the connection in the middle of TLS: {said}.",
            hint="Check that the server runs, and use_ssl, if it has no encryption.",
        )
        passing.code = "mongodb_1009"
        return passing
    if any(isinstance(one, ssl.SSLError | ssl.CertificateError) for one in causes) or _of_encryption(said):
        return ConfigError(
            f"{where} and the settings of encryption do not go together: {said}.",
            hint="Check use_ssl, ssl_mode, ssl_ca and ssl_cert.",
            path="ssl_mode",
            code="mongodb_1009",
        )
    if isinstance(error, ServerSelectionTimeoutError):
        if "No primary" in said or "No replica set members match selector" in said or "No writable" in said:
            return _no_primary(where, said)
        # A member whose replica set is another one is known no more; one that just says nothing still is.
        silent = "No servers found yet" in str(error) and "<ServerDescription" in str(error)
        if silent:
            return _silent(where, said)
        if "replica set name" in said.lower() or "No replica set members" in said or "No servers" in said:
            return ConfigError(
                f"{where} has no member of the replica set: {said}.",
                hint="Check db_host and replica_set: the members say which replica set they belong to.",
                path="replica_set",
                code="mongodb_1008",
            )
    if isinstance(error, NetworkTimeout) or "timed out" in said:
        return _silent(where, said)
    if plain and isinstance(error, ServerSelectionTimeoutError) and ("closed" in said or "reset by peer" in said):
        # So does a server that wants encryption; one that is just starting may do it too.
        passing = Transient(
            f"{where} ends connections without encryption: {said}.",
            hint="Set use_ssl, if the server wants encryption; else check that it runs.",
        )
        passing.code = "mongodb_1009"
        return passing
    passing = Transient(f"{where} cannot be reached: {said}.", hint="Check db_host, db_port and that a member runs.")
    passing.code = "mongodb_1008"
    return passing


def _silent(where: str, said: str) -> Transient:
    passing = Transient(
        f"{where} does not answer: {said}.",
        hint="Check db_host and db_port, and that the server lets this machine's address in.",
    )
    passing.code = "mongodb_1005"
    return passing


def _no_host(where: str, said: str) -> ConfigError:
    return ConfigError(
        f"The host of {where} is not known: {said}.", hint="Check db_host.", path="db_host", code="mongodb_1006"
    )


def _no_primary(where: str, said: str) -> ConfigError:
    return ConfigError(
        f"{where} is no primary, and none is known: {said}.",
        hint="Name all members of the replica set in db_host, or set read_preference: secondaryPreferred.",
        path="db_host",
        code="mongodb_1028",
    )


def _of_encryption(said: str) -> bool:
    return any(word in said for word in ("SSL", "TLS", "CERTIFICATE", "certificate"))


def _causes(*errors: BaseException) -> Iterator[BaseException]:
    """The errors, and what caused them."""
    waiting, seen = [*errors], set[int]()
    while waiting:
        one = waiting.pop()
        if id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += [cause for cause in (one.__cause__, one.__context__) if cause is not None]


def _said(error: PyMongoError) -> str:
    """The server's or the driver's own words, without what they tell of the whole topology."""
    text = (
        str(error.details.get("errmsg") or error)
        if isinstance(error, OperationFailure) and error.details
        else str(error)
    )
    text = re.split(r", full error:|, Timeout: |, Topology Description:| \(configured timeouts:", text)[0]
    return re.sub(r"\s+", " ", text).strip().rstrip(".")
