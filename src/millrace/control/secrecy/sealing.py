"""Secrets sealed at rest: AES-256-GCM, bound to the row and the column that they are for (I7).

A sealed value is one byte for the scheme, the id of its key, a nonce of 12 random bytes, and the text with its tag.
What is bound to it is not in it: a value that is moved to another row does not open there. Values of the scheme before
(Fernet) open with any key that is kept; they are sealed anew when they change, when the service starts, or by `rotate`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from millrace.control.activity import Entity, wrote
from millrace.control.books import leases
from millrace.control.database.column_types import Sealed
from millrace.control.database.db import upsert
from millrace.control.database.tables import metadata, sealed_values, settings
from millrace.control.secrecy import keyring
from millrace.control.secrecy.keyring import ID_BYTES, Key
from millrace.control.secrecy.secrets import texts
from millrace.data.dataclass import dataclass
from millrace.errors import EnvironmentProblem, Forbidden

if TYPE_CHECKING:
    from millrace.control.home import Home

SCHEME = 1
_NONCE = 12
_SEALS_WITH = "sealing_key"
_LASTING = "lasting_key"
_LOCK = 0x6D696C6D


@dataclass(frozen=True, slots=True)
class Rotated:
    """What a change of the key did. ``values`` were sealed anew, ``lost`` given up because no key opens them;
    ``old_keys_gone`` is False where somebody else has to take the old key away."""

    key_id: str
    values: int
    lost: int
    old_keys_gone: bool


def seal(
    home: Home, connection: sa.Connection, column: sa.Column[Any], row: str, secrets: Mapping[str, Any]
) -> bytes | None:
    """Secrets by their names, sealed together for one row; None when there are none.

    ``connection`` is the transaction that will write them: until it ends, no other key begins to seal, so that nothing
    is sealed with one that is about to go. Raises EnvironmentProblem "wrong_key" where the key of this process is not
    the one that seals.
    """
    if not secrets:
        return None
    kept = home.keys.read()
    _hold(connection, alone=False)
    return _sealed(_current(home, connection, kept), column, row, secrets)


def unseal(home: Home, column: sa.Column[Any], row: str, sealed: bytes | None) -> dict[str, Any]:
    """The secrets again. Raises EnvironmentProblem "wrong_key" when no key that is kept opens them there."""
    if sealed is None:
        return {}
    sealed = bytes(sealed)
    for fresh in (False, True):
        for one in _keys(home.keys.read(fresh=fresh)):
            if (found := _opened(one, column, row, sealed)) is not None:
                return found
    raise _wrong()


def put(home: Home, name: str, value: Mapping[str, Any]) -> None:
    """Secrets of the home itself are kept under that name, in place of those that were."""
    with home.database.joining() as connection:
        sealed = seal(home, connection, sealed_values.c.sealed, name, value)
        row = {"name": name, "sealed": sealed, "changed_at": datetime.now(UTC)}
        upsert(connection, sealed_values, [row], key=["name"])


def held(home: Home, name: str) -> dict[str, Any] | None:
    """Secrets of the home that are kept under that name; None when there are none."""
    with home.database.reading() as connection:
        found = connection.execute(sa.select(sealed_values.c.sealed).where(sealed_values.c.name == name)).scalar()
    return None if found is None else unseal(home, sealed_values.c.sealed, name, found)


def all_texts(home: Home) -> list[str]:
    """Every secret text that the home keeps, of all teams, to take them out of what is shown. For the operator alone.

    Raises EnvironmentProblem "wrong_key" when no key that is kept opens one.
    """
    if home.actor.kind != "operator":
        raise Forbidden("only the operator of the server sees the secrets of all teams", hint="Run it on its machine.")
    with home.database.reading() as connection:
        kept = [(column, row, value) for column, _, row, value in _all(connection)]
    return [text for column, row, value in kept for text in texts(unseal(home, column, row, value))]


def lasting_key(home: Home) -> str:
    """The key from which the blocks for privacy make tokens and hashes. It stays the same when the one that seals
    changes: tokens of today must be equal to those of yesterday."""
    kept = home.keys.read()  # before the database is asked: an old key goes only after the database says so
    if (lasting := held(home, _LASTING)) is not None:
        return lasting["key"]
    with home.database.reading() as connection:
        seals = _noted(connection)
    return next((one.text for one in _keys(kept) if one.id == seals), kept[0])


def rotate(home: Home, *, lost: bool = False) -> Rotated:
    """A new key seals from now on, and everything that was sealed is sealed with it, in one transaction.

    May be killed at any point and run again: old keys go last, and until then both are kept. With ``lost``, values
    that no key opens are given up; without, they are an error and nothing changes. For the operator alone.
    """
    _operator(home)
    with leases.held(home.database, "sealing key", what="another change of the key that seals secrets") as lease:
        new = _newest(home)
        kept = home.keys.read(fresh=True)
        with home.database.transaction() as connection:
            leases.confirm(connection, lease, home.database.now() + timedelta(seconds=leases.LEASE_S))
            _hold(connection, alone=True)
            _make_lasting(connection, kept)
            values, given_up = _anew(connection, _keys(kept), new, lost=lost)
            _note(connection, new)
            told = {"key_id": new.id, "values": values, "given_up": given_up}
            wrote(home, "HIGH", Entity("settings", None, "secrets"), "rotate", "another key seals secrets", after=told)
        return Rotated(new.id, values, given_up, home.keys.keep(new.text))


def _newest(home: Home) -> Key:
    """The newest key, which does not seal yet: one that a rotation before has made and did not come to use, or one
    that is made now."""
    kept = home.keys.read(fresh=True)
    with home.database.reading() as connection:
        seals = _noted(connection)
    if keyring.key(kept[-1]).id == seals or (seals is None and len(kept) == 1):
        home.keys.add(keyring.new_key())
    return keyring.key(home.keys.read(fresh=True)[-1])


def begun(home: Home) -> bool:
    """Something was sealed already: a key is noted, or there are values from before keys were noted."""
    with home.database.reading() as connection:
        return _noted(connection) is not None or next(_all(connection), None) is not None


def check(home: Home) -> None:
    """The keys of this process can seal. Raises EnvironmentProblem "no_key" without any, and "wrong_key" where the one
    that seals is not among them."""
    with home.database.reading() as connection:
        seals = _noted(connection)
    for fresh in (False, True):
        if any(seals in (None, one.id) for one in _keys(home.keys.read(fresh=fresh))):
            return
    raise _wrong()


def renew(home: Home) -> int:
    """Values of the scheme before are sealed anew with the key that seals; how many. Those that no key opens stay."""
    with home.database.reading() as connection:
        if not any(value[0] != SCHEME for *_, value in _all(connection)):
            return 0
    kept = home.keys.read()
    with home.database.transaction() as connection:
        _hold(connection, alone=True)
        current = _current(home, connection, kept)
        return _anew(connection, _keys(kept), current, only_old=True)[0]


def _anew(
    connection: sa.Connection, keys: Sequence[Key], new: Key, *, lost: bool = False, only_old: bool = False
) -> tuple[int, int]:
    """Sealed values are sealed with the new key; how many, and how many were given up."""
    done = given_up = 0
    for column, where, row, value in list(_all(connection)):
        if only_old and value[0] == SCHEME:
            continue
        found = next((opened for key in keys if (opened := _opened(key, column, row, value)) is not None), None)
        if found is None and only_old:
            continue
        if found is None and not lost:
            raise _wrong(f" ({column.table.name} {row})")
        if found is not None:
            value, done = _sealed(new, column, row, found), done + 1
            connection.execute(sa.update(column.table).where(where).values({column: value}))
            continue
        given_up += 1
        gone = sa.update(column.table).values({column: None}) if column.nullable else sa.delete(column.table)
        connection.execute(gone.where(where))
    return done, given_up


def _all(connection: sa.Connection) -> Iterator[tuple[sa.Column[Any], sa.ColumnElement[bool], str, bytes]]:
    """Every sealed value: its column, what finds its row, the name of the row, and the value."""
    from millrace.control.database import people_tables, telling_tables

    del people_tables, telling_tables  # their tables are in `metadata` now
    for table in metadata.sorted_tables:
        for column in table.columns:
            if not isinstance(column.type, Sealed):
                continue
            keys = list(table.primary_key.columns)
            for row in connection.execute(sa.select(*keys, column).where(column.is_not(None))).all():
                where = sa.and_(*(key == value for key, value in zip(keys, row, strict=False)))
                yield column, where, "/".join(str(value) for value in row[:-1]), bytes(row[-1])


def _sealed(key: Key, column: sa.Column[Any], row: str, secrets: Mapping[str, Any]) -> bytes:
    head = bytes([SCHEME]) + bytes.fromhex(key.id)
    nonce = os.urandom(_NONCE)
    text = json.dumps(dict(secrets)).encode()
    return head + nonce + key.cipher.encrypt(nonce, text, head + _place(column, row))


def _opened(key: Key, column: sa.Column[Any], row: str, sealed: bytes) -> dict[str, Any] | None:
    """The secrets; None when this key, or this place, is not theirs."""
    from cryptography.exceptions import InvalidTag

    if sealed[0] != SCHEME:
        return _opened_as_before(key, sealed)
    head, rest = sealed[: 1 + ID_BYTES], sealed[1 + ID_BYTES :]
    if head[1:].hex() != key.id:
        return None
    try:
        return json.loads(key.cipher.decrypt(rest[:_NONCE], rest[_NONCE:], head + _place(column, row)))
    except InvalidTag:
        return None


def _opened_as_before(key: Key, sealed: bytes) -> dict[str, Any] | None:
    from cryptography.fernet import Fernet, InvalidToken

    try:
        return json.loads(Fernet(key.text).decrypt(sealed))
    except InvalidToken:
        return None


def _place(column: sa.Column[Any], row: str) -> bytes:
    return f"{column.table.name}\0{column.name}\0{row}".encode()


def _keys(texts: Sequence[str]) -> list[Key]:
    """The newest first: most values are sealed with it."""
    return [keyring.key(text) for text in reversed(texts)]


def _current(home: Home, connection: sa.Connection, kept: Sequence[str]) -> Key:
    """The key that seals. The first one to do so is noted."""
    seals = _noted(connection)
    if seals is None:
        _note(connection, found := keyring.key(kept[0]))
        return found
    for those in (kept, home.keys.read(fresh=True)):
        for found in _keys(those):
            if found.id == seals:
                return found
    raise _wrong()


def _make_lasting(connection: sa.Connection, kept: Sequence[str]) -> None:
    """The key of tokens is kept for itself, from the first rotation on, which would take it away."""
    there = sa.select(sealed_values.c.name).where(sealed_values.c.name == _LASTING)
    if connection.execute(there).first() is None:
        seals = _noted(connection)
        old = next((one for one in _keys(kept) if one.id == seals), keyring.key(kept[0]))
        sealed = _sealed(old, sealed_values.c.sealed, _LASTING, {"key": old.text})
        row = {"name": _LASTING, "sealed": sealed, "changed_at": datetime.now(UTC)}
        upsert(connection, sealed_values, [row], key=["name"])


def _noted(connection: sa.Connection) -> str | None:
    return connection.execute(sa.select(settings.c.value).where(settings.c.key == _SEALS_WITH)).scalar()


def _note(connection: sa.Connection, key: Key) -> None:
    row = {"key": _SEALS_WITH, "value": key.id, "changed_at": datetime.now(UTC)}
    upsert(connection, settings, [row], key=["key"])


def _hold(connection: sa.Connection, *, alone: bool) -> None:
    """Until the transaction ends, no other key begins to seal; ``alone``: and nobody else seals. SQLite has one writer
    anyway."""
    if connection.dialect.name == "postgresql":
        lock = "pg_advisory_xact_lock" if alone else "pg_advisory_xact_lock_shared"
        connection.execute(sa.text(f"SELECT {lock}(:key)"), {"key": _LOCK})


def _operator(home: Home) -> None:
    if home.actor.kind != "operator":
        raise Forbidden("only the operator of the server changes the key that seals secrets",
                        hint="Run `millrace secrets rotate` on its machine.")  # fmt: skip


def _wrong(where: str = "") -> EnvironmentProblem:
    return EnvironmentProblem(
        f"the saved secrets were sealed with another key{where}",
        hint="Put back the file 'key' of this home (or MILLRACE_KEY). If it is lost, `millrace secrets rotate --lost` "
        "gives up what it sealed, and those secrets must be given again.",
        code="wrong_key",
    )
