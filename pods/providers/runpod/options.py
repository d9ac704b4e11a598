"""What an operator can set on an account at RunPod."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pods.providers.account_options import Called, WrongOption, check_names
from pods.providers.wire import checked_base_url

CLOUDS: Final = ("SECURE", "COMMUNITY")
PLACE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,39}")
_TEXT: Final = re.compile(r"[\x20-\x7e]{0,200}")
_CUDA: Final = re.compile(r"\d+\.\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options, checked. The defaults suit most accounts."""

    clouds: Annotated[
        Sequence[str], Called("Clouds to rent from"), "One a line: SECURE, COMMUNITY."
    ] = CLOUDS
    data_centers: Annotated[
        Sequence[str], Called("Data centers"), "Ids such as EU-RO-1, one a line. Empty: any."
    ] = ()
    base_url: Annotated[
        str, Called("Address of the vendor"), "Another one for a proxy, or an emulator."
    ] = "https://api.runpod.io"
    registry: Annotated[
        str,
        Called("Registry credentials"),
        "Their id at RunPod, for images that the account's own registry login is not for. Empty: none.",
    ] = ""
    min_cuda_version: Annotated[str, Called("Lowest CUDA version"), "Such as 12.4. Empty: any."] = (
        ""
    )
    volume_gb: Annotated[
        int, Called("Disk that a stop keeps, GB"), "0 for none, or at least 10."
    ] = 0
    volume_path: Annotated[
        str, Called("Folder of that disk"), "Where it, or the network volume, is mounted."
    ] = "/workspace"
    network_volume: Annotated[
        str, Called("Network volume"), "Its id. Not together with a disk that a stop keeps."
    ] = ""
    # The documented example is 60 (RateLimit-Policy). Accounts differ: a live answer showed 176.
    requests_per_minute: Annotated[
        int, Called("Calls per minute"), "The most that the account may make, 6 to 60,000."
    ] = 60

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> "Options":
        """The options of an account's row.

        Raises:
            ValueError: one is unknown or wrong. The message says what would be right.
        """
        check_names("runpod", given, cls)
        for name, value in given.items():
            _CHECKS[name](name, value)
        options = cls(**given)
        if options.volume_gb and options.network_volume:
            raise ValueError(
                "volume_gb and network_volume are both given; RunPod mounts one of them, so give one"
            )
        return cls(**{**given, "base_url": checked_base_url(options.base_url)})


def _clouds(name: str, value: object) -> None:
    if not (isinstance(value, list | tuple) and value and all(v in CLOUDS for v in value)):
        raise WrongOption(name, f"is {value!r}; give a list of {' and '.join(CLOUDS)}")


def _places(name: str, value: object) -> None:
    if not (isinstance(value, list | tuple) and all(_matches(PLACE, v) for v in value)):
        raise WrongOption(name, f"is {value!r}; give a list of ids such as EU-RO-1")


def _text(name: str, value: object) -> None:
    if not _matches(_TEXT, value):
        raise WrongOption(name, f"is {value!r}; give a text")


def _cuda(name: str, value: object) -> None:
    if not (value == "" or _matches(_CUDA, value)):
        raise WrongOption(name, f"is {value!r}; give a version such as 12.4")


def _path(name: str, value: object) -> None:
    if not (isinstance(value, str) and value.startswith("/")):
        raise WrongOption(name, f"is {value!r}; give an absolute path")


def _volume(name: str, value: object) -> None:
    # RunPod's smallest volume has 10 GB (v2 OpenAPI of 2026-08-18, PersistentMount).
    if not (type(value) is int and (value == 0 or value >= 10)):
        raise WrongOption(name, f"is {value!r}; give whole GB from 10, or 0 for none")


def _rate(name: str, value: object) -> None:
    if not (type(value) is int and 6 <= value <= 60_000):
        raise WrongOption(name, f"is {value!r}; give a whole number from 6 to 60000")


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


_CHECKS: Final = {
    "clouds": _clouds,
    "data_centers": _places,
    "base_url": _text,
    "registry": _text,
    "min_cuda_version": _cuda,
    "volume_gb": _volume,
    "volume_path": _path,
    "network_volume": _text,
    "requests_per_minute": _rate,
}
