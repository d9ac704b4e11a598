"""What axe-core finds on a page, and the looks in which pages are shown to it."""

from collections.abc import Iterator
from typing import Final

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

WIDTHS: Final = {"desk": {"width": 1440, "height": 900}, "phone": {"width": 390, "height": 844}}
# WCAG 2.2 at the levels A and AA, and the landmarks of a page.
TAGS: Final = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")
LANDMARKS: Final = ("landmark-one-main", "landmark-unique", "page-has-heading-one")
# Django's own widget of two lists names a span without a role; only the pages of groups have it. The
# theme's scroll boxes (the menu, a wide list) all have one name, which axe-core calls moderate.
EXCUSED: Final = (
    ("aria-prohibited-attr", ".help-tooltip"), ("landmark-unique", "simplebar-content-wrapper"),
)  # fmt: skip
STATES: Final = [(width, scheme) for width in WIDTHS for scheme in ("light", "dark")]
SERIOUS: Final = {"serious", "critical"}
RUN: Final = {
    "resultTypes": ["violations"],
    "runOnly": {"type": "tag", "values": [*TAGS, "best-practice"]},
}


def troubles(page: Page) -> Iterator[str]:
    """The serious violations of a page, each with its rule, its element and how to mend it."""
    for violation in Axe().run(page, options=RUN).response["violations"]:
        if violation["impact"] in SERIOUS or violation["id"] in LANDMARKS:
            for node in violation["nodes"]:
                where, html = " ".join(map(str, node["target"])), " ".join(node["html"].split())
                why = " ".join(node["failureSummary"].split())
                if any(violation["id"] == rule and part in where for rule, part in EXCUSED):
                    continue
                yield f"{violation['id']} at {where}: {html[:200]}: {why[:300]}"
