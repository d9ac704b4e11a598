"""The use of the machine: of its GPUs through NVML, and of its processor from /proc.

NVML needs a GPU and its driver, so that a stand-in says what it would say. Its errors are NVML's.
"""

import logging
import threading
import time
from types import SimpleNamespace

import pytest

from pods.agent import gpus
from pods.agent.cpu import READ_SECONDS, READINGS, Cpu, cores
from pods.agent.gpus import MEAN_SECONDS, Gpus
from tests.support.waiting import patience, until

UNKNOWN = {"gpu_percent": None, "gpu_memory_percent": None, "gpu_watts": None}
GB = 2**30


class NVMLError(Exception):
    pass


class NotSupported(NVMLError):
    pass


class NoPermission(NVMLError):
    pass


class FunctionNotFound(NVMLError):
    pass


class NotFound(NVMLError):
    pass


class Nvml:
    """What `pynvml` is to us, with two GPUs and any error in place of an answer."""

    NVMLError_NotSupported = NotSupported
    NVMLError_NoPermission = NoPermission
    NVMLError_FunctionNotFound = FunctionNotFound
    NVMLError_NotFound = NotFound
    names = ("NVIDIA A100 80GB PCIe", b"Tesla P100-PCIE-16GB")

    def __init__(self, *, count=2, total=(80 * GB, 16 * GB), parts=None, **errors):
        self.parts = parts or {}  # of a GPU that is split: the memory of each of its instances
        self.count, self.total, self.errors = count, total, errors
        self.begun = self.ended = 0

    def nvmlInit(self):  # noqa: N802
        self.begun += 1
        self._fail("init")

    def nvmlShutdown(self):  # noqa: N802
        self.ended += 1

    def nvmlDeviceGetCount(self):  # noqa: N802
        return self.count

    def nvmlDeviceGetHandleByIndex(self, n):  # noqa: N802
        return n

    def nvmlDeviceGetName(self, n):  # noqa: N802
        return self.names[n] if isinstance(n, int) else f"{self.names[n[0]]} MIG 1g"

    def nvmlDeviceGetMigMode(self, n):  # noqa: N802
        self._fail("mig")
        return [int(n in self.parts), 0]

    def nvmlDeviceGetMaxMigDeviceCount(self, n):  # noqa: N802
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, n, part):  # noqa: N802
        if part >= len(self.parts[n]):
            raise NotFound
        return n, part

    def nvmlDeviceGetUtilizationRates(self, n):  # noqa: N802
        self._fail("use")
        return SimpleNamespace(gpu=[100, 41][n], memory=3)

    def nvmlDeviceGetMemoryInfo(self, n):  # noqa: N802
        self._fail("memory")
        if not isinstance(n, int):
            return SimpleNamespace(total=self.parts[n[0]][n[1]], used=0, free=0)
        return SimpleNamespace(total=self.total[n], used=[40 * GB, 8 * GB][n], free=0)

    def nvmlDeviceGetPowerUsage(self, n):  # noqa: N802
        self._fail("power")
        return [300_400, 70_200][n]

    def _fail(self, what):
        if what in self.errors:
            raise self.errors[what]


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def started(clock):
    running = []

    def start(load):
        running.append(Gpus(load, clock))
        running[-1].start()
        return running[-1]

    yield start
    for measured in running:
        measured.close()


def test_all_gpus_are_one_figure(started):
    measured = started(Nvml)
    until(lambda: measured.now() != UNKNOWN)
    assert measured.now() == {"gpu_percent": 70, "gpu_memory_percent": 50, "gpu_watts": 371}
    assert measured.kind(10).startswith("NVIDIA A100")
    measured.close()
    until(lambda: not measured._thread.is_alive(), seconds=4)


def test_what_is_sent_is_the_mean_of_the_readings_that_say_something(clock):
    measured = Gpus(Nvml, clock)
    for percent in (30.0, None, 60.0):
        measured._readings.append((clock.now, gpus.Reading(percent, None, 100.0)))
    assert measured.now() == {"gpu_percent": 45, "gpu_memory_percent": None, "gpu_watts": 100}


def test_a_gpu_without_memory_of_its_own_says_the_rest():
    reading = gpus.read(Nvml(total=(0, 0)), [0, 1])
    assert (reading.gpu_percent, reading.gpu_memory_percent) == (70.5, None)


def test_a_machine_with_the_driver_and_without_a_gpu_is_unknown_and_no_error(started, caplog):
    nvml = Nvml(count=0)
    measured = started(lambda: nvml)
    until(lambda: nvml.ended, seconds=4)
    measured.close()
    until(lambda: not measured._thread.is_alive(), seconds=4)
    assert measured.now() == UNKNOWN
    assert caplog.records == []


@pytest.mark.parametrize("error", [NotSupported, NoPermission, FunctionNotFound])
@pytest.mark.parametrize(
    ("what", "field"),
    [("use", "gpu_percent"), ("memory", "gpu_memory_percent"), ("power", "gpu_watts")],
)
def test_a_gpu_that_does_not_say_one_thing_says_the_others(what, field, error):
    nvml = Nvml(**{what: error()})
    said = gpus.read(nvml, [0, 1])._asdict()
    assert [name for name, value in said.items() if value is None] == [field]


@pytest.mark.parametrize(
    ("visible", "kind"),
    [
        ("", "NVIDIA A100 80GB PCIe 80 GiB + Tesla P100-PCIE-16GB 16 GiB"),
        ("1", ""),  # nobody can say which of the two it is
    ],
)
def test_the_kind_of_gpus_that_differ_is_known_where_the_handler_has_all(visible, kind):
    assert gpus.kind_of(Nvml(), [0, 1], visible) == kind


@pytest.mark.parametrize(("visible", "many"), [("", " x2"), ("0", ""), ("0,1", " x2")])
def test_the_kind_says_how_many_gpus_the_handler_has(visible, many):
    assert gpus.kind_of(Nvml(), [0, 0], visible) == f"NVIDIA A100 80GB PCIe 80 GiB{many}"


def test_an_instance_of_a_gpu_that_is_split_is_another_kind():
    nvml = Nvml(parts={0: [10 * GB]})
    assert gpus.kind_of(nvml, [0], "MIG-1") == "NVIDIA A100 80GB PCIe MIG 1g 10 GiB"


def test_old_drivers_know_no_instances():
    for error in (NotSupported(), FunctionNotFound()):
        kind = gpus.kind_of(Nvml(mig=error), [0], "")
        assert kind == "NVIDIA A100 80GB PCIe 80 GiB"


def test_the_gpus_of_the_handler_are_those_of_its_environment(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert gpus.kind_of(Nvml(), [0, 1]) == ""
    assert gpus.kind_of(Nvml(memory=NotSupported()), [0, 1]) == gpus.kind_of(Nvml(), []) == ""


def test_the_kind_that_was_found_first_stays_and_can_be_printed():
    nvml, measured = Nvml(), Gpus(Nvml)
    nvml.names = ("A\x1b[2J\n100", "")
    measured._find_kind(nvml, [0])
    measured._find_kind(Nvml(), [1])
    assert measured.kind(0) == "A[2J100 80 GiB"


def test_a_driver_that_hangs_delays_the_start_once():
    measured = Gpus(Nvml)  # its thread does not run
    began = time.monotonic()
    assert measured.kind(0.05) == ""
    assert time.monotonic() - began >= 0.05
    began = time.monotonic()
    assert measured.kind(60) == ""
    assert time.monotonic() - began < 30


def test_a_gpu_without_a_name_is_measured(started):
    measured = started(lambda: Nvml(memory=NotSupported()))
    until(lambda: measured.now()["gpu_percent"] == 70)
    assert measured.kind(10) == ""


def test_without_the_package_the_gpus_are_unknown(started):
    def missing():
        raise ModuleNotFoundError("No module named 'pynvml'")

    measured = started(missing)
    until(lambda: not measured._thread.is_alive())
    assert measured.now() == UNKNOWN


@pytest.mark.parametrize("what", ["init", "use"])
def test_a_driver_that_fails_is_unknown_and_asked_again_later(started, monkeypatch, caplog, what):
    caplog.set_level(logging.DEBUG, "podfleet.agent")
    monkeypatch.setattr(gpus, "AGAIN_SECONDS", 0.01)
    nvml = Nvml(**{what: NVMLError("GPU is lost")})
    measured = started(lambda: nvml)
    until(lambda: nvml.begun >= 3, seconds=4)
    assert measured.now() == UNKNOWN
    nvml.errors.clear()
    until(lambda: measured.now() != UNKNOWN)
    assert nvml.ended == (0 if what == "init" else nvml.begun - 1)
    assert [r.levelname for r in caplog.records][:2] == ["WARNING", "DEBUG"]
    measured.close()
    until(lambda: not measured._thread.is_alive(), seconds=4)


def test_a_driver_that_hangs_delays_nobody_and_is_unknown_after_half_a_minute(started, clock):
    asked, go_on = threading.Semaphore(0), threading.Event()

    class Hanging(Nvml):
        def nvmlDeviceGetPowerUsage(self, n):  # noqa: N802
            asked.release()
            go_on.wait(patience(20))
            return 0

    measured = started(Hanging)
    assert asked.acquire(timeout=patience(20))
    assert measured.now() == UNKNOWN
    measured._readings.append((clock.now, gpus.Reading(50.0, 60.0, 70.0)))
    clock.now += MEAN_SECONDS
    assert measured.now()["gpu_percent"] == 50
    clock.now += 0.1
    assert measured.now() == UNKNOWN
    go_on.set()


class Proc:
    """Files as Linux has them in /proc, of a machine that a test describes."""

    def __init__(self, folder):
        self.folder = folder

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, errors="surrogateescape")

    def process(self, pid, *, ticks=(0, 0, 0, 0), children=()):
        before = " ".join(str(n) for n in range(4, 14))
        text = f"{pid} (a) \udcff b) S {before} {' '.join(map(str, ticks))} 20 0\n"
        self.write(f"{pid}/stat", text)
        self.write(f"{pid}/task/{pid}/children", " ".join(map(str, children)))


@pytest.fixture
def proc(tmp_path):
    return Proc(tmp_path / "proc")


@pytest.fixture
def measured(proc, clock, tmp_path, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(4)), raising=False)
    monkeypatch.setattr("os.sysconf", lambda _: 100)
    return Cpu(clock, proc=proc.folder, cgroups=tmp_path / "none", pid=10)


def test_the_processor_use_is_that_of_the_agent_and_all_its_processes(proc, clock, measured):
    proc.process(10, ticks=(1, 2, 3, 4), children=[11])
    proc.write("10/task/12/children", "20 ")  # a thread of the agent has started it
    proc.process(11, ticks=(100, 0, 0, 0), children=[13])
    proc.process(13)
    proc.process(20)
    assert measured.percent() is None
    clock.now += READ_SECONDS
    proc.process(11, ticks=(600, 100, 0, 0), children=[13])
    proc.process(13, ticks=(100, 0, 100, 0))
    proc.process(20, ticks=(0, 100, 0, 100))
    assert measured.percent() == 50  # 10 s in 5 s of 4 cores


def test_a_process_that_ended_and_is_not_counted_yet_takes_no_time_away(proc, clock, measured):
    proc.process(10, ticks=(100, 0, 0, 0), children=[11])
    proc.process(11, ticks=(5000, 0, 0, 0))
    measured.percent()
    proc.process(10, ticks=(100, 0, 0, 0), children=[11, 99])
    (proc.folder / "11" / "stat").unlink()
    clock.now += READ_SECONDS
    assert measured.percent() == 0
    proc.process(10, ticks=(100, 0, 5000, 0))
    clock.now += READ_SECONDS
    assert measured.percent() == 0


def test_the_processor_is_read_every_few_seconds_and_counts_for_half_a_minute(
    proc, clock, measured
):
    proc.process(10)
    measured.percent()
    for seconds in range(1, 100):
        proc.process(10, ticks=(100 * seconds, 0, 0, 0))
        clock.now += 1
        measured.percent()
    assert len(measured._readings) == READINGS + 1
    assert measured.percent() == 25
    clock.now += 10
    assert 12 < measured.percent() < 25  # the mean of half a minute
    for _ in range(READINGS + 1):
        clock.now += READ_SECONDS
        measured.percent()
    assert measured.percent() == 0


def test_a_machine_without_proc_says_nothing_of_its_processor(clock, measured):
    assert measured.percent() is None
    clock.now += READ_SECONDS
    assert measured.percent() is None


@pytest.mark.parametrize(
    ("groups", "files", "most"),
    [
        ("", {}, 4),
        ("0::/", {"cpu.max": "max 100000"}, 4),
        ("0::/", {"cpu.max": "150000 100000"}, 1.5),
        ("0::/", {"cpu.max": "900000 100000"}, 4),
        ("0::/a/b", {"a/cpu.max": "200000 100000", "a/b/cpu.max": "max 100000"}, 2),
        ("0::/../x", {"cpu.max": "200000 100000"}, 2),
        ("0::/host/path", {"cpu.max": "50000 100000"}, 0.5),
        ("4:cpu,cpuacct:/docker/7", {"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        ("4:cpu,cpuacct:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 4),
        ("2:cpuset:/x\nnonsense", {"cpu.max": "50000 100000"}, 4),
        ("2:cpuset:/", {"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 4),
        ("0::/", {"cpu.max": "1000 0"}, 4),
    ],
)  # fmt: skip
def test_the_cores_are_those_of_the_affinity_or_of_the_containers_limit(
    proc, tmp_path, monkeypatch, groups, files, most
):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(4)), raising=False)
    proc.write("self/cgroup", groups)
    for name, text in files.items():
        Proc(tmp_path / "cgroup").write(name, text)
    assert cores(proc.folder, tmp_path / "cgroup") == most


@pytest.mark.parametrize(("count", "most"), [(6, 6), (None, 1)])
def test_where_there_is_no_affinity_all_cores_count(tmp_path, monkeypatch, count, most):
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: count)
    assert cores(tmp_path, tmp_path) == most


def test_this_process_is_measured_for_real(clock):
    measured = Cpu(clock)
    assert measured.percent() is None
    assert 0 < measured._readings[-1][1] < 1e9
    clock.now += READ_SECONDS
    assert 0 <= measured.percent() <= 100
