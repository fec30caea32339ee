"""Hosts of servers as people write them: names, addresses, and IPv6 addresses with brackets or without."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator


def bare(hosts: str) -> str:
    """Hosts with commas between them, without the brackets of IPv6 addresses."""
    return ",".join(
        one[1:-1] if one.startswith("[") and one.endswith("]") else one for one in map(str.strip, hosts.split(","))
    )


def placed(host: str, port: int) -> str:
    """Host and port of one server as messages name it, and addresses have it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


Hosts = Annotated[str, AfterValidator(bare)]
