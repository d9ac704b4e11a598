"""The documentation site: `make docs` builds it with Sphinx from the pages as they are.

Each README.md lists the pages beside and below it. The sidebar is made from these lists, so a page
that no list has fails the build, as a broken link does.
"""

import re
import shutil
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from docutils import nodes
from sphinx.application import Sphinx

ROOT: Final = Path(__file__).resolve().parent.parent
DECLARED: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = "Podfleet"
release = version = DECLARED["version"]
extensions = ["myst_parser"]
root_doc = "README"
exclude_patterns = ["_build"]
myst_heading_anchors = 4  # as GitHub makes them
smartquotes = False  # two hyphens begin an option
highlight_language = "none"  # most blocks are commands

html_theme = "furo"
html_title = f"Podfleet {release}"
html_use_index = False
html_domain_indices = False
html_sourcelink_suffix = ""  # `_sources/howto/deploy.md`, to which llms.txt leads

START: Final = "README"
HEADING: Final = re.compile(r"^## +(.+)$")
LINK: Final = re.compile(r"\]\(([^()\s#]+)\.md\)")
# A Markdown file above docs/ is not a page of the site. MyST needs the prefix to add it as a file.
ABOVE: Final = re.compile(r"\]\(((?:\.\./)+[^()\s]+\.md)\)")
SENTENCE: Final = re.compile(r".{20,}?[.!?](?=\s|$)")  # "Context." alone says nothing


def listed(text: str) -> dict[str, list[str]]:
    """The pages to which a list of pages leads, under their headings; each page once."""
    found: dict[str, list[str]] = {}
    seen: set[str] = set()
    heading = ""
    for line in text.splitlines():
        if match := HEADING.match(line):
            heading = match[1]
        for page in LINK.findall(line):
            if ".." not in page and page not in seen:
                seen.add(page)
                found.setdefault(heading, []).append(page)
    return found


def toctree(caption: str, pages: Iterable[str]) -> str:
    """The directive that puts pages into the sidebar."""
    options = [":hidden:", *([f":caption: {caption}"] if caption else [])]
    return "\n".join(["", "```{toctree}", *options, "", *pages, "```", ""])


def for_the_site(docname: str, text: str) -> str:
    """A page's Markdown, with what GitHub does not need and Sphinx does."""
    trees = listed(text) if docname.rpartition("/")[2] == START else {}
    directives = "".join(toctree(heading, pages) for heading, pages in trees.items())
    return ABOVE.sub(r"](path:\1)", text) + directives


def first_sentence(doctree: nodes.document) -> str:
    """The first sentence after the title, which says what a reader can do with the page."""
    for paragraph in doctree.findall(nodes.paragraph):
        text = " ".join(paragraph.astext().split())
        return match[0] if (match := SENTENCE.match(text)) else text.removesuffix(":") + "."
    return ""


def llms_txt(
    sections: Mapping[str, Iterable[str]], titles: Mapping[str, str], lines: Mapping[str, str]
) -> str:
    """The list of all pages for language models: the title and one line of each."""
    text = f"# {project}\n\n> {DECLARED['description']}\n"
    for heading, pages in sections.items():
        text += f"\n## {heading}\n\n"
        text += "".join(f"- [{titles[p]}](_sources/{p}.md): {lines[p]}\n" for p in pages)
    return text


def _with_those_below(app: Sphinx, page: str) -> Iterator[str]:
    yield page
    for below in app.env.toctree_includes.get(page, ()):
        yield from _with_those_below(app, below)


def _change_source(_app: Sphinx, docname: str, source: list[str]) -> None:
    source[0] = for_the_site(docname, source[0])


def _finish(app: Sphinx, exception: Exception | None) -> None:
    if exception is not None or app.builder.format != "html":
        return
    start = (app.srcdir / f"{START}.md").read_text(encoding="utf-8")
    sections = {
        heading: [below for page in pages for below in _with_those_below(app, page)]
        for heading, pages in listed(start).items()
    }
    every = [page for pages in sections.values() for page in pages]
    titles = {page: app.env.titles[page].astext() for page in every}
    lines = {page: first_sentence(app.env.get_doctree(page)) for page in every}
    out = Path(app.outdir)
    (out / "llms.txt").write_text(llms_txt(sections, titles, lines), encoding="utf-8")
    for page in out.rglob(f"{START}.html"):
        shutil.copyfile(page, page.with_name("index.html"))  # what a server shows for a folder


def setup(app: Sphinx) -> Mapping[str, Any]:
    """Register the two steps with Sphinx."""
    app.connect("source-read", _change_source)
    app.connect("build-finished", _finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
