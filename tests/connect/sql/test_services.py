"""Services that run databases: defaults, guides, and what they do not let anybody do."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from pydantic import ValidationError

from millrace.connect import registry
from millrace.connect.source import Variant
from millrace.control.operations.connections import SOURCES

WHO = {"db_host": "db.example.com", "db_name": "shop", "db_user": "reader", "db_password": "p"}
FAMILIES = ("postgres", "mysql")
EVERY = [(family, one) for family in FAMILIES for one in registry.source(family).variants]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_setting_has_every_service_that_the_source_knows(family: str) -> None:
    found: Any = registry.source(family)
    names = get_args(found.Config.model_fields["variant"].annotation)
    assert names == ("generic", *(one.name for one in found.variants))


@pytest.mark.parametrize(("family", "variant"), EVERY, ids=lambda one: getattr(one, "name", one))
def test_a_service_has_a_guide_that_a_form_is_given(family: str, variant: Variant) -> None:
    shown = SOURCES.connector.function(None, family)
    (found,) = [one for one in shown.variants if one.name == variant.name]
    assert found.title == variant.title
    assert found.guide.startswith("# ")
    assert "https://" in found.guide
    # What a reader has to do for each way to read it.
    assert "ingestion_mode" in found.guide


@pytest.mark.parametrize(("family", "variant"), EVERY, ids=lambda one: getattr(one, "name", one))
def test_a_service_is_reached_by_encrypted_connections_unless_somebody_says_otherwise(
    family: str, variant: Variant
) -> None:
    config: Any = registry.source(family).Config
    outside = variant.name != "mariadb"
    assert config.model_validate(WHO | {"variant": variant.name}).use_ssl is outside
    assert not config.model_validate(WHO | {"variant": variant.name, "use_ssl": False}).use_ssl
    plain = "disable" if family == "postgres" else "disabled"
    assert not config.model_validate(WHO | {"variant": variant.name, "ssl_mode": plain}).use_ssl
    assert not config.model_validate(WHO).use_ssl


def test_a_log_that_nobody_may_follow_is_no_setting() -> None:
    config: Any = registry.source("postgres").Config
    with pytest.raises(ValidationError, match="Heroku Postgres lets anybody do"):
        config.model_validate(WHO | {"variant": "heroku", "ingestion_mode": "log"})
    assert config.model_validate(WHO | {"variant": "rds", "ingestion_mode": "log"}).variant == "rds"
