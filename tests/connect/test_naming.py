"""Names at a destination: the tables of loading.md 10 and 11, and the laws behind them."""

from __future__ import annotations

import hashlib
import re
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.connect.naming import Case, Rules, Taken, compress, sanitize, unique
from millrace.errors import ConfigError


@pytest.mark.spec("loading.21.3")
@pytest.mark.parametrize(
    ("name", "lower", "upper"),
    [
        ("Table$namE_05_", "table_name_05", "TABLE_NAME_05"),
        ("_Table$namE_05_", "_table_name_05", "_TABLE_NAME_05"),
        ("first name", "first_name", "FIRST_NAME"),
        ("order#", "order", "ORDER"),
        ("Montréal", "montr_al", "MONTR_AL"),
        ("Montre\u0301al", "montr_al", "MONTR_AL"),
        ("a--b", "a__b", "A__B"),
        ("###", "_", "_"),
        ("", "_", "_"),
    ],
)
def test_classic_rules_put_an_underscore_for_each_other_character(name: str, lower: str, upper: str) -> None:
    assert sanitize(name, rules="classic", case="lower", table=False) == lower
    assert sanitize(name, rules="classic", case="upper", table=True) == upper


def test_classic_rules_leave_the_case_where_the_destination_keeps_it() -> None:
    assert sanitize("Order No.", rules="classic", case="keep", table=False) == "Order_No"


@pytest.mark.spec("loading.21.3")
@pytest.mark.parametrize(
    ("name", "column", "table"),
    [
        ("Montréal report", "montreal_report", "montreal_report"),
        ("first name", "first_name", "first_name"),
        ("total$amount", "total_amount", "total_amount"),
        ("OrderItems", "order_items", "order_items"),
        ("customerID2", "customer_id_2", "customer_id_2"),
        ("HTTPServer", "http_server", "http_server"),
        ("2ndAddress", "_2_nd_address", "_2_nd_address"),
        ("_orders", "_orders", "orders"),
        ("__orders", "_orders", "orders"),
        ("Straße Øst Łódź", "strasse_ost_lodz", "strasse_ost_lodz"),
        ("ALLCAPS", "allcaps", "allcaps"),
        ("order#", "order_", "order_"),
        ("日本", "_", "_"),
        ("", "_", "_"),
    ],
)
def test_edge_rules_split_words_and_strip_accents(name: str, column: str, table: str) -> None:
    assert sanitize(name, rules="edge", case="lower", table=False) == column
    assert sanitize(name, rules="edge", case="lower", table=True) == table
    assert sanitize(name, rules="edge", case="keep", table=False) == column
    assert sanitize(name, rules="edge", case="upper", table=False) == column.upper()


@given(st.text(), st.sampled_from(get_args(Rules)), st.sampled_from(get_args(Case)), st.booleans())
def test_sanitizing_again_changes_nothing_and_leaves_valid_characters(
    name: str, rules: Rules, case: Case, table: bool
) -> None:
    clean = sanitize(name, rules=rules, case=case, table=table)
    assert re.fullmatch("[A-Za-z0-9_]+", clean)
    assert sanitize(clean, rules=rules, case=case, table=table) == clean
    if case == "upper":
        assert clean == clean.upper()
    if case == "lower" or (case == "keep" and rules == "edge"):
        assert clean == clean.lower()
    if rules == "edge":
        assert "__" not in clean and not clean[0].isdigit()


PHONE = "organization_vertical_geography_zone_country_department_contact_home_phone"
ADDRESS = "organization_vertical_geography_zone_country_department_contact_home_address"
LAST_WORD = "this_table_name_is_too_long_andTheLastWordIsLongerThanTheLimitByItself"
WORDS = "this_is_a_very_long_table_name_that_must_be_abbreviated_for_the_destination"


@pytest.mark.spec("loading.21.3")
@pytest.mark.parametrize(
    ("name", "limit", "expected"),
    [
        (PHONE, 63, "orgnztn_vrtcl_ggrphy_zone_country_department_contact_home_phone"),
        (ADDRESS, 63, "orgnztn_vrtcl_ggrphy_zn_country_department_contact_home_address"),
        (LAST_WORD, 40, "dTheLastWordIsLongerThanTheLimitByItself"),
        (WORDS, 40, "t_i_a_v_l_t_n_t_m_b_a_f_the_destination"),
        ("it_fits", 7, "it_fits"),
    ],
)
def test_a_name_is_compressed_by_the_first_strategy_that_fits(name: str, limit: int, expected: str) -> None:
    assert compress(name, limit, Taken(), count_bytes=False) == expected
    assert compress(name, limit, Taken(), count_bytes=True) == expected


def test_the_steps_of_compression_in_their_order() -> None:
    name = "alpha_beta_gamma"
    digest = hashlib.sha256(name.encode()).hexdigest()
    expected = [
        "alph_beta_gamma",  # 3
        "alph_bt_gamma",
        "a_beta_gamma",  # 4
        "a_b_gamma",
        "beta_gamma",  # 5
        "gamma",
        "lpha_beta_gamma",  # 6
        f"alpha_be_{digest[:6]}",  # 7
        f"alpha__{digest[:8]}",
        f"al_{digest[:12]}",
        "lpha_beta_gam_1",  # nothing else is left
    ]
    taken = Taken()
    for wanted in expected:
        got = compress(name, 15, taken, count_bytes=False)
        assert got == wanted
        taken.add(got)


def test_bytes_are_counted_where_the_vendor_counts_bytes() -> None:
    name = "é" * 40
    assert compress(name, 63, Taken(), count_bytes=False) == name
    assert compress(name, 63, Taken(), count_bytes=True) == "é" * 31
    assert unique(name, Taken([name]), 63, count_bytes=True) == "é" * 30 + "_1"


def test_two_names_that_collide_get_numbers_in_order_of_discovery() -> None:
    taken = Taken()
    for wanted in ("name", "name_1", "name_2"):
        assert unique("name", taken, 63, count_bytes=False) == wanted
        taken.add(wanted)
    assert unique("NAME", taken, 63, count_bytes=False) == "NAME_3"
    assert unique("name", Taken(["name"]), 5, count_bytes=False) == "nam_1"


def test_no_free_name_is_an_error_with_a_hint() -> None:
    taken = Taken(["ab", "a_1", *(f"_{n}" for n in range(10))])
    with pytest.raises(ConfigError) as caught:
        unique("ab", taken, 2, count_bytes=False)
    assert caught.value.hint


names = st.text(st.sampled_from("aeiouxyz_é日A1"), min_size=1, max_size=120)


@given(st.lists(names, min_size=1, max_size=20), st.integers(12, 70), st.booleans())
def test_names_of_one_scope_are_distinct_and_within_the_limit(found: list[str], limit: int, count_bytes: bool) -> None:
    taken, before = Taken(), set[str]()
    for name in found:
        short = compress(name, limit, taken, count_bytes=count_bytes)
        given_ = unique(short, taken, limit, count_bytes=count_bytes)
        assert 0 < len(given_.encode() if count_bytes else given_) <= limit
        assert given_.casefold() not in before
        assert compress(name, limit, taken, count_bytes=count_bytes) == short
        taken.add(given_)
        before.add(given_.casefold())
