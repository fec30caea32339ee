"""Canonical text and the identity hashed from it."""

from __future__ import annotations

import orjson
from hypothesis import given
from hypothesis import strategies as st

from millrace.simulators.clevertap.jsontext import Literal, canonical, dumps, event_id, exact

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def test_the_identity_of_an_event_without_properties():
    found = event_id("App Launched", "__7f3c0a51d2e84b6c9d10ab44e7f0c2aa", 20260314091455, None, None)
    assert found == "ef7d36fd90e804b60641dd04f08613f098b38c0cbade91bc6c37a4e9e89045a2"


def test_the_identity_of_a_charged_event():
    props, _ = exact('{"Items": [{"Quantity":1,"Name":"Kettle"}], "Currency":"EUR", "Amount":1299.5}')
    session, _ = exact('{"session_source":"Direct"}')
    found = event_id("Charged", "__7f3c0a51d2e84b6c9d10ab44e7f0c2aa", 20260314091502, props, session)
    assert found == "ad7fcfb427ece9be6b514ff8ba16a0f700c52621a78e909817bcc496ec2a9cb4"


def test_numbers_keep_the_form_in_which_they_came():
    for text in ("5149", "5149.0", "1.50", "1e3", "123456789012345678901234567890"):
        assert canonical(exact(text)[0]) == text
        assert isinstance(exact(text)[0], Literal)


@given(values)
def test_canonical_text_stands_for_the_same_value_and_is_its_own_canonical_text(value: object):
    text = canonical(exact(dumps(value).decode())[0])
    assert orjson.loads(text) == orjson.loads(dumps(value))
    assert canonical(exact(text)[0]) == text


def test_integers_of_any_size_are_written_exactly():
    assert dumps({"n": 2**80}) == b'{"n":1208925819614629174706176}'
    assert dumps(b'{"n": 1.50}') == b'{"n": 1.50}'
