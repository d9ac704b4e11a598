"""What an agent measures about itself, for its heartbeat."""

from collections.abc import Callable, Mapping
from typing import Union

from pods.agent.cpu import Cpu
from pods.agent.gpus import Gpus
from pods.agent.protocol import MEASURES

Measured = Mapping[str, Union[int, float, None]]


class Measures:
    """The measures of the machine, and those that the agent's kind of work has."""

    def __init__(self, of_work: Callable[[], Measured]) -> None:
        self._of_work = of_work
        self._gpus, self._cpu = Gpus(), Cpu()

    def start(self) -> None:
        """Measure from now on."""
        self._gpus.start()

    def gpu_kind(self, seconds: float) -> str:
        """What the GPUs are, as in `Gpus.kind`."""
        return self._gpus.kind(seconds)

    def now(self) -> dict[str, Union[int, float, None]]:
        """The fields of the heartbeat."""
        said = {**self._of_work(), **self._gpus.now(), "cpu_percent": self._cpu.percent()}
        return {name: _bounded(name, value) for name, value in said.items()}


def _bounded(name: str, value: Union[int, float, None]) -> Union[int, float, None]:
    """A value that the manager accepts: one that it refuses makes the whole heartbeat unreadable."""
    kind, most = MEASURES[name]
    return None if value is None else kind(max(0, min(value, most)))
