"""Every type at its ends is the same whether it comes from the log or from a query."""

from __future__ import annotations

from typing import Any

import pytest
from tests.mariadb import Database
from tests.sources.mysql.log.site import Site, shop, site
from tests.sources.mysql.test_mysql import VALUES

__all__ = ["shop", "site"]

# What the same types are besides: how text is written of other sets, what is compressed, old and odd moments.
MORE: dict[str, tuple[str, tuple[str, str], tuple[str | None, str | None]]] = {
    "d_small": ("decimal(9,9)", ("-0.999999999", "0.000000001"), ("-.999999999", ".000000001")),
    "d_mid": ("decimal(18,0)", ("-999999999999999999", "7"), ("-999999999999999999", "7")),
    "d_wide": ("decimal(38,10)", ("-1234567890123456789012345678.0123456789", "0"),
               ("-1234567890123456789012345678.0123456789", "0.0000000000")),
    "d_unsigned": ("decimal(5,1) unsigned", ("9999.9", "0"), ("9999.9", "0.0")),
    "d_umedium": ("mediumint", ("-8388608", "8388607"), ("-8388608", "8388607")),
    "d_gbk": ("varchar(9) character set gbk", ("'中文'", "''"), ("中文", "")),
    "d_ucs": ("varchar(9) character set ucs2", ("'Ωx'", "'a'"), ("Ωx", "a")),
    "d_koi": ("char(9) character set koi8r", ("'Привет'", "'x'"), ("Привет", "x")),
    "d_dec": ("text character set dec8", ("'é'", "'x'"), ("é", "x")),
    "d_packed": ("text compressed", ("repeat('né', 500)", "'a'"), ("né" * 500, "a")),
    "d_enum": ("enum('é','b') character set latin1", ("'é'", "'b'"), ("é", "b")),
    "d_set": (f"set({','.join(repr(f's{n}') for n in range(64))})", ("'s0,s63'", "'s5'"), ("s0,s63", "s5")),
    "d_tenths": ("datetime(1)", ("'2024-02-29 23:59:59.9'", "'1000-01-01 00:00:00.1'"),
                 ("2024-02-29 23:59:59.9", "1000-01-01 00:00:00.1")),
    "d_thousandths": ("timestamp(3) null", ("'2001-09-09 01:46:40.123'", "'2033-05-18 03:33:20'"),
                      ("2001-09-09 01:46:40.123+00", "2033-05-18 03:33:20+00")),
    "d_clock": ("time(2)", ("'23:59:59.99'", "'00:00:00.01'"), ("23:59:59.99", "00:00:00.01")),
    "d_year": ("year", ("0", "1901"), ("0", "1901")),
    "d_bits": ("bit(64)", ("b'1'", "x'ffffffffffffffff'"), ("\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01",
               "\\xFF\\xFF\\xFF\\xFF\\xFF\\xFF\\xFF\\xFF")),
    "d_shape": ("geometry", ("ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0),(0 0,0.5 0,1 1e20,0 0))')",
                "ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 2),MULTIPOINT(1 2,3 4),MULTILINESTRING((0 0,1 1)),"
                "MULTIPOLYGON(((0 0,1 0,1 1,0 0))))')"), (None, None)),
    "d_inet_four": ("inet4", ("'1.2.3.4'", "'0.0.0.0'"), ("1.2.3.4", "0.0.0.0")),
    "d_inet_six": ("inet6", ("'::ffff:1.2.3.4'", "'::'"), ("::ffff:1.2.3.4", "::")),
}  # fmt: skip


@pytest.mark.parametrize("told", ["NO_LOG", "FULL"])
def test_every_type_is_the_same_from_the_log_as_from_a_query(site: Site, shop: Database, told: str) -> None:
    every = VALUES | MORE
    listed = ", ".join(f"{name} {type_}" for name, (type_, _, _) in every.items())

    def inserts(first: int) -> list[str]:
        return [
            f"INSERT IGNORE INTO zoo VALUES ({first + row}, {', '.join(given[row] for _, given, _ in every.values())})"
            for row in range(2)
        ] + [f"INSERT INTO zoo (id) VALUES ({first + 2})"]

    before = shop.run("SELECT @@GLOBAL.binlog_row_metadata")[0][0]
    shop.run(
        f"CREATE TABLE zoo (id int PRIMARY KEY, {listed}) CHARACTER SET utf8mb4",
        *inserts(0),
        f"SET GLOBAL binlog_row_metadata = {told}",
    )
    try:
        site.create()
        site.run()
        shop.run(*inserts(10))
        record = site.run()
    finally:
        shop.run(f"SET GLOBAL binlog_row_metadata = {before}")
    assert record.balance.read == 3 and not record.balance.rejected
    names = ", ".join(f"CAST({name} AS VARCHAR)" for name in every)
    asked, followed = (
        [
            dict(zip(every, row, strict=True))
            for row in site.query(f"SELECT {names} FROM zoo WHERE id {which} ORDER BY id")
        ]
        for which in ("< 10", ">= 10")
    )
    different: dict[str, Any] = {
        name: [one[name] for one in (*asked, *followed)]
        for name in every
        if [one[name] for one in asked] != [one[name] for one in followed]
    }
    assert different == {}
    told_: dict[str, Any] = {name: wanted for name, (_, _, wanted) in MORE.items() if any(wanted)}
    zone = {"d_thousandths"}
    assert {name: tuple(one[name] for one in followed[:2]) for name in told_ if name not in zone} == {
        name: wanted for name, wanted in told_.items() if name not in zone
    }
