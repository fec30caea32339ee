"""What somebody may not do is not offered to them, and refused to whoever asks for it all the same."""

from __future__ import annotations

from urllib.parse import quote

from playwright.sync_api import Page, expect
from tests.web.conftest import Visit
from tests.web.stocked import ADMIN, SHOP, VIEWER

AT = f"/pipelines/{quote(SHOP)}"
# Where buttons are that change something, and their names.
CHANGES = (
    ("/pipelines", ("Create pipeline",)),
    (f"{AT}/settings", ("Run now", "Pause", "Save schedule")),
    ("/team", ("Invite people",)),
)
# What those buttons and others ask for.
ASKED = (
    (f"/pipelines/{quote(SHOP, safe='')}/pause", None),
    (f"/pipelines/{quote(SHOP, safe='')}/jobs", {"kind": "run"}),
    ("/users", {"email": "eve@example.com", "roles": ["TEAM_ADMIN"]}),
)


def test_what_changes_something_is_offered_to_an_administrator_and_not_to_a_viewer(visit: Visit) -> None:
    admin, viewer = visit("/pipelines"), visit("/pipelines", VIEWER)
    for path, names in CHANGES:
        for page, offered in ((admin, True), (viewer, False)):
            page.goto(path)
            expect(page.get_by_role("heading", level=1)).to_be_visible()
            page.wait_for_function("() => !document.querySelector('.mantine-Loader-root, .mantine-Skeleton-root')")
            for name in names:
                found = page.get_by_role("button", name=name, exact=True).or_(page.get_by_role("link", name=name))
                expect(found, f"{name} at {path}").to_have_count(int(offered))


def test_a_viewer_who_asks_the_api_for_a_change_is_refused(visit: Visit) -> None:
    page = visit("/pipelines", VIEWER)
    assert [_asked(page, path, body) for path, body in ASKED] == [403] * len(ASKED)


def test_a_viewer_who_opens_an_address_for_others_is_told_what_they_may_not(visit: Visit) -> None:
    page = visit("/pipelines/new?type=clevertap", VIEWER)
    expect(page.get_by_text("Your roles let you look at pipelines, not create them.")).to_be_visible()
    expect(page.get_by_label("Passcode")).to_have_count(0)


def test_people_of_another_team_see_nothing_of_it(visit: Visit) -> None:
    page = visit(AT, "sid@example.org")
    expect(page.get_by_role("alert")).to_contain_text("There is no pipeline")
    page.goto("/failed-events")
    expect(page.get_by_text("No failed events")).to_be_visible()


def test_two_people_work_at_the_same_time_each_with_what_they_may(visit: Visit) -> None:
    admin, viewer = visit(AT, ADMIN), visit(AT, VIEWER)
    for page, may in ((admin, True), (viewer, False)):
        page.get_by_role("button", name="More actions").click()
        expect(page.get_by_role("menuitem", name="As YAML")).to_be_visible()
        expect(page.get_by_role("menuitem", name="Delete")).to_have_count(int(may))


def _asked(page: Page, path: str, body: object) -> int:
    """The status of a request that the page itself sends, with its proof."""
    return page.evaluate(
        """async ([path, body]) => {
          const { csrf } = await (await fetch('/api/millrace/v1/session')).json();
          const headers = { 'X-CSRF-Token': csrf, 'Content-Type': 'application/json' };
          const answer = await fetch('/api/millrace/v1' + path, {
            method: 'POST', headers, body: body && JSON.stringify(body),
          });
          return answer.status;
        }""",
        [path, body],
    )
