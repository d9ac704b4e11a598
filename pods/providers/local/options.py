"""What an operator can set on an account of this machine."""

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any

from pods.providers.account_options import Called, WrongOption, check_names
from pods.providers.wire import usd


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of an account on this machine."""

    root: Annotated[
        Path,
        Called("Folder of its machines"),
        "The full path. Empty: the folder pods beside the manager's data.",
    ]
    hourly_usd: Annotated[
        Decimal, Called("Price of a pod, $/h"), "To calculate with; nobody is billed."
    ] = Decimal(0)
    capacity: Annotated[int | None, Called("Most pods at once"), "Empty: no limit."] = None
    python: Annotated[str, Called("Python"), "The full path of the Python that runs the agent."] = (
        sys.executable
    )
    python_path: Annotated[
        str,
        Called("Folders of your handlers"),
        "Full paths with a colon between them. Empty: none.",
    ] = ""

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> "Options":
        """The options of an account's row.

        Raises:
            ValueError: one is unknown or wrong. The message says what would be right.
        """
        check_names("local", given, cls)
        return cls(
            root=_root(given.get("root")),
            hourly_usd=_hourly_usd(given.get("hourly_usd", "0")),
            capacity=_capacity(given.get("capacity")),
            python=_python(given.get("python", sys.executable)),
            python_path=_text("python_path", given.get("python_path", "")),
        )


def _root(value: object) -> Path:
    if not isinstance(value, str | Path) or not Path(value).is_absolute() or "\0" in str(value):
        raise WrongOption("root", f"is {value!r}; give the full path of a folder")
    # A folder must have one name, because the processes are found by it.
    return Path(value).resolve()


def _hourly_usd(value: object) -> Decimal:
    try:
        # By way of str: 0.1 means a tenth, also where JSON made a float of it.
        hourly = usd(Decimal(str(value)))
    except InvalidOperation:
        hourly = None
    if hourly is None:
        raise WrongOption("hourly_usd", f"is {value!r}; give USD per hour, 0 or above")
    return hourly


def _capacity(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise WrongOption("capacity", f"is {value!r}; give a number of machines, or leave it out")
    return value


def _python(value: object) -> str:
    found = shutil.which(_text("python", value))
    if found is None:
        raise WrongOption("python", f"is {value!r}; give the path of a Python with pods.agent")
    return found


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise WrongOption(name, f"is {value!r}; give a text")
    return value
