"""Single conditions of the adapters, each in the case in which it alone decides."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pods.providers import docker, registry
from pods.providers.account_options import OptionKind, option_fields
from pods.providers.base import OfferQuery, Phase, PodSpec
from pods.providers.docker.options import Options as DockerOptions
from pods.providers.errors import Unavailable
from pods.providers.local import LocalProvider, folder, launch, mapping, processes, provider
from pods.providers.local.folder import Recorded
from pods.providers.local.options import Options as LocalOptions
from pods.providers.runpod.options import Options as RunPodOptions
from pods.providers.vastai import logs, market
from pods.providers.vastai.mapping import Row, read_state
from pods.providers.vastai.options import Options as VastOptions
from pods.providers.wire import checked_base_url

NOBODY = 2**22 + 1  # above the largest pid


@dataclass
class _Odd:
    first: int | None = None
    word: bytes = b""


def test_an_option_of_an_unknown_type_is_typed_as_text() -> None:
    assert [option.kind for option in option_fields(_Odd)] == [OptionKind.WHOLE, OptionKind.TEXT]


def test_a_disk_error_without_words_is_shown_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no words"), folder.on_disk(tmp_path):
        raise OSError("no words")
    with pytest.raises(Unavailable, match=r": the disk is full$"), folder.on_disk(tmp_path):
        raise OSError(28, "the disk is full")


def test_a_process_that_has_gone_has_a_name_and_no_start() -> None:
    assert launch.named(NOBODY) == f"{NOBODY} "
    assert processes._ticks(NOBODY) > 2**60


@pytest.mark.parametrize(
    ("stopped", "running", "started", "phase"),
    [
        (True, False, True, Phase.STOPPING),
        (True, False, False, Phase.STOPPED),
        (False, True, True, Phase.RUNNING),
        (False, False, True, Phase.FAILED),
        (False, False, False, Phase.BOOTING),
    ],
)
def test_the_phase_of_a_local_machine(
    stopped: bool, running: bool, started: bool, phase: Phase
) -> None:
    born = datetime(2026, 1, 1, tzinfo=UTC)
    recorded = Recorded(
        token="t", name="n", command=["x"], env={}, created_at=born, stopped=stopped
    )
    assert mapping.phase(recorded, running=running, started=started) is phase


@pytest.mark.parametrize("text", ["a\0b", 7])
def test_a_text_that_no_process_can_get_is_refused(tmp_path: Path, text: object) -> None:
    with pytest.raises(ValueError, match="give a text"):
        LocalOptions.parse({"root": str(tmp_path), "python_path": text})


@pytest.mark.parametrize(
    "wish",
    [
        {"gpu_types": ["H100"]},
        {"min_vram_gb": 1},
        {"regions": ["EU"]},
        {"interruptible": True},
        {"max_hourly_usd": Decimal("0.4")},
    ],
)
def test_this_machine_offers_nothing_that_a_process_does_not_have(
    tmp_path: Path, wish: dict[str, Any]
) -> None:
    local = LocalProvider(LocalOptions.parse({"root": str(tmp_path), "hourly_usd": "0.5"}))
    assert local.offers(OfferQuery(**wish)) == ()
    assert len(local.offers(OfferQuery(max_hourly_usd=Decimal("0.5")))) == 1


def test_every_provider_of_ours_says_what_it_is_and_describes_its_options() -> None:
    for name in registry.BUILT_IN:
        assert len(registry.about(name)) > 10
        assert registry.option_fields_of(name)


@pytest.mark.parametrize("options", [{"min_cuda_version": ""}, {"volume_gb": 0}])
def test_an_option_of_runpod_may_say_none(options: dict[str, Any]) -> None:
    assert RunPodOptions.parse(options) == RunPodOptions.parse({})


@pytest.mark.parametrize(
    "value",
    [
        *("https://", "https://:443", "https://u:p@h", "https://u@h", "https://:p@h"),
        *("https://h/?a=1", "https://h/#f", "ftp://127.0.0.1"),
    ],
)
def test_an_address_of_an_api_has_scheme_host_and_port_alone(value: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        checked_base_url(value)


@pytest.mark.parametrize("url", ["https://u:p@s3.example/log", "https://:p@s3.example/log"])
def test_a_log_at_an_address_with_a_password_is_not_fetched(url: str) -> None:
    with pytest.raises(Unavailable, match="not a plain https URL"):
        logs.checked(url, loopback=False)


def test_an_emulators_log_is_fetched_by_http_and_by_nothing_else() -> None:
    assert logs.checked("http://127.0.0.1:1/log", loopback=True).port == 1
    for url, loopback in (("ftp://127.0.0.1/log", True), ("http://127.0.0.1/log", False)):
        with pytest.raises(Unavailable):
            logs.checked(url, loopback=loopback)


@pytest.mark.parametrize(("said", "because"), [("no GPU", "exited: no GPU"), ("", "exited")])
def test_a_machine_that_failed_says_why_where_the_vendor_does(said: str, because: str) -> None:
    states = {"intended_status": "running", "cur_state": "running", "actual_status": "exited"}
    row: Row = {**states, "status_msg": said}
    assert read_state(row).because == because


@pytest.mark.parametrize(
    ("regions", "may"),
    [
        ((), True),
        (("EU-RO-1",), False),
        (("CA",), True),
        (("EU-RO-1", "CA"), True),
        (("somewhere",), True),
    ],
)
def test_a_market_has_no_data_center_of_another_vendor(regions: Sequence[str], may: bool) -> None:
    assert market.may_have(OfferQuery(regions=regions)) is may


@pytest.mark.parametrize("cuda", ["x", -1, 1000])
def test_a_version_that_is_not_a_number_is_refused(cuda: object) -> None:
    with pytest.raises(ValueError, match="give a number from 0 to"):
        VastOptions.parse({"min_cuda": cuda})


def test_what_the_names_of_a_machines_variables_call_secret_is_hidden_in_its_log(
    tmp_path: Path,
) -> None:
    born = datetime(2026, 1, 1, tzinfo=UTC)
    env = {
        "HF_TOKEN": "hf_secret",
        "WORD": "shown",
        f"{provider.OWN_VARIABLES}TOKEN": "ours",
        "BROKER": "redis://u:pass%20word@h",
    }
    recorded = Recorded(token="t", name="n", command=["x"], env=env, created_at=born)
    folder.write(tmp_path, recorded)
    assert set(provider._passwords(tmp_path)) == {"hf_secret", "pass%20word", "pass word"}
    assert provider._passwords(tmp_path / "missing") == ()


@pytest.mark.parametrize("verb", ["stop", "start"])
def test_a_machine_whose_lock_another_process_keeps_is_asked_for_again_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    local = LocalProvider(LocalOptions.parse({"root": str(tmp_path)}))
    home = tmp_path / "t"
    home.mkdir()
    born = datetime(2026, 1, 1, tzinfo=UTC)
    folder.write(home, Recorded(token="t", name="n", command=["x"], env={}, created_at=born))
    monkeypatch.setattr(folder.locked.__wrapped__, "__kwdefaults__", {"seconds": 0.0})
    with folder.locked(home) as lock:
        assert lock is not None
        with pytest.raises(Unavailable, match="held the lock"):
            getattr(local, verb)("local-t")
    spec = PodSpec(name="pf-7-u", tag="pf-7", offer_key="", image="")
    with folder.locked(tmp_path), pytest.raises(Unavailable, match="is locked"):
        local.create(spec, token="u")


@pytest.mark.parametrize(
    "binds",
    ["/a:/b", {"/a:/b": 1}, [7], ["a:/b"], ["/a"], ["/a:b"]],
    ids=["text", "object", "7", "a:/b", "/a", "/a:b"],
)
def test_a_bind_names_two_full_paths(binds: object) -> None:
    with pytest.raises(ValueError, match="give a list of /host/path:/container/path"):
        DockerOptions.parse({"binds": binds})
    assert DockerOptions.parse({"binds": ["/a:/b:ro"]})


def test_a_docker_host_takes_no_secret() -> None:
    with pytest.raises(ValueError, match="docker takes no secret"):
        docker.connect(options={}, secret="s")


@pytest.mark.parametrize(("space", "fits"), [(None, True), (40, True), (39, False)])
def test_a_host_that_does_not_say_its_disk_may_have_enough(space: int | None, fits: bool) -> None:
    row = {"disk_space": space, "verification": "verified", "cuda_max_good": 99}
    options = VastOptions.parse({})
    assert market._row_fits(row, OfferQuery(disk_gb=40), options, bids=False) is fits
