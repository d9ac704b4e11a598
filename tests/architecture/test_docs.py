"""The documentation: every link has a target, and every page is short enough to read."""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from urllib.parse import unquote

from tests.architecture.tree import ROOT, name_of, tracked

PAGES = ("README.md", "CHANGELOG.md", "docs/*.md", "docs/**/*.md")
MOST_LINES, MOST_COLUMNS = 150, 100
# Pages that may be longer, with the reason.
LONG_PAGES = {
    "CHANGELOG.md": "it grows with each version",
    "docs/howto/provider-example.md": "one listing, which a test compares with the code",
}
FENCE = re.compile(r"^ *(?:```|~~~)")
HEADING = re.compile(r"^#{1,6} +(.+?) *#*$")
# The text of a link may contain an image or a line break.
LINK = re.compile(
    r"\[(?:[^\[\]]|!\[[^\]]*\]\([^)]*\))*\]\(\s*<?([^()\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)"
)
IMAGE = re.compile(r"!\[[^\]]*\]\(\s*([^()\s]+)\s*\)")
ONE_LINK = re.compile(r"^\s*(?:[-*] +)?!?\[[^\]]*\]\([^)]*\)[.:,]?$")
ELSEWHERE = re.compile(r"^[a-z][a-z0-9+.-]*:")


def pages() -> Sequence[Path]:
    return tracked(*PAGES)


def prose(page: Path) -> Iterator[tuple[int, str]]:
    """The lines outside code blocks, with their numbers."""
    fenced = False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if FENCE.match(line):
            fenced = not fenced
        elif not fenced and not line.startswith("    "):
            yield number, line


def links(page: Path) -> set[str]:
    """The link targets in this repository, as the page writes them."""
    text = re.sub(r"`[^`]*`", "code", "\n".join(line for _, line in prose(page)))
    found = {*LINK.findall(text), *IMAGE.findall(text)}
    return {target for target in found if not ELSEWHERE.match(target)}


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found: dict[str, int] = {}
    names = set()
    for _, line in prose(page):
        if heading := HEADING.match(line):
            text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading[1])
            slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            names.add(f"{slug}-{found[slug]}" if slug in found else slug)
            found[slug] = found.get(slug, 0) + 1
    return frozenset(names)


def leads_to(page: Path, target: str) -> tuple[Path, str]:
    """The file and the anchor of a link; the anchor is "" if it has none."""
    path, _, anchor = unquote(target).partition("#")
    return (page.parent / path).resolve() if path else page, anchor


def is_broken(page: Path, target: str) -> bool:
    file, anchor = leads_to(page, target)
    if file not in known_paths():
        return True
    return bool(anchor) and (file.suffix != ".md" or anchor not in anchors(file))


@cache
def known_paths() -> frozenset[Path]:
    """The files in git and their folders; readers do not have any other file."""
    files = tracked()
    return frozenset({*files, *(folder for file in files for folder in file.parents)})


def test_every_link_has_a_target() -> None:
    assert len(pages()) > 10
    broken = [
        f"{name_of(page)}: {target}"
        for page in pages()
        for target in sorted(links(page))
        if is_broken(page, target)
    ]
    assert broken == []


def test_every_picture_is_shown_on_a_page() -> None:
    shown = {leads_to(page, target)[0] for page in pages() for target in links(page)}
    pictures = tracked("docs/screenshots/*")
    assert pictures
    assert [name_of(file) for file in pictures if file not in shown] == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen = {ROOT / "README.md"}
    waiting = [*seen]
    while waiting:
        page = waiting.pop()
        found = {leads_to(page, target)[0] for target in links(page)}
        new = {file for file in found & {*pages()} if file not in seen}
        seen |= new
        waiting += new
    assert [name_of(page) for page in pages() if page not in seen] == []


def test_no_page_is_longer_than_150_lines() -> None:
    lengths = {name_of(page): len(page.read_text().splitlines()) for page in pages()}
    too_long = {name: n for name, n in lengths.items() if n > MOST_LINES}
    assert {name: n for name, n in too_long.items() if name not in LONG_PAGES} == {}
    assert LONG_PAGES.keys() - too_long.keys() == set()


def test_no_line_is_longer_than_100_columns() -> None:
    """Tables, code and lines that are a single link may be longer."""
    too_long = [
        f"{name_of(page)}:{number}"
        for page in pages()
        for number, line in prose(page)
        if len(line) > MOST_COLUMNS
        and not line.lstrip().startswith("|")
        and not ONE_LINK.match(line)
    ]
    assert too_long == []


def test_links_and_anchors_are_found_as_github_finds_them(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# The `first` page\n"
        "See [a\nlink](other.md#part), [![a picture](picture.jpg)](big.jpg), `[no](link)`,\n"
        "[elsewhere](https://example.com) and [itself](#the-first-page).\n"
        "## Part: one, two\n## Part: one, two\n"
        "```\n# no heading\n[no](link-in-code)\n```\n"
        "    [no](link-in-indented-code)\n"
    )
    assert links(page) == {"other.md#part", "picture.jpg", "big.jpg", "#the-first-page"}
    assert anchors(page) == {"the-first-page", "part-one-two", "part-one-two-1"}
    assert leads_to(page, "#part") == (page, "part")
