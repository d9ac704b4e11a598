"""The documentation site: what its build refuses, and what it writes. `make lint` checks our pages."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.tree import ROOT

PAGES = {
    "README.md": (
        "# Documentation\n\nChoose.\n\n## Do\n\n- [One](howto/one.md): first.\n"
        "- [Two](howto/README.md)\n\n## Change\n\n- [Changelog](../CHANGELOG.md)\n"
    ),
    "howto/one.md": "# Page one\n\nYou can do one thing\nwith `it`. More.\n\n## A part\n\nThe end.\n",
    "howto/README.md": (
        "# List\n\nRead here what the list has:\n\n| page |\n| --- |\n| [Three](three.md) |\n"
    ),
    "howto/three.md": (
        "# Three\n\n[a part](one.md#a-part), [code](../../code.py), --option, "
        "![a picture](../picture.svg)\n"
    ),
    "picture.svg": "<svg xmlns='http://www.w3.org/2000/svg'/>",
    "../code.py": "print()\n",
    "../CHANGELOG.md": "# Changelog\n",
}
# What a browser fetches while it shows a page.
FETCHED = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']([^\"']+)"
    r"|<link\b[^>]*\bhref=[\"']([^\"']+)|@import\s+[\"']([^\"']+)|url\([\"']?(?!data:)([^)\"']+)"
)


def write(folder: Path, files: dict[str, str]) -> Path:
    docs = folder / "docs"
    for name, text in files.items():
        (docs / name).parent.mkdir(parents=True, exist_ok=True)
        (docs / name).write_text(text)
    return docs


def build(docs: Path, builder: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sphinx", "-b", builder, "-W", "--keep-going", "-q"]
    return subprocess.run(
        [*command, "-c", str(ROOT / "docs"), str(docs), str(docs.parent / "site")],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.one_database
def test_the_site_has_the_pages_their_files_and_a_list_for_language_models(tmp_path: Path) -> None:
    built = build(write(tmp_path, PAGES), "html")
    assert (built.returncode, built.stderr) == (0, "")
    site = tmp_path / "site"
    listed = (site / "llms.txt").read_text()
    assert listed.partition("\n\n## ")[2] == (
        "Do\n\n"
        "- [Page one](_sources/howto/one.md): You can do one thing with it.\n"
        "- [List](_sources/howto/README.md): Read here what the list has.\n"
        "- [Three](_sources/howto/three.md): a part, code, --option, a picture.\n"
    )
    targets = re.findall(r"\]\(([^)]+)\)", listed)
    assert [name for name in targets if not (site / name).is_file()] == []
    assert (site / "index.html").read_text() == (site / "README.html").read_text()
    three = (site / "howto" / "three.html").read_text()
    for wanted in (
        r'href="one\.html#a-part"',
        r'href="(\.\./_downloads/\w+/code\.py)"',
        "--option",
    ):
        assert re.search(wanted, three), wanted
    assert re.search(r"_downloads/\w+/CHANGELOG\.md", (site / "index.html").read_text())
    fetched = {
        target
        for file in (*site.rglob("*.html"), *site.rglob("*.css"))
        for found in FETCHED.findall(file.read_text())
        for target in found
        if target
    }
    assert len(fetched) > 5
    assert {target for target in fetched if re.match(r"(?:[a-z]+:)?//", target)} == set()


@pytest.mark.one_database
def test_a_broken_link_and_a_page_that_no_list_has_fail_the_build(tmp_path: Path) -> None:
    three = "# Three\n\n[page](no.md) [part](one.md#no) [file](../no.py)\n"
    docs = write(tmp_path, {**PAGES, "howto/three.md": three, "howto/alone.md": "# Alone\n"})
    built = build(docs, "dummy")
    assert built.returncode != 0
    warned = sorted(
        re.sub(r"^.*/docs/([\w/.]+)(?::\d+)?: WARNING: ", r"\1 ", line)
        for line in built.stderr.splitlines()
    )
    for page, word in (
        ("howto/alone.md", "toctree"),
        ("howto/three.md", "no.md"),
        ("howto/three.md", "'no'"),
        ("howto/three.md", "no.py"),
    ):
        assert any(line.startswith(page) and word in line for line in warned), (page, word, warned)
