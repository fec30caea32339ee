"""An identity provider of the tests' own: OpenID Connect over a real socket, with real signatures, and with lies."""

from __future__ import annotations

import base64
import hmac
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import uuid4

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

CLIENT_ID = "millrace"
CLIENT_SECRET = "sso-secret:of/the client"
# Made once: a key of RSA takes its time.
KEY, OF_SOMEBODY_ELSE = (RSAKey.generate_key(2048, {"kid": "one"}) for _ in range(2))


@dataclass
class Provider:
    """What it says, and of whom. Tests change it to see what is believed."""

    issuer: str
    key: Any = field(default_factory=lambda: KEY)
    header: dict[str, str] = field(default_factory=lambda: {"alg": "RS256", "kid": "one"})
    signs_with: Any = None
    person: dict[str, Any] = field(
        default_factory=lambda: {"sub": "s-1", "email": "ada@example.com", "email_verified": True, "name": "Ada"}
    )
    claims: dict[str, Any] = field(default_factory=dict[str, Any])
    """What the ID token says beside, or in place of, what is right; None: it does not say that at all."""
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    userinfo: dict[str, Any] = field(default_factory=dict[str, Any])
    codes: dict[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    heard: list[str] = field(default_factory=list[str])

    def discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "authorization_response_iss_parameter_supported": True,
        } | self.metadata

    def authorize(self, asked: Mapping[str, str]) -> str:
        """Somebody has signed in here: where the browser goes back to."""
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT_ID
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        code = uuid4().hex
        self.codes[code] = asked
        return asked["redirect_uri"] + "?" + urlencode({"code": code, "state": asked["state"], "iss": self.issuer})

    def token(self, form: Mapping[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        asked = self.codes.pop(form.get("code", ""), None)
        pair = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        by_body = (form.get("client_id"), form.get("client_secret")) == (CLIENT_ID, CLIENT_SECRET)
        if authorization != f"Basic {pair}" and not by_body:
            return 401, {"error": "invalid_client"}
        challenge = base64.urlsafe_b64encode(sha256(form.get("code_verifier", "").encode()).digest()).decode()
        if (
            asked is None
            or asked["code_challenge"] != challenge.rstrip("=")
            or asked["redirect_uri"] != form["redirect_uri"]
        ):
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        right = {"iss": self.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": asked["nonce"]}
        said = {name: value for name, value in {**right, **self.person, **self.claims}.items() if value is not None}
        return 200, {"access_token": "at-1", "token_type": "Bearer", "id_token": self.signed(said)}

    def signed(self, claims: dict[str, Any]) -> str:
        if self.header["alg"] == "RS256" or self.header["alg"] == "ES256":
            return jwt.encode(self.header, claims, self.signs_with or self.key, algorithms=[self.header["alg"]])
        # What no library signs: not at all, or with a public key as if it were a secret.
        text = ".".join(_packed(json.dumps(part).encode()) for part in (self.header, claims))
        mark = b"" if self.header["alg"] == "none" else hmac.digest(self.signs_with, text.encode(), "sha256")
        return f"{text}.{_packed(mark)}"

    def rotate(self) -> None:
        """It signs with another key, of another kind."""
        self.key = ECKey.generate_key("P-256", {"kid": "two"})
        self.header = {"alg": "ES256", "kid": "two"}

    def signs_with_what_everybody_knows(self) -> None:
        """The public key as if it were a secret: a way to fool who takes any algorithm."""
        self.signs_with = self.key.as_pem(private=False)
        self.header = {"alg": "HS256", "kid": "one"}


def _packed(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


@contextmanager
def provider() -> Iterator[Provider]:
    """A provider that answers while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            found.heard.append(parts.path)
            if parts.path == "/authorize":
                asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
                self.send_response(302)
                self.send_header("Location", found.authorize(asked))
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            answers: dict[str, Any] = {
                "/.well-known/openid-configuration": found.discovery(),
                "/keys": {"keys": [found.key.as_dict(private=False)]},
                "/userinfo": found.userinfo,
            }
            self._answer(200 if parts.path in answers else 404, answers.get(parts.path, {}))

        def do_POST(self) -> None:
            found.heard.append(self.path)
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            self._answer(*found.token(form, self.headers.get("Authorization", "")))

        def _answer(self, status: int, body: Any) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Tests do not read it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Provider(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()
