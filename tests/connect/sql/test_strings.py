"""What connection strings say, and how hosts are written."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict
from pydantic import ValidationError

from millrace.connect.sql import libpq
from millrace.control.secrecy import secrets
from millrace.sources.mongodb.config import Config as MongoDB
from millrace.sources.mysql.config import Config as MySQL
from millrace.sources.postgres.config import Config as Postgres

WHO: dict[str, Any] = {"db_name": "shop", "db_user": "reader", "db_password": "p"}


def said(config: Any, *names: str) -> tuple[Any, ...]:
    return tuple(getattr(config, name) for name in ("db_host", "db_port", "db_name", "db_user", "password", *names))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("postgresql://reader:p%40s@db.example.com/shop", ("db.example.com", 5432, "shop", "reader", "p@s", None)),
        (
            "postgres://r%3Aeader:p@[2001:db8::1]:6432/shop?sslmode=require",
            ("2001:db8::1", 6432, "shop", "r:eader", "p", "require"),
        ),
        ("postgres://reader:p@a:5433,b:5433/shop", ("a,b", 5433, "shop", "reader", "p", None)),
        ("host=a dbname=shop user=reader password='a b' port=1", ("a", 1, "shop", "reader", "a b", None)),
    ],
)
def test_a_string_of_libpq_says_the_settings(text: str, found: tuple[Any, ...]) -> None:
    assert said(Postgres.model_validate({"connection_string": text}), "ssl_mode") == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("mysql://reader:p%2Fs@db.example.com/shop", ("db.example.com", 3306, "shop", "reader", "p/s", None)),
        (
            "mariadb://reader:@[::1]:3307/shop?ssl-mode=VERIFY_CA",
            ("::1", 3307, "shop", "reader", "", "verify_ca"),
        ),
    ],
)
def test_a_string_of_mysql_says_the_settings(text: str, found: tuple[Any, ...]) -> None:
    assert said(MySQL.model_validate({"connection_string": text}), "ssl_mode") == found


@pytest.mark.parametrize(
    ("config", "given", "words"),
    [
        (Postgres, {"connection_string": "postgres://r:hidden@h/d?sslrootcert=/etc/passwd"}, "give the file as ssl_ca"),
        (Postgres, {"connection_string": "postgres://r:hidden@h/d?channel_binding=require"}, "option channel_binding"),
        (Postgres, {"connection_string": "postgres://r:hidden@h/d?passfile=/x"}, "option passfile"),
        (Postgres, {"connection_string": "hidden"}, "none of PostgreSQL's"),
        (Postgres, {"connection_string": "postgres://r:hidden@h"}, "db_name is missing"),
        (Postgres, {"connection_string": "postgres://r@h/d"}, "db_password is missing"),
        (Postgres, {"connection_string": "postgres://r:hidden@a:1,b:2/d"}, "several ports"),
        (Postgres, {"connection_string": "postgres://r:hidden@h/d", "db_host": "g"}, "db_host is part of"),
        (Postgres, {"connection_string": "postgres://r:hidden@h:99999/d"}, "65535"),
        (Postgres, WHO, "db_host is missing"),
        (MySQL, {"connection_string": "postgres://r:hidden@h/d"}, "none of MySQL's"),
        (MySQL, {"connection_string": "mysql://r:hidden@h/d?charset=latin1"}, "option charset"),
        (MySQL, {"connection_string": "mysql://r:hidden@h/d?ssl-mode=never"}, "ssl_mode"),
        (MySQL, WHO, "db_host is missing"),
    ],
)
def test_what_is_wrong_with_a_string_is_told_without_it(config: Any, given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words) as raised:
        config.model_validate(given)
    assert "hidden" not in str(raised.value)


def test_a_string_beside_settings_that_say_the_same_is_no_contradiction() -> None:
    text = "postgres://reader:p@h/shop"
    assert said(Postgres.model_validate({"connection_string": text, "db_host": "h", **WHO}))[0] == "h"


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_an_address_of_ipv6_may_stand_in_brackets_and_does_in_messages(host: str) -> None:
    postgres, mysql = Postgres(db_host=host, **WHO), MySQL(db_host=host, **WHO)
    mongo = MongoDB.model_validate({"db_host": "[::1]:27018"})
    assert (postgres.where, mysql.place("MySQL")) == ("PostgreSQL at [::1]:5432/shop", "MySQL at [::1]:3306/shop")
    assert mongo.where == "MongoDB at [::1]:27018"
    assert mysql.db_host == "::1"
    uri = conninfo_to_dict(libpq.uri(postgres))
    assert (uri["host"], uri["port"], uri["dbname"], uri["password"]) == ("::1", "5432", "shop", "p")


@pytest.mark.parametrize("text", ["postgres://r:p%40ss@h/d", "host=h password='p@ss' user=r", "mysql://r:p%40ss@h/d"])
def test_the_password_in_a_string_is_taken_out_of_texts_too(text: str) -> None:
    assert secrets.redact("the server said p@ss and p%40ss", secrets.texts(text)) == "the server said *** and ***"
