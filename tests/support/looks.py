"""The screens and colours in which a browser shows every page."""

from collections.abc import Mapping
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
