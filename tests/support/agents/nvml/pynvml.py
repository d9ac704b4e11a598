"""Stands in for NVML in an agent's process: one GPU, which the variable STAND_IN_GPU names."""

import os
from types import SimpleNamespace
from typing import Any

GIB = 2**30


class NVMLError(Exception):
    pass


class NVMLError_NotSupported(NVMLError):  # noqa: N801
    pass


class NVMLError_NoPermission(NVMLError):  # noqa: N801
    pass


class NVMLError_FunctionNotFound(NVMLError):  # noqa: N801
    pass


class NVMLError_NotFound(NVMLError):  # noqa: N801
    pass


def nvmlInit() -> None:  # noqa: N802
    pass


def nvmlShutdown() -> None:  # noqa: N802
    pass


def nvmlDeviceGetCount() -> int:  # noqa: N802
    return 1


def nvmlDeviceGetHandleByIndex(n: int) -> int:  # noqa: N802
    return n


def nvmlDeviceGetName(_: Any) -> str:  # noqa: N802
    return os.environ["STAND_IN_GPU"]


def nvmlDeviceGetMigMode(_: Any) -> Any:  # noqa: N802
    raise NVMLError_NotSupported


def nvmlDeviceGetMemoryInfo(_: Any) -> Any:  # noqa: N802
    return SimpleNamespace(total=24 * GIB, used=0, free=24 * GIB)


def nvmlDeviceGetUtilizationRates(_: Any) -> Any:  # noqa: N802
    return SimpleNamespace(gpu=50, memory=1)


def nvmlDeviceGetPowerUsage(_: Any) -> int:  # noqa: N802
    return 70_000
