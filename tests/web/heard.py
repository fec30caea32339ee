"""Every answer of a server as it leaves it, streams of events too, and the forms in which a text may be in one."""

from __future__ import annotations

import base64
import html
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, quote_plus


@dataclass
class Heard:
    """Between an application and its server: what is sent, with its headers, whoever asked for it and by which means.

    The files of the screens are left out: they are the package's, the same for everybody.
    """

    app: Any
    answers: list[tuple[str, bytearray]] = field(default_factory=list[tuple[str, bytearray]])
    going_on: int = 0
    """Answers that have not ended; streams of events are none of them."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/assets/"):
            await self.app(scope, receive, send)
            return
        said = bytearray()
        self.answers.append((f"{scope['method']} {scope['path']}", said))

        async def sent(message: Any) -> None:
            for name, value in message.get("headers", ()):
                said.extend(name + b": " + value + b"\n")
            said.extend(message.get("body", b""))
            await send(message)

        ends = not scope["path"].endswith("/events")
        self.going_on += ends
        try:
            await self.app(scope, receive, sent)
        finally:
            self.going_on -= ends


def forms(text: str) -> set[str]:
    """The text as it is, and as JSON, HTML, addresses, Base64 (wherever in a longer text it begins) and hex have it."""
    raw = text.encode()
    found = {text, json.dumps(text)[1:-1], html.escape(text), raw.hex(), raw.hex().upper()}
    found |= {quote(text, safe=""), quote(text), quote_plus(text), "".join(f"%{byte:02X}" for byte in raw)}
    found |= {"".join(f"%{byte:02x}" for byte in raw)}
    for before in range(3):
        # The characters that hold bits of this text alone.
        begins, ends = -(-before * 8 // 6), (before + len(raw)) * 8 // 6
        for alphabet in (base64.b64encode, base64.urlsafe_b64encode):
            found.add(alphabet(b"\0" * before + raw).decode()[begins:ends])
    return found
