"""Which credentials of stores a fleet's dataset has: those of its secrets, else the environment's."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Concatenate, Final, ParamSpec, TypeVar

from fleet.models import Dataset, Fleet
from fleet.secrets import opening
from fleet.secrets.checking import ROLE
from pods.agent.dataset import credentials

P = ParamSpec("P")
R = TypeVar("R")
Of = TypeVar("Of", Fleet, Dataset)
# What is named where a store has no credentials.
USUAL: Final[Mapping[str, Sequence[str]]] = {
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    "gs": ("GOOGLE_SERVICE_ACCOUNT_KEY",),
    "az": ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY"),
}


def with_secrets(verb: Callable[Concatenate[Of, P], R]) -> Callable[Concatenate[Of, P], R]:
    """Let a verb on a fleet or a dataset reach its stores with the fleet's secrets.

    It also raises fleet.secrets.opening.Unreadable, a ValueError.
    """

    @wraps(verb)
    def within(of: Of, /, *args: P.args, **kwargs: P.kwargs) -> R:
        fleet = of if isinstance(of, Fleet) else of.fleet
        with credentials.using(opening.of_stores(fleet)):
            return verb(of, *args, **kwargs)

    return within


def missing(fleet: Fleet, urls: Sequence[str]) -> str:
    """What to do if the fleet's pods have no credentials for these files; "": they have some.

    No pod has the manager's environment. An image may have credentials of its own, so this is a warning.
    """
    names = set(fleet.secrets.values_list("name", flat=True))
    pods = {**fleet.handler_env, **dict.fromkeys(names, "set")}
    schemes = dict.fromkeys(url.partition("://")[0] for url in urls)
    without = [s for s in schemes if s in USUAL and not credentials.has_access(s, pods)]
    if ROLE in names:  # the manager gives them keys, and an alert says where it cannot
        without = [scheme for scheme in without if scheme != "s3"]
    if not without:
        return ""
    wanted = [name for scheme in without for name in _variables(scheme) if name not in pods]
    commands = [f"  fleet secret set {fleet.name} {name} {_source(name)}" for name in wanted]
    stores = " and ".join(f"{scheme}://" for scheme in without)
    return "\n".join(
        [
            f"the pods of {fleet.name} have no credentials for {stores}: they do not have the "
            "manager's environment. Unless their image has some, set them:",
            *commands,
        ]
    )


def _variables(scheme: str) -> Sequence[str]:
    """What a fleet needs for such a store, with what this process has in its environment."""
    here = [name for name in credentials.VARIABLES[scheme] if os.environ.get(name)]
    return list(dict.fromkeys([*USUAL[scheme], *here]))


def _source(name: str) -> str:
    return f"--from-env {name}" if os.environ.get(name) else "--stdin"
