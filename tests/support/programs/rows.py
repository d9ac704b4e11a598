"""Prints rows as JSON: `rows spawned`, `rows ended`, `rows account NAME PROVIDER OPTIONS SECRET_REF`."""

import json
import sys
from collections.abc import Callable

from tests.support.programs import set_django_up


def spawned() -> list[tuple[int, float]]:
    """The number of pods that each tick started, and its time; without ticks that started none."""
    from fleet.models import Tick

    ticks = Tick.objects.order_by("at")
    return [(tick.spawned, tick.at.timestamp()) for tick in ticks if tick.spawned]


def ended() -> list[tuple[str, str]]:
    """The state of each pod, and the reason of its retirement."""
    from pods.models import Pod

    return [(pod.state, pod.retire_because) for pod in Pod.objects.all()]


def account(name: str, provider: str, options: str, secret_ref: str = "") -> int:
    """Add an account; return its id."""
    from pods.models import Account

    made = Account(name=name, provider=provider, options=json.loads(options), secret_ref=secret_ref)
    made.save()
    return made.pk


if __name__ == "__main__":
    set_django_up()
    verbs: dict[str, Callable[..., object]] = {
        "spawned": spawned,
        "ended": ended,
        "account": account,
    }
    print(json.dumps(verbs[sys.argv[1]](*sys.argv[2:])))
