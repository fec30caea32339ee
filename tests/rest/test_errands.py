"""Errands are seen and stopped by those who may begin them, in their own team."""

from __future__ import annotations

import httpx
from tests.rest.conftest import Keys

API = "/api/millrace/v1"


def test_who_may_not_begin_an_errand_neither_sees_nor_stops_it(url: str, keys: Keys, client: httpx.Client) -> None:
    begun = client.post(f"{API}/pipelines/nosuch/run", json={})
    assert begun.status_code == 202, begun.text
    there = f"{API}/errands/{begun.json()['id']}"
    asked = (("GET", there), ("POST", f"{there}/cancel"), ("GET", f"{there}/events"))
    for pair, status in ((keys.observer, 403), (keys.stranger, 404), (keys.admin, 200)):
        with httpx.Client(base_url=url, auth=pair, timeout=30) as caller:
            assert [caller.request(method, path).status_code for method, path in asked] == [status] * 3
