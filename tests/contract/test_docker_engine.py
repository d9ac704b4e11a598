"""The Docker adapter with an emulated engine: versions, GPUs, pulls, and what it refuses."""

from collections.abc import Collection, Iterator
from typing import Any

import pytest

from pods.emulators.base import Reply, Server
from pods.providers.base import OfferQuery, Phase, PodSpec
from pods.providers.docker import Docker, connect, wire
from pods.providers.docker.options import Options
from pods.providers.errors import NoCapacity, QuotaExceeded, Refused, Unavailable
from tests.contract.provider_contract import ProviderContract
from tests.support.docker_engine import DIGEST, Container, DockerEngine


class EngineSubject:
    """A host with room, on an emulated engine."""

    secret = ""
    unknown_id = "f" * 64
    one_token_is_one_machine = True

    def __init__(self, server: Server, engine: DockerEngine) -> None:
        self.server, self.engine = server, engine
        self.provider = self.reconnected()

    def reconnected(self, **options: Any) -> Docker:
        host = self.server.url.replace("http", "tcp")
        return connect(options={"host": host, "capacity": 50, **options}, secret=None)

    def spec(self, tag: str, token: str, **changes: Any) -> PodSpec:
        facts = {"offer_key": "docker", "image": "you/agent:1", **changes}
        return PodSpec(name=f"{tag}-{token}", tag=tag, **facts)

    def living(self) -> Collection[str]:
        return [c.id for c in self.engine.containers.values()]

    def sent(self) -> int:
        return self.server.calls()

    def let_pass(self, seconds: float) -> None:
        pass


@pytest.fixture
def subject(monkeypatch: pytest.MonkeyPatch) -> Iterator[EngineSubject]:
    monkeypatch.setattr(wire, "_SPOKEN", {})
    engine = DockerEngine()
    with Server(engine) as server:
        yield EngineSubject(server, engine)
    assert not server.complaints


class TestDockerEngine(ProviderContract):
    pass


RANGES: Any = [
    ((1, 44), (1, 52), True, "/v1.44"),  # Engine 29
    ((1, 44), (1, 52), False, "/v1.44"),  # the number is in GET /version alone
    ((1, 24), (1, 40), True, "/v1.40"),  # Engine 19.03
    ((1, 24), (1, 40), False, "/v1.40"),
    ((1, 60), (1, 70), True, "/v1.60"),
]


@pytest.mark.parametrize(("oldest", "newest", "says", "spoken"), RANGES)
def test_every_call_is_made_in_a_version_that_the_engine_takes(
    subject: EngineSubject,
    oldest: tuple[int, int],
    newest: tuple[int, int],
    says: bool,
    spoken: str,
) -> None:
    engine, provider = subject.engine, subject.provider
    engine.oldest, engine.newest, engine.says_limits = oldest, newest, says
    machine = provider.create(subject.spec("pf-a", "t1"), token="t1")
    assert machine.phase is Phase.RUNNING
    assert provider.logs(machine.external_id).strip() == "it runs"
    provider.stop(machine.external_id)
    provider.start(machine.external_id)
    assert len(provider.list_tagged("pf-a")) == 1
    provider.destroy(machine.external_id)
    assert not engine.containers
    # Only the first call was refused. Another adapter of the process knows the version too.
    assert subject.server.calls(path=r"/v1\.41/.*") == 1
    assert subject.reconnected().list_tagged("pf-a") == []
    assert subject.server.exchanges[-1].request.path.startswith(spoken)
    assert subject.server.calls(path=r"/v1\.41/.*") == 1


def test_a_machine_is_destroyed_by_an_engine_that_was_upgraded_meanwhile(
    subject: EngineSubject,
) -> None:
    machine = subject.provider.create(subject.spec("pf-a", "t1"), token="t1")
    subject.engine.oldest = (1, 44)
    subject.provider.destroy(machine.external_id)
    assert not subject.engine.containers
    subject.engine.oldest, subject.engine.newest = (1, 24), (1, 43)  # and downgraded again
    assert subject.provider.list_tagged("pf-a") == []


def test_an_engine_that_names_no_version_is_called_without_one(subject: EngineSubject) -> None:
    machine = subject.provider.create(subject.spec("pf-a", "t1"), token="t1")
    engine = subject.engine
    engine.oldest, engine.says_limits, engine.serves_version = (1, 44), False, False
    subject.provider.destroy(machine.external_id)
    assert not engine.containers


def test_two_pods_on_one_host_get_different_gpus(subject: EngineSubject) -> None:
    subject.engine.gpus = 4
    provider = subject.reconnected(capacity=2, gpus_per_pod=2)
    first = provider.create(subject.spec("pf-a", "t1"), token="t1")
    provider.create(subject.spec("pf-a", "t2"), token="t2")
    assert gpus_of(subject) == {"pf-a-t1": ["0", "1"], "pf-a-t2": ["2", "3"]}
    provider.destroy(first.external_id)
    provider.create(subject.spec("pf-a", "t3"), token="t3")
    assert gpus_of(subject) == {"pf-a-t2": ["2", "3"], "pf-a-t3": ["0", "1"]}


def gpus_of(subject: EngineSubject) -> dict[str, list[str]]:
    """The GPUs of each container."""
    return {c.name: c.gpus for c in subject.engine.containers.values()}


def test_a_host_offers_no_more_pods_than_it_has_gpus_for(subject: EngineSubject) -> None:
    subject.engine.gpus = 3
    provider = subject.reconnected(capacity=5, gpus_per_pod=2, gpus=3)
    provider.create(subject.spec("pf-a", "t1"), token="t1")
    assert provider.offers(OfferQuery()) == ()
    with pytest.raises(NoCapacity, match="1 GPUs are free there, and a pod needs 2"):
        provider.create(subject.spec("pf-a", "t2"), token="t2")
    assert len(subject.living()) == 1


def test_a_stopped_pod_does_not_start_on_gpus_that_another_got(subject: EngineSubject) -> None:
    subject.engine.gpus = 2
    provider = subject.reconnected(capacity=2, gpus_per_pod=1)
    stopped = provider.create(subject.spec("pf-a", "t1"), token="t1")
    provider.stop(stopped.external_id)
    # The GPU of a stopped pod is given away last.
    second = provider.create(subject.spec("pf-a", "t2"), token="t2")
    third = provider.create(subject.spec("pf-a", "t3"), token="t3")
    assert gpus_of(subject) == {"pf-a-t1": ["0"], "pf-a-t2": ["1"], "pf-a-t3": ["0"]}
    provider.destroy(second.external_id)
    with pytest.raises(NoCapacity, match="another pod has GPU 0 now"):
        provider.start(stopped.external_id)
    provider.destroy(third.external_id)
    provider.start(stopped.external_id)


def test_a_container_of_an_older_version_has_the_first_gpus(subject: EngineSubject) -> None:
    subject.engine.gpus = 2
    host = {"DeviceRequests": [{"Count": 1, "Capabilities": [["gpu"]]}]}
    asked = {"Labels": {"podfleet.token": "t1"}, "HostConfig": host}
    subject.engine.containers["pf-a-t1"] = Container("pf-a-t1", asked, "running")
    provider = subject.reconnected(capacity=2, gpus_per_pod=1)
    provider.create(subject.spec("pf-a", "t2"), token="t2")
    assert gpus_of(subject) == {"pf-a-t1": ["0"], "pf-a-t2": ["1"]}


def test_of_two_creates_at_the_same_time_none_runs_on_a_gpu_of_the_other(
    subject: EngineSubject,
) -> None:
    subject.engine.gpus = 2
    provider = subject.reconnected(capacity=2, gpus_per_pod=1)

    def another_is_faster(reply: Reply) -> Reply:
        """Let another worker create a pod between this worker's look and its request."""
        other = subject.reconnected(capacity=2, gpus_per_pod=1)
        other.create(subject.spec("pf-a", "t2"), token="t2")
        return reply

    subject.server.faults.edit("GET", r".*/containers/json", another_is_faster)
    with pytest.raises(NoCapacity, match="another pod got GPU 0 at the same time"):
        provider.create(subject.spec("pf-a", "t1"), token="t1")
    assert gpus_of(subject) == {"pf-a-t2": ["0"]}
    assert provider.create(subject.spec("pf-a", "t1"), token="t1").phase is Phase.RUNNING


def test_a_host_with_fewer_gpus_than_it_was_said_to_have_keeps_no_container(
    subject: EngineSubject,
) -> None:
    provider = subject.reconnected(capacity=1, gpus_per_pod=1)
    with pytest.raises(NoCapacity, match="could not select device driver"):
        provider.create(subject.spec("pf-a", "t1"), token="t1")
    assert not subject.living()


def test_a_stopped_pod_that_gets_no_gpu_keeps_its_disk(subject: EngineSubject) -> None:
    subject.engine.gpus = 1
    provider = subject.reconnected(capacity=1, gpus_per_pod=1)
    machine = provider.create(subject.spec("pf-a", "t1"), token="t1")
    provider.stop(machine.external_id)
    subject.engine.gpus = 0
    with pytest.raises(NoCapacity, match="could not select device driver"):
        provider.start(machine.external_id)
    assert provider.status(machine.external_id).phase is Phase.STOPPED


def test_a_container_that_cannot_start_is_not_left(subject: EngineSubject) -> None:
    wrong = Reply(status=400, json={"message": "exec: no such file or directory"})
    subject.server.faults.answer("POST", r".*/start", wrong)
    with pytest.raises(Refused, match="no such file"):
        subject.provider.create(subject.spec("pf-a", "t1"), token="t1")
    assert not subject.living()


@pytest.mark.parametrize(
    ("image", "name", "version", "found_as"),
    [
        ("reg:5055/a/b:7", "reg:5055/a/b", "7", "reg:5055/a/b:7"),
        (f"reg:5055/a/b@{DIGEST}", "reg:5055/a/b", DIGEST, f"reg:5055/a/b@{DIGEST}"),
        (f"a/b:7@{DIGEST}", "a/b", DIGEST, f"a/b@{DIGEST}"),
    ],
)
def test_an_image_is_pulled_by_its_tag_or_its_digest(
    subject: EngineSubject, image: str, name: str, version: str, found_as: str
) -> None:
    subject.engine.registry = {(name, version)}
    machine = subject.provider.create(subject.spec("pf-a", "t1", image=image), token="t1")
    assert machine.phase is Phase.RUNNING
    assert subject.engine.pulled == [(name, version)]
    [container] = subject.engine.containers.values()
    assert container.asked["Image"] == found_as


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        ("manifest for a/b:7 not found: manifest unknown", Refused),
        ("pull access denied for a/b, repository does not exist", Refused),
        ("no matching manifest for linux/arm64/v8 in the manifest list entries", Refused),
        ("toomanyrequests: You have reached your pull rate limit", Unavailable),
        ("failed to register layer: write /x: no space left on device", QuotaExceeded),
    ],
)
@pytest.mark.parametrize("alone", [True, False])
def test_an_error_within_the_stream_of_a_pull_is_the_reason(
    subject: EngineSubject, error: str, raised: type[Exception], alone: bool
) -> None:
    line = {"errorDetail": {"message": error}, "error": error}
    more = [] if alone else [{"status": "Downloading", "progressDetail": {"current": 1}}]
    subject.engine.pull_lines = [*more, line]
    with pytest.raises(raised) as caught:
        subject.provider.create(subject.spec("pf-a", "t1", image="a/b:7"), token="t1")
    assert error in str(caught.value)
    assert not subject.living()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.1.1", "[::1]"])
@pytest.mark.parametrize("network", ["bridge", "mine"])
def test_a_container_that_cannot_reach_its_redis_is_not_made(
    subject: EngineSubject, host: str, network: str
) -> None:
    env = {"PODFLEET_REDIS_URL": f"redis://pod:s3cretpassword@{host}:6390/0"}
    provider = subject.reconnected(network=network)
    before = subject.sent()
    with pytest.raises(Refused, match="give REDIS_URL an address that containers reach") as caught:
        provider.create(subject.spec("pf-a", "t1", env=env), token="t1")
    assert "s3cretpassword" not in str(caught.value)
    assert subject.sent() == before


def test_a_container_on_the_hosts_network_reaches_the_embedded_redis(
    subject: EngineSubject,
) -> None:
    spec = subject.spec("pf-a", "t1", env={"PODFLEET_REDIS_URL": "redis://127.0.0.1:6390/0"})
    machine = subject.reconnected(network="host").create(spec, token="t1")
    assert machine.phase is Phase.RUNNING


def test_the_engine_of_another_machine_never_reaches_the_managers_loopback() -> None:
    tls = {"tls_ca": "/ca.pem", "tls_cert": "/cert.pem", "tls_key": "/key.pem"}
    options = options_of(host="tcp://gpu-box:2376", network="host", **tls)
    assert not options.shares_loopback
    assert options_of(network="host").shares_loopback


def options_of(**given: Any) -> Options:
    """The options of an account."""
    return Options.parse(given)
