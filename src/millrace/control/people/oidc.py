"""One side of OpenID Connect: what is asked of a provider, and what is believed of its answers.

Sources: OpenID Connect Core 1.0 (3.1, 5.1) and Discovery 1.0 (3, 4), https://openid.net/specs/; PKCE, RFC 7636;
the issuer in answers, RFC 9207.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from millrace.connect.http.client import may_be_plain
from millrace.connect.http.dialing import tls
from millrace.connect.http.guard import from_httpx, guarded
from millrace.connect.reach import Reach, web_url
from millrace.control.people.vouching import LEEWAY_S, Identity, refused
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError

TIMEOUT_S = 10.0
SCOPE = "openid email profile"
# Signatures with a public key: with HS256 the secret of the client would be one, and "none" is none.
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


@dataclass(frozen=True, slots=True)
class Provider:
    """What a provider says of itself."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None
    posts_secret: bool
    """It takes the secret of the client in the body alone, not by basic authentication."""
    names_itself: bool
    """Its answers say whose they are (RFC 9207)."""


@dataclass(frozen=True, slots=True)
class Client:
    """What a provider knows us as, and where it sends people back to."""

    id: str
    secret: str
    redirect_uri: str


@dataclass(frozen=True, slots=True)
class Journey:
    """What binds the two halves of one sign-on together. All of it follows from what one browser alone holds."""

    state: str
    nonce: str
    verifier: str


def discover(issuer: str, reach: Reach) -> Provider:
    """What the provider says of itself. Raises ConfigError when that cannot be, Transient when nobody answers."""
    url = issuer.rstrip("/") + "/.well-known/openid-configuration"
    _checked(url)
    with _http(reach) as http:
        found = _json(http, url)
    if found.get("issuer") != issuer:
        raise _odd(f"{url} speaks for {str(found.get('issuer'))[:200]!r}, not for {issuer!r}")
    methods = found.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
    try:
        return Provider(
            issuer,
            _checked(found["authorization_endpoint"]),
            _checked(found["token_endpoint"]),
            _checked(found["jwks_uri"]),
            _checked(found["userinfo_endpoint"]) if found.get("userinfo_endpoint") else None,
            "client_secret_basic" not in methods,
            bool(found.get("authorization_response_iss_parameter_supported")),
        )
    except KeyError as missing:
        raise _odd(f"{url} does not say its {missing.args[0]}") from None


def address(provider: Provider, client: Client, journey: Journey, hint: str | None) -> str:
    """Where the browser goes to sign in there; ``hint`` is the e-mail address that was typed."""
    more = {"login_hint": hint} if hint else {}
    return prepare_grant_uri(
        provider.authorization_endpoint,
        client.id,
        "code",
        redirect_uri=client.redirect_uri,
        scope=SCOPE,
        state=journey.state,
        nonce=journey.nonce,
        code_challenge=create_s256_code_challenge(journey.verifier),
        code_challenge_method="S256",
        **more,
    )


def identity(provider: Provider, client: Client, journey: Journey, answer: Mapping[str, str], reach: Reach) -> Identity:
    """Whom the provider's answer vouches for: its state is ours, its code buys a token, and the token is signed by
    the provider, for us, for this journey, now.

    Raises AuthError "sign_on" for everything that is not so.
    """
    if not hmac.compare_digest(answer.get("state", "").encode("utf-8", "surrogatepass"), journey.state.encode()):
        raise refused("it was not begun in this browser")
    if ("iss" in answer or provider.names_itself) and answer.get("iss") != provider.issuer:
        raise refused("the answer is another provider's")
    if error := answer.get("error"):
        raise refused(f"the provider says {error[:80]!r}")
    if not answer.get("code"):
        raise refused("the provider sent no code")
    with _http(reach) as http:
        token = _token(http, provider, client, journey, answer["code"])
        claims = _claims(http, provider, client, journey, token)
        told = claims
        if "email" not in claims and provider.userinfo_endpoint:
            told = _json(http, provider.userinfo_endpoint, f"Bearer {token.get('access_token')}")
            if told.get("sub") != claims["sub"]:
                raise refused("the provider speaks of two people")
    if told.get("email_verified") not in (True, "true") or not isinstance(told.get("email"), str):
        raise refused("the provider has not verified the e-mail address")
    return Identity(told["email"], str(told.get("name") or ""))


def _token(http: httpx.Client, provider: Provider, client: Client, journey: Journey, code: str) -> Mapping[str, Any]:
    """What the code buys."""
    asked = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": client.redirect_uri,
        "code_verifier": journey.verifier,
    }
    auth = ClientAuth(client.id, client.secret, "client_secret_post" if provider.posts_secret else None)
    form = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    url, headers, body = auth.prepare("POST", provider.token_endpoint, form, urlencode(asked))
    try:
        answer = http.post(url, headers=headers, content=body)
    except httpx.HTTPError as error:
        raise from_httpx(error, _host(provider.token_endpoint)) from None
    try:
        found = answer.json()
    except ValueError:
        found = None
    if not isinstance(found, dict) or answer.status_code != 200:
        said = found.get("error") if isinstance(found, dict) else answer.status_code
        raise refused(f"the provider does not take the code: {str(said)[:80]}")
    return found


def _claims(
    http: httpx.Client, provider: Provider, client: Client, journey: Journey, token: Mapping[str, Any]
) -> Mapping[str, Any]:
    """What the ID token says, once everything about it was found to be right (Core 3.1.3.7)."""
    rules = jwt.JWTClaimsRegistry(
        leeway=LEEWAY_S,
        iss={"essential": True, "value": provider.issuer},
        aud={"essential": True, "value": client.id},
        exp={"essential": True},
        iat={"essential": True},
        sub={"essential": True},
        nonce={"essential": True, "value": journey.nonce},
    )
    try:
        keys = KeySet.import_key_set(_json(http, provider.jwks_uri))  # pyright: ignore[reportArgumentType]  # checked there
        claims = jwt.decode(str(token["id_token"]), keys, algorithms=ALGORITHMS).claims
        rules.validate(claims)
    except (JoseError, ValueError, KeyError, TypeError) as wrong:
        raise refused(f"the provider's token is not right ({type(wrong).__name__})") from None
    several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if (several or "azp" in claims) and claims.get("azp") != client.id:
        raise refused("the provider's token is for somebody else")
    return claims


def _json(http: httpx.Client, url: str, authorization: str | None = None) -> dict[str, Any]:
    headers = {"Authorization": authorization} if authorization else None
    try:
        answer = http.get(url, headers=headers)
        found = answer.json() if answer.status_code == 200 else None
    except httpx.HTTPError as error:
        raise from_httpx(error, _host(url)) from None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise _odd(f"{url} does not answer as a provider of OpenID Connect does")
    return found


def _http(reach: Reach) -> httpx.Client:
    """Administrators of teams aim these requests, so they are guarded."""
    transport = guarded(httpx.HTTPTransport(verify=tls()), reach.web)
    return httpx.Client(transport=transport, trust_env=False, timeout=TIMEOUT_S, follow_redirects=False)


def _checked(url: Any) -> str:
    """The URL, when it is one that secrets may go to."""
    parts = web_url(url) if isinstance(url, str) else None
    if parts is None or parts.username:
        raise _odd(f"{str(url)[:200]!r} is no URL of a provider")
    if parts.scheme == "http" and not may_be_plain(parts.hostname or ""):
        raise _odd(f"{str(url)[:200]!r} is not encrypted")
    return str(url)


def _host(url: str) -> str:
    return urlsplit(url).hostname or url


def _odd(what: str) -> ConfigError:
    return ConfigError(
        what, hint="Give the issuer as the provider writes it: https, and the same slashes.", path="issuer",
        code="bad_provider",
    )  # fmt: skip
