"""Forms of what is kept in files: settings of a bucket are asked for only where the place is such a bucket."""

from __future__ import annotations

from typing import Any

import pytest

from millrace.connect import registry

PLACES = {"path", "url"}
OF_S3 = {"region", "endpoint", "access_key_id", "secret_access_key"}
WITH_BUCKETS: dict[str, Any] = {
    f"{kind} {name}": find(name).Config
    for kind, family, find in (
        ("source", registry.SOURCES, registry.source),
        ("destination", registry.DESTINATIONS, registry.destination),
    )
    for name in registry.names(family)
    if set(find(name).Config.model_fields) >= OF_S3
}


def test_sources_and_destinations_have_buckets() -> None:
    assert set(WITH_BUCKETS) == {"source files", "destination folder"}


@pytest.mark.parametrize("who", WITH_BUCKETS)
def test_settings_of_a_bucket_are_asked_for_where_the_place_is_one(who: str) -> None:
    fields = WITH_BUCKETS[who].model_json_schema()["properties"]
    [place] = PLACES & fields.keys()
    assert {name: fields[name]["x-when"][place] for name in OF_S3} == dict.fromkeys(OF_S3, "^s3://")
