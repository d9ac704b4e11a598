"""An option of a wrong type is refused with its name when the account is saved."""

from typing import Any

import pytest

from pods.providers.docker.options import Options as DockerOptions
from pods.providers.vastai.options import Options as VastaiOptions


@pytest.mark.parametrize(
    ("options", "given"),
    [
        *((DockerOptions, {name: 5}) for name in ("host", "tls_ca", "network", "gpu_type")),
        *((DockerOptions, {"vram_gb": value}) for value in ("24", 0, -1, 1.5, True)),
        (VastaiOptions, {"verified": 1}),
        (VastaiOptions, {"base_url": 5}),
    ],
)
def test_an_option_of_a_wrong_type_is_refused_with_its_name(
    options: Any, given: dict[str, Any]
) -> None:
    (name,) = given
    with pytest.raises(ValueError, match=f"{name} is .*; give"):
        options.parse(given)
