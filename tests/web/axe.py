"""What axe finds on a page: names, roles, contrast, order."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

_FILE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
_RUN = """async (rules) => {
  const only = rules.length ? { runOnly: { type: 'rule', values: rules } } : {};
  return (await axe.run(document, { ...only, resultTypes: ['violations'] })).violations;
}"""


@cache
def _script() -> str:
    return _FILE.read_text(encoding="utf-8")


def faults(page: Page, *rules: str) -> list[str]:
    """Serious and critical ones, each with its first places; by those rules alone where some are named.

    What is moderate or less is told to nobody.
    """
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(_script())
    found: list[dict[str, Any]] = page.evaluate(_RUN, list(rules))
    return [
        f"{one['id']}, {one['help']}: {'; '.join(node['html'][:240] for node in one['nodes'][:3])}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
