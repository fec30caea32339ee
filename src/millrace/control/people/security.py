"""Settings of a team that say how its people may come in: two-factor, addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from millrace.control.activity import Entity, wrote
from millrace.control.database.db import upsert
from millrace.control.database.people_tables import team_settings
from millrace.data.dataclass import dataclass
from millrace.errors import AuthError, ConfigError

if TYPE_CHECKING:
    from millrace.control.home import Home

_KEY = "security"


@dataclass(frozen=True, slots=True)
class Security:
    """How people of a team may come in.

    ``allowed_addresses``: addresses and networks (CIDR) from which requests are taken; none: from everywhere.
    """

    two_factor_required: bool = False
    allowed_addresses: tuple[str, ...] = ()


def security(home: Home) -> Security:
    """The settings of the actor's team."""
    home.actor.must("view")
    return of_team(home, home.actor.team_id)


def change(home: Home, **changes: Any) -> Security:
    """The settings with those that are named changed. Raises ConfigError for a name or a value that cannot be."""
    home.actor.must("settings.edit")
    known = {field.name for field in fields(Security)}
    if unknown := sorted(changes.keys() - known):
        raise ConfigError(f"there is no setting {unknown[0]!r}", hint=f"Settings: {', '.join(sorted(known))}.",
                          path=unknown[0], code="unknown_key")  # fmt: skip
    old = of_team(home, home.actor.team_id)
    if "allowed_addresses" in changes:
        changes["allowed_addresses"] = _networks(changes["allowed_addresses"])
    new = replace(old, **changes)
    if new.allowed_addresses and home.actor.address is not None and not _allows(new, home.actor.address):
        raise ConfigError(
            f"your own address {home.actor.address} is not among those allowed: you would lock yourself out",
            path="allowed_addresses",
            code="locks_out",
        )
    team = home.actor.team_id
    with home.database.transaction() as connection:
        row: dict[str, Any] = {"team_id": team, "key": _KEY, "value": asdict(new), "changed_at": datetime.now(UTC)}
        upsert(connection, team_settings, [row], key=["team_id", "key"])
        wrote(home, "HIGH", Entity("team", team, "security"), "change", "how people may come in was changed",
              asdict(old), asdict(new))  # fmt: skip
    return new


def of_team(home: Home, team_id: str) -> Security:
    """The settings of a team, for whoever lets its people in."""
    mine = (team_settings.c.team_id == team_id, team_settings.c.key == _KEY)
    with home.database.reading() as connection:
        value = connection.execute(sa.select(team_settings.c.value).where(*mine)).scalar()
    known = {field.name for field in fields(Security)}
    held: dict[str, Any] = {key: part for key, part in (value or {}).items() if key in known}
    held["allowed_addresses"] = tuple(held.get("allowed_addresses", ()))
    return Security(**held)


def takes(home: Home, team_id: str, address: str | None) -> bool:
    """Whether the team takes requests from there; None: from this machine's operator."""
    return address is None or _allows(of_team(home, team_id), address)


def must_come_from(home: Home, team_id: str, address: str | None) -> None:
    """Raises AuthError "address" for a request from where the team takes none."""
    if takes(home, team_id, address):
        return
    raise AuthError(f"requests from {address} are not taken", hint="Ask an administrator of the team to allow it.",
                    code="address")  # fmt: skip


def _allows(settings: Security, address: str) -> bool:
    if not settings.allowed_addresses:
        return True
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return any(found in ipaddress.ip_network(network) for network in settings.allowed_addresses)


def _networks(texts: Iterable[str]) -> tuple[str, ...]:
    found: list[str] = []
    for text in texts:
        try:
            found.append(str(ipaddress.ip_network(text.strip(), strict=False)))
        except ValueError:
            raise ConfigError(f"{text[:80]!r} is neither an address nor a network",
                              hint="Write them like 192.0.2.7 or 2001:db8::/32.", path="allowed_addresses",
                              code="bad_address") from None  # fmt: skip
    return tuple(dict.fromkeys(found))
