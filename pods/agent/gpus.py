"""The use of the GPUs, through NVML where its Python package and its driver are there."""

import importlib
import logging
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, Optional

log = logging.getLogger("podfleet.agent")

READ_SECONDS = 5.0
# After an error NVML is begun anew, but not often: beginning can take seconds and wake up the GPU.
AGAIN_SECONDS = 60.0
# What is sent is the mean of this time. NVML's own figure is over less than a second.
MEAN_SECONDS = 30.0
MILLIWATTS = 1000
GIB = 2**30
LONGEST_NAME = 100


class Reading(NamedTuple):
    """All GPUs at one moment. None: one of them does not say."""

    gpu_percent: Optional[float]
    gpu_memory_percent: Optional[float]
    gpu_watts: Optional[float]


class Gpus:
    """Reads NVML in a thread of its own: a driver that hangs, fails or is missing delays nothing."""

    def __init__(
        self,
        load: Callable[[], Any] = lambda: importlib.import_module("pynvml"),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load, self._clock = load, clock
        self._closing = threading.Event()
        most = int(MEAN_SECONDS / READ_SECONDS)
        self._readings: deque[tuple[float, Reading]] = deque(maxlen=most)
        self._failed = False
        self._kind, self._kind_known = "", threading.Event()
        self._thread = threading.Thread(target=self._run, name="gpus", daemon=True)

    def start(self) -> None:
        """Read from now on."""
        self._thread.start()

    def close(self) -> None:
        """Read no more."""
        self._closing.set()

    def kind(self, seconds: float) -> str:
        """What the GPUs are: name and memory. "": there are none, or nobody can say.

        It waits up to so many seconds for the driver, but only once: the driver may hang.
        """
        self._kind_known.wait(seconds)
        self._kind_known.set()
        return self._kind

    def now(self) -> dict[str, Optional[int]]:
        """The fields of the heartbeat. Nothing read lately, as while the driver hangs: unknown."""
        since = self._clock() - MEAN_SECONDS
        lately = [reading for at, reading in list(self._readings) if at >= since]
        return {name: _mean(getattr(r, name) for r in lately) for name in Reading._fields}

    def _run(self) -> None:
        pause = 0.0
        while not self._closing.wait(pause):
            try:
                nvml = self._load()
            except ImportError:
                log.info("gpus_not_measured because=%r", "the package nvidia-ml-py is missing")
                self._kind_known.set()
                return
            try:
                self._read_until_closed(nvml)
            except Exception as exc:  # noqa: BLE001 - whatever a driver does, the agent goes on
                level = logging.DEBUG if self._failed else logging.WARNING
                log.log(level, "gpus_not_measured because=%r", f"{type(exc).__name__}: {exc}")
                self._failed = True
                self._kind_known.set()
            pause = AGAIN_SECONDS

    def _read_until_closed(self, nvml: Any) -> None:
        nvml.nvmlInit()
        try:
            count = nvml.nvmlDeviceGetCount()
            devices = [nvml.nvmlDeviceGetHandleByIndex(n) for n in range(count)]
            self._find_kind(nvml, devices)
            while devices:
                self._readings.append((self._clock(), read(nvml, devices)))
                if self._closing.wait(READ_SECONDS):
                    return
        finally:
            nvml.nvmlShutdown()

    def _find_kind(self, nvml: Any, devices: Sequence[Any]) -> None:
        try:
            self._kind = self._kind or kind_of(nvml, devices)
        except Exception as exc:  # noqa: BLE001 - whatever a driver does, the GPUs are measured
            log.info("gpus_not_named because=%r", f"{type(exc).__name__}: {exc}")
        self._kind_known.set()


def kind_of(nvml: Any, devices: Sequence[Any], visible: Optional[str] = None) -> str:
    """The name and the memory (in GiB) of the GPUs, and how many there are: "NVIDIA L4 22 GiB x2".

    The instances of a GPU that is split by MIG count instead of the GPU, because they have less memory.
    NVML knows all GPUs of the machine, the handler only those of CUDA_VISIBLE_DEVICES (`visible`). Where
    that is set and the GPUs differ, nobody can say which ones the handler has. "": nobody can say.
    """
    if visible is None:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    found = _ask(nvml, lambda device: [_one(nvml, part) for part in _parts(nvml, device)], devices)
    names = sorted(name for each in found or () for name in each)
    if not names or (visible and len(set(names)) > 1):
        return ""
    count = {names[0]: len(visible.split(","))} if visible else Counter(names)
    said = " + ".join(f"{name} x{n}" if n > 1 else name for name, n in count.items())
    return said[:LONGEST_NAME]


def _parts(nvml: Any, device: Any) -> Sequence[Any]:
    """The MIG instances of a GPU that this process may use; else the GPU itself."""
    try:
        is_split, _ = nvml.nvmlDeviceGetMigMode(device)
    except (nvml.NVMLError_NotSupported, nvml.NVMLError_FunctionNotFound):
        return [device]
    if not is_split:
        return [device]
    parts = []
    for n in range(nvml.nvmlDeviceGetMaxMigDeviceCount(device)):
        with suppress(nvml.NVMLError_NotFound):
            parts.append(nvml.nvmlDeviceGetMigDeviceHandleByIndex(device, n))
    return parts


def _one(nvml: Any, device: Any) -> str:
    name = nvml.nvmlDeviceGetName(device)
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
    memory = round(nvml.nvmlDeviceGetMemoryInfo(device).total / GIB)
    return f"{''.join(c for c in text if c.isprintable())} {memory} GiB"


def read(nvml: Any, devices: Sequence[Any]) -> Reading:
    """Read all GPUs. One that is split into instances (MIG) does not say its use."""
    used = _ask(nvml, nvml.nvmlDeviceGetUtilizationRates, devices)
    memory = _ask(nvml, nvml.nvmlDeviceGetMemoryInfo, devices)
    power = _ask(nvml, nvml.nvmlDeviceGetPowerUsage, devices)
    return Reading(
        gpu_percent=None if used is None else sum(u.gpu for u in used) / len(used),
        gpu_memory_percent=None if memory is None else _used(memory),
        gpu_watts=None if power is None else sum(power) / MILLIWATTS,
    )


def _used(memory: Sequence[Any]) -> Optional[float]:
    total = sum(m.total for m in memory)
    return 100 * sum(m.used for m in memory) / total if total else None


def _ask(
    nvml: Any, question: Callable[[Any], Any], devices: Sequence[Any]
) -> Optional[Sequence[Any]]:
    """The answer of each GPU. None if one of them, its driver or our rights do not let it answer."""
    never = (
        nvml.NVMLError_NotSupported,
        nvml.NVMLError_NoPermission,
        nvml.NVMLError_FunctionNotFound,
    )
    try:
        return [question(device) for device in devices]
    except never:
        return None


def _mean(values: Iterable[Optional[float]]) -> Optional[int]:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known)) if known else None
