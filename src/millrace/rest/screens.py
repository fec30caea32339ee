"""The screens of the web UI: built into `rest/web` by `make web`, served beside the APIs under a strict policy.

Whatever no route answers and a browser asks for is a screen: one page draws them all.
"""

from __future__ import annotations

import mimetypes
import secrets
from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

FOLDER = Path(__file__).with_name("web")

# In the place of this the page carries a value that is good for one answer (web/vite.config.ts).
NONCE = "__CSP_NONCE__"

# Names of built files hold a checksum of what is in them, so that they never change.
_BUILT = "assets/"
_LASTING = "public, max-age=31536000, immutable"

# How files may be packed beside themselves (web/tools/pack.mjs), the smallest first.
_PACKED = (("br", ".br"), ("gzip", ".gz"))

# What belongs to programs: their words, whoever asks.
_PROGRAMS = ("api", "healthz", "readyz", "metrics", "hooks", "track")

_UNBUILT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Millrace</title></head>
<body>
<h1>The screens are not built</h1>
<p>Millrace runs, and its API answers below <code>/api</code>. It was installed without its screens.</p>
<p>In a checkout of its repository: run <code>make web</code>, and load this address again. Where a package was
installed: its wheel was built before <code>make web</code>. Build it again after that, install it, and start the server
again.</p>
</body></html>
"""


UNBUILT = (
    "There are no screens: this Millrace was installed without them, and a browser is told so. The API answers. "
    "Run `make web` in the checkout; a wheel must be built after that."
)
"""What whoever starts a server without screens is told."""


def built(folder: Path = FOLDER) -> bool:
    """There are screens to show."""
    return (folder / "index.html").is_file()


class Screens:
    """Answers what nothing else does; what is no screen either goes on to ``otherwise``."""

    def __init__(self, otherwise: ASGIApp, folder: Path = FOLDER) -> None:
        self._otherwise = otherwise
        self._folder = folder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._answer(Request(scope)) if scope["type"] == "http" else None
        await (answer or self._otherwise)(scope, receive, send)

    def _answer(self, request: Request) -> Response | None:
        path = request.url.path.lstrip("/")
        if request.method not in ("GET", "HEAD") or path.partition("/")[0] in _PROGRAMS:
            return None
        if (file := self._file(path)) is not None:
            return _sent(file, path, request.headers.get("accept-encoding", ""))
        # A file of a version that was there before is gone: the page that asks for it loads itself again.
        if path.startswith(_BUILT) or (path and "text/html" not in request.headers.get("accept", "")):
            return None
        page = _page(self._folder)
        if page is None:
            return HTMLResponse(_UNBUILT, 503)
        nonce = secrets.token_urlsafe(16)
        return HTMLResponse(page.replace(NONCE, nonce), headers={"Content-Security-Policy": policy(nonce)})

    def _file(self, path: str) -> Path | None:
        """The built file of that name; None where there is none, or the path leads out of the folder."""
        try:
            file = (self._folder / path).resolve()
            return file if path != "index.html" and file.is_relative_to(self._folder) and file.is_file() else None
        except (OSError, ValueError):  # no file can have that name
            return None


def join(app: FastAPI) -> None:
    """The screens are at all addresses of the application that are nothing else."""
    app.router.default = Screens(app.router.default)


def policy(nonce: str) -> str:
    """What the page may load: from here alone, scripts from files and never from its own text."""
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            f"style-src 'self' 'nonce-{nonce}'",
            "img-src 'self'",
            "font-src 'self'",
            "connect-src 'self'",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        )
    )


def _page(folder: Path) -> str | None:
    """The page as it is built now: its files have other names after another build."""
    file = folder / "index.html"
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _sent(file: Path, path: str, accepted: str) -> Response:
    headers = {"Cache-Control": _LASTING if path.startswith(_BUILT) else "no-cache", "Vary": "Accept-Encoding"}
    kind = mimetypes.guess_type(file.name)[0]
    for coding, ending in _PACKED:
        packed = file.with_name(file.name + ending)
        if coding in accepted and packed.is_file():
            return FileResponse(packed, media_type=kind, headers=headers | {"Content-Encoding": coding})
    return FileResponse(file, media_type=kind, headers=headers)
