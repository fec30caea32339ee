"""The screens are files beside the APIs: served under a strict policy, packed, kept by browsers."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from tests.rest.conftest import served

from millrace.rest import screens

# A busy machine may take its time for the first page.
get = partial(httpx.get, timeout=60.0)

HTML = {"accept": "text/html,application/xhtml+xml"}


@pytest.fixture(scope="module")
def page(url: str) -> httpx.Response:
    return get(f"{url}/", headers=HTML)


def test_every_address_that_is_nothing_else_is_a_screen(url: str) -> None:
    for path in ("/", "/pipelines", "/pipelines/a%2Fb/jobs/7"):
        answer = get(url + path, headers=HTML)
        assert answer.status_code == 200
        assert '<div id="root">' in answer.text


def test_programs_are_told_in_their_words_that_there_is_nothing(url: str) -> None:
    for path, accept in (("/nowhere", "*/*"), ("/api/nowhere", "text/html"), ("/assets/gone.js", "text/html")):
        answer = get(url + path, headers={"accept": accept})
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NOT_FOUND")
    assert httpx.post(f"{url}/pipelines", headers=HTML).status_code == 404


def test_the_policy_takes_no_script_but_files_and_no_style_without_the_value_of_this_answer(
    url: str, page: httpx.Response
) -> None:
    said = page.headers["content-security-policy"]
    assert "script-src 'self';" in said
    assert "unsafe" not in said
    found = re.search(r"'nonce-([\w-]+)'", said)
    assert found is not None
    assert f'nonce="{found.group(1)}"' in page.text
    assert screens.NONCE not in page.text
    assert get(f"{url}/", headers=HTML).headers["content-security-policy"] != said
    assert page.headers["cache-control"] == "no-store"


def test_files_are_packed_and_kept_for_good(url: str, page: httpx.Response) -> None:
    name = re.search(r'src="(/assets/[^"]+\.js)"', page.text)
    assert name is not None
    packed = get(url + name.group(1), headers={"accept-encoding": "gzip"})
    plain = get(url + name.group(1), headers={"accept-encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.content == plain.content
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"]) / 2
    for answer in (packed, plain):
        assert "immutable" in answer.headers["cache-control"]
        assert "javascript" in answer.headers["content-type"]
    assert get(f"{url}/scheme.js").headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", ["/%2e%2e/app.py", "/assets/../../app.py", "/..%2fapp.py", "//etc/passwd"])
def test_no_path_leads_out_of_the_folder(url: str, path: str) -> None:
    answer = get(url + path, headers={"accept": "*/*"})
    assert answer.status_code == 404


def test_a_checkout_without_built_screens_says_how_to_build_them(tmp_path: Path) -> None:
    app = FastAPI()
    app.router.default = screens.Screens(app.router.default, tmp_path)
    with served(app) as url:
        answer = get(f"{url}/")
    assert answer.status_code == 503
    assert "make web" in answer.text
    # So is whoever starts the server.
    assert screens.built() and not screens.built(tmp_path)
