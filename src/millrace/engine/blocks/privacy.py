# ruff: noqa: ARG002  every block is given the same
"""Blocks that hide personal data: hashes, masks, and tokens that whoever has the key can turn back."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable
from dataclasses import field
from typing import TYPE_CHECKING, Literal, TypeAlias

import pyarrow as pa
from pydantic import Field, model_validator

from millrace.data import types
from millrace.data.compute import pc
from millrace.data.dataclass import dataclass
from millrace.engine.blocks.block import Changed, Part, Passage, ValueBlock
from millrace.engine.blocks.digests import Algorithm
from millrace.engine.blocks.settings import wrong
from millrace.engine.blocks.taking import takes, text_of
from millrace.errors import ConfigError

if TYPE_CHECKING:
    from millrace.engine.blocks.script import Script

PREFIX = "tok_"
# The first byte of what a token hides, so that an empty text has something to hide, and forms may change.
_FORM = b"\x01"


@dataclass(frozen=True, slots=True)
class TokenKeys:
    """Keys of a workspace: 64 bytes for tokens (AES-256-SIV), and the secret from which named salts are made."""

    token: bytes = field(repr=False)
    salt: bytes = field(repr=False)

    def named_salt(self, name: str) -> bytes:
        """The salt of that name: always the same in this workspace, and unknown outside of it."""
        return hmac.digest(self.salt, name.encode(), "sha256")


class HashFieldsSettings(Part):
    algorithm: Algorithm = Field(default="SHA-256", description="The hash.")
    salt: str | None = Field(
        default=None,
        min_length=1,
        description="Text that makes it an HMAC. It is kept in the settings; better take salt_name.",
    )
    salt_name: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="Name of a salt that the workspace makes and keeps to itself.",
    )

    @model_validator(mode="after")
    def _one_salt(self) -> HashFieldsSettings:
        if self.salt is not None and self.salt_name is not None:
            raise wrong("a hash has one salt: 'salt' or 'salt_name'")
        return self


class HashFields(ValueBlock):
    """Values become hexadecimal digests of their text: plain, or, with a salt, by HMAC."""

    type: Literal["HASH_FIELDS"]
    settings: HashFieldsSettings = Field(default_factory=HashFieldsSettings)

    def changed(self, rows: pa.RecordBatch, name: str, passage: Passage) -> Changed | None:
        if not takes(rows.schema.field(name).type, "any"):
            return None
        found = text_of(rows.column(name))
        salt = self._salt(passage.keys)
        hidden = passage.digests(found.values, self.settings.algorithm, salt)
        return Changed(hidden, None, found.failed, found.message)

    def _salt(self, keys: TokenKeys | None) -> bytes | None:
        if self.settings.salt is not None:
            return self.settings.salt.encode()
        return None if self.settings.salt_name is None else given(keys, self.title).named_salt(self.settings.salt_name)

    def explain(self, script: Script) -> None:
        one = self.settings
        with script.fields(self, "any"):
            if one.salt_name is not None:
                script.impossible(f"{self.title} needs a salt of the workspace, which scripts have not.")
            elif one.salt is not None:
                value = f"{script.uses('salted')}(value, {script.literal(one.algorithm)}, {script.literal(one.salt)})"
                script.line(f"p[name] = {value}")
            else:
                script.line(f"p[name] = {script.uses('digest')}(value, {script.literal(one.algorithm)})")


class MaskFieldsSettings(Part):
    character: str = Field(default="*", min_length=1, max_length=1, description="What stands in place of a character.")
    keep_first: int = Field(default=0, ge=0, le=1000, description="Characters at the start that stay readable.")
    keep_last: int = Field(default=0, ge=0, le=1000, description="Characters at the end that stay readable.")


class MaskFields(ValueBlock):
    """Characters of a value's text are hidden. Where nothing would be hidden, all of it is."""

    type: Literal["MASK_FIELDS"]
    settings: MaskFieldsSettings = Field(default_factory=MaskFieldsSettings)

    def changed(self, rows: pa.RecordBatch, name: str, passage: Passage) -> Changed | None:
        if not takes(rows.schema.field(name).type, "any"):
            return None
        found = text_of(rows.column(name))
        first, last, texts = self.settings.keep_first, self.settings.keep_last, found.values
        stars = pc.replace_substring_regex(texts, "(?s).", self.settings.character.replace("\\", "\\\\"))
        if first or last:
            long = pc.greater(pc.utf8_length(texts), first + last)
            head = pc.utf8_slice_codeunits(texts, 0, first)
            middle = pc.utf8_slice_codeunits(stars, first, -last if last else None)
            tail = pc.utf8_slice_codeunits(texts, -last) if last else ""
            stars = pc.if_else(long, pc.binary_join_element_wise(head, middle, tail, ""), stars)
        return Changed(stars, None, found.failed, found.message)

    def explain(self, script: Script) -> None:
        one = self.settings
        how = f"{script.literal(one.character)}, {one.keep_first}, {one.keep_last}"
        with script.fields(self, "any"):
            script.line(f"p[name] = {script.uses('hidden')}(value, {how})")


class TokeniseFieldsSettings(Part):
    domain: str = Field(default="", max_length=200, description="Equal values have equal tokens within a domain.")


class TokeniseFields(ValueBlock):
    """Values become tokens: the same text is always the same token, and the workspace's key turns it back."""

    type: Literal["TOKENISE_FIELDS"]
    settings: TokeniseFieldsSettings = Field(default_factory=TokeniseFieldsSettings)

    def changed(self, rows: pa.RecordBatch, name: str, passage: Passage) -> Changed | None:
        if not takes(rows.schema.field(name).type, "any"):
            return None
        found = text_of(rows.column(name))
        tokens, _ = by_distinct(found.values, _sealing(given(passage.keys, self.title), self.settings.domain))
        return Changed(tokens, None, found.failed, found.message)

    def explain(self, script: Script) -> None:
        with script.fields(self, "any"):
            script.impossible(f"{self.title} needs a key of the workspace, which scripts have not.")


class DetokeniseFields(ValueBlock):
    """Tokens become the text that they stand for. Values that are no tokens stay; a token of another key or domain
    makes the event fail."""

    type: Literal["DETOKENISE_FIELDS"]
    settings: TokeniseFieldsSettings = Field(default_factory=TokeniseFieldsSettings)

    def changed(self, rows: pa.RecordBatch, name: str, passage: Passage) -> Changed | None:
        if not takes(rows.schema.field(name).type, "text"):
            return None
        texts = types.storage(rows.column(name))
        is_token = pc.starts_with(texts, PREFIX).fill_null(False)
        if not is_token.true_count:
            return None
        tokens = pc.if_else(is_token, texts, pa.scalar(None, pa.string()))
        values, bad = by_distinct(tokens, _opening(given(passage.keys, self.title), self.settings.domain))
        message = f"{name} is a token of another workspace or domain, or damaged."
        return Changed(values, pc.and_not(pc.invert(is_token), bad), bad if bad.true_count else None, message)

    def explain(self, script: Script) -> None:
        with script.fields(self, "text"):
            script.impossible(f"{self.title} needs a key of the workspace, which scripts have not.")


def given(keys: TokenKeys | None, title: str) -> TokenKeys:
    if keys is None:
        raise ConfigError(
            f"{title} needs the keys of a workspace, and there is none here.",
            hint="Run it in a pipeline, or with --home.",
            code="keys",
        )
    return keys


_Turn: TypeAlias = Callable[[str], str | None]


def by_distinct(texts: pa.Array, turn: _Turn) -> tuple[pa.Array, pa.BooleanArray]:
    """Each text turned, once for all that are the same, and which of them could not be."""
    encoded = texts.dictionary_encode()
    turned = [None if text is None else turn(text) for text in encoded.dictionary.to_pylist()]
    values = pa.array(turned, pa.string()).take(encoded.indices)
    return values, pc.and_(texts.is_valid(), values.is_null())


def _sealing(keys: TokenKeys, domain: str) -> _Turn:
    from cryptography.hazmat.primitives.ciphers.aead import AESSIV

    cipher, about = AESSIV(keys.token), [domain.encode()]

    def sealed(text: str) -> str:
        raw = cipher.encrypt(_FORM + text.encode(), about)
        return PREFIX + base64.urlsafe_b64encode(raw).decode().rstrip("=")

    return sealed


def _opening(keys: TokenKeys, domain: str) -> _Turn:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESSIV

    cipher, about = AESSIV(keys.token), [domain.encode()]

    def opened(token: str) -> str | None:
        written = token.removeprefix(PREFIX)
        try:
            raw = base64.b64decode(written + "=" * (-len(written) % 4), altchars=b"-_", validate=True)
            plain = cipher.decrypt(raw, about)
        except (ValueError, InvalidTag):
            return None
        return plain.removeprefix(_FORM).decode() if plain.startswith(_FORM) else None

    return opened
