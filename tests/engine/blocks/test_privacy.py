"""Hashes with salt, masks and tokens."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.data.batch import Batch
from millrace.engine.blocks import digests
from millrace.engine.blocks.digests import Digests
from millrace.engine.blocks.explain import explain
from millrace.engine.blocks.model import parse
from millrace.engine.blocks.privacy import TokenKeys
from millrace.engine.blocks.step import BlockStep
from millrace.engine.steps import Stepped
from millrace.errors import ConfigError

KEYS = TokenKeys(token=bytes(range(64)), salt=b"s" * 32)
OTHERS = TokenKeys(token=bytes(64), salt=b"t" * 32)
HIDE = {"type": "TOKENISE_FIELDS"}
SHOW = {"type": "DETOKENISE_FIELDS"}


def stepped(block: dict[str, Any], values: list[Any], keys: TokenKeys | None = KEYS) -> Stepped:
    return BlockStep(parse([block]), keys=keys).apply(Batch("users", pa.record_batch({"v": values})))


def column(block: dict[str, Any], values: list[Any], keys: TokenKeys | None = KEYS) -> list[Any]:
    (output,) = stepped(block, values, keys).outputs
    return output.rows.column("v").to_pylist()


@given(st.lists(st.none() | st.text(max_size=20), min_size=1, max_size=5).filter(any))
def test_tokens_turn_back_into_their_text(values: list[str | None]) -> None:
    tokens = column(HIDE, values)
    assert all((token is None) == (value is None) for token, value in zip(tokens, values, strict=True))
    assert column(SHOW, tokens) == values


def test_equal_values_have_equal_tokens_in_a_domain_and_others_elsewhere() -> None:
    one, two, other = column(HIDE, ["a", "a", "b"])
    assert one == two != other
    assert one.startswith("tok_")
    assert column({**HIDE, "settings": {"domain": "crm"}}, ["a"]) != [one]
    assert column(HIDE, ["a"], OTHERS) != [one]


def test_numbers_are_tokens_of_their_text() -> None:
    assert column(SHOW, column(HIDE, [12, None, -3])) == ["12", None, "-3"]


def test_what_is_no_token_stays_and_a_foreign_token_refuses_its_event() -> None:
    (mine,), (foreign,) = column(HIDE, ["a"]), column(HIDE, ["a"], OTHERS)
    found = stepped(SHOW, [mine, "plain", foreign, None, "tok_%%", mine[:-1]])
    assert found.outputs[0].rows.column("v").to_pylist() == ["a", "plain", None]
    assert [row for row, _, _ in found.refused] == [2, 4, 5]
    assert {code for _, code, _ in found.refused} == {"TRANSFORM_ERROR"}
    assert found.refused[0][2].startswith("block b1 (DETOKENISE_FIELDS): v is a token of another")


@pytest.mark.parametrize("block", [HIDE, {"type": "HASH_FIELDS", "settings": {"salt_name": "crm"}}])
def test_without_keys_a_block_that_needs_them_says_so(block: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="needs the keys of a workspace"):
        stepped(block, ["a"], None)


def test_keys_are_not_in_what_is_shown() -> None:
    assert repr(KEYS) == "TokenKeys()"


def test_a_salt_makes_the_hash_an_hmac() -> None:
    (found,) = column({"type": "HASH_FIELDS", "settings": {"algorithm": "SHA-256", "salt": "pepper"}}, ["a"])
    assert found == hmac.new(b"pepper", b"a", "sha256").hexdigest()


def test_a_named_salt_is_the_workspaces_own() -> None:
    block = {"type": "HASH_FIELDS", "settings": {"salt_name": "crm"}}
    (one,) = column(block, ["a"])
    assert one == hmac.new(hmac.new(b"s" * 32, b"crm", "sha256").digest(), b"a", "sha256").hexdigest()
    assert [one] != column(block, ["a"], OTHERS)
    assert [one] != column({"type": "HASH_FIELDS", "settings": {"salt_name": "shop"}}, ["a"])


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-1", "SHA-256", "SHA-512"])
def test_many_values_are_hashed_as_few_are(algorithm: digests.Algorithm) -> None:
    some = ["", "a", None, "straße", "x" * 200, "日本"]
    values = pa.array(some * (digests.MANY // len(some) + 1))
    many = Digests()
    found = many(values, algorithm)
    name = {"MD5": "md5"}.get(algorithm, algorithm.replace("-", "").lower())
    expected = [None if one is None else hashlib.new(name, one.encode()).hexdigest() for one in some]
    assert found.slice(0, len(some)).to_pylist() == expected
    assert found.slice(len(some) * 7, len(some)).to_pylist() == expected
    assert len(found) == len(values)
    many.close()
    many.close()


def test_a_mask_that_would_hide_nothing_hides_all() -> None:
    block = {"type": "MASK_FIELDS", "settings": {"keep_first": 2, "keep_last": 2}}
    assert column(block, ["12345678", "12345", "1234", "é", "", None]) == ["12****78", "12*45", "****", "*", "", None]


@pytest.mark.parametrize("block", [HIDE, SHOW, {"type": "HASH_FIELDS", "settings": {"salt_name": "crm"}}])
def test_a_block_that_needs_keys_fails_events_in_a_script(block: dict[str, Any]) -> None:
    script = explain(parse([block]))
    assert "raise ValueError(" in script
    assert "of the workspace, which scripts have not." in script
