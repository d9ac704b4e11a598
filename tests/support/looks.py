"""The screens and colours in which a browser shows every page."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

SIZES: Final[Mapping[str, Mapping[str, int]]] = {
    "desk": {"width": 1280, "height": 900},
    "phone": {"width": 390, "height": 844},
}
# Each width and each colour once; the slow tests show the other two pairs.
LOOKS: Final = (
    pytest.param("desk", "dark"),
    pytest.param("phone", "light"),
    pytest.param("desk", "light", marks=pytest.mark.slow),
    pytest.param("phone", "dark", marks=pytest.mark.slow),
)
# What covers its neighbour, or is wider than its place, in a row of a list or of the first page.
COVERED: Final = """[...document.querySelectorAll(".pf-row-line, #result_list .data-row")].flatMap(row => {
    const cells = [...row.children].filter(cell => cell.clientWidth);
    const parts = [...row.querySelectorAll("button, a.pf-button")].filter(b => b.checkVisibility());
    const cover = (a, b) => {
        const [p, q] = [a.getBoundingClientRect(), b.getBoundingClientRect()];
        return Math.min(p.right, q.right) - Math.max(p.left, q.left) > 2
            && Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top) > 2;
    };
    const wide = cells.filter(cell => cell.scrollWidth > cell.clientWidth + 2);
    const under = [...cells, ...parts].flatMap(part => cells.filter(
        cell => cell !== part && !cell.contains(part) && cover(cell, part)));
    return [...wide, ...under].map(cell => cell.className.split(" ")[0] + ": " + cell.textContent.trim());
})"""
IN_DOCS: Final = Path(__file__).parents[2] / "docs" / "screenshots"
