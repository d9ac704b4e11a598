"""Every colour and size of our pages is in tokens.css, and can be read and seen in both themes."""

import re
from pathlib import Path

import pytest

from config.env import ROOT

STYLES = ROOT / "config" / "static" / "podfleet"
TOKENS = (STYLES / "tokens.css").read_text()
OTHERS = sorted(path for path in STYLES.glob("*.css") if path.name != "tokens.css")
SIZED = r"(?:padding|margin|gap|font-size|outline)(?:-\w+)*"
TEXTS = ("ink", "dim", "link", "red", "amber", "green", "blue", "grey")
CHARTS = ("chart-1", "chart-2", "chart-3", "chart-4", "chart-other")


def tokens(selector: str) -> dict[str, str]:
    """The tokens of one theme; the dark one changes only some."""
    block = re.search(rf"^{re.escape(selector)} {{(.*?)^}}", TOKENS, re.MULTILINE | re.DOTALL)
    assert block is not None
    return dict(re.findall(r"--pf-([\w-]+): ([^;]+);", block[1]))


LIGHT = tokens(":root")
THEMES = {"light": LIGHT, "dark": {**LIGHT, **tokens("html.dark")}}


def luminance(color: str) -> float:
    """As WCAG 2.2 defines it."""
    digits = color.removeprefix("#")
    digits = "".join(d * 2 for d in digits) if len(digits) == 3 else digits
    parts = [int(digits[n : n + 2], 16) / 255 for n in (0, 2, 4)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def declarations(path: Path) -> list[tuple[str, str]]:
    text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
    return re.findall(r"([\w-]+):\s*([^;{}]+);", text)


def test_contrast_is_computed_as_the_standard_says() -> None:
    assert contrast("#fff", "#000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: path.name)
def test_a_stylesheet_names_colours_and_only_tokens_that_exist(path: Path) -> None:
    known = set(re.findall(r"(--pf-[\w-]+):", TOKENS))
    for name, value in declarations(path):
        assert not re.search(r"#[0-9a-f]{3,8}\b|\b(?:rgb|hsl|oklch)a?\(", value), (name, value)
        assert set(re.findall(r"--pf-[\w-]+", value)) <= known, (name, value)


def test_our_sheet_takes_its_sizes_from_the_tokens() -> None:
    sized = [
        (name, value)
        for name, value in declarations(STYLES / "podfleet.css")
        if re.fullmatch(SIZED, name) and not name.startswith(("scroll", "outline-offset"))
    ]
    assert len(sized) > 50
    raw = [(name, value) for name, value in sized if re.search(r"[\d.](?:rem|em|px)\b", value)]
    assert raw == []


@pytest.mark.parametrize("theme", THEMES)
def test_texts_and_lines_can_be_read_in_both_themes(theme: str) -> None:
    found = THEMES[theme]
    for name in TEXTS:
        assert contrast(found[name], found["card"]) >= 4.5, name
        assert contrast(found[name], found["page"]) >= 4.5, name
    for name in ("red", "amber", "green", "blue", "grey"):
        assert contrast(found[name], found[f"{name}-soft"]) >= 4.5, name
    for name in ("edge", "ring", *CHARTS):
        assert contrast(found[name], found["card"]) >= 3, name
    assert contrast(found["stop-ink"], found["stop"]) >= 4.5
    assert contrast(found["log-ink"], found["log"]) >= 4.5


def test_what_can_be_pressed_is_large_enough() -> None:
    assert LIGHT["target"] == "2.75rem"  # 44 px for a finger
    assert LIGHT["target-min"] == "1.5rem"
    assert LIGHT["focus"].startswith("3px")
