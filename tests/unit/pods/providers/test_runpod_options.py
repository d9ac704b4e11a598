"""What an operator can set on an account at RunPod, and how a mistake is reported."""

from typing import Any

import pytest

from pods.providers.runpod import connect
from pods.providers.runpod.options import Options
from pods.providers.runpod.provider import capabilities_of

KEY = "rpa_SECRET0123"


def test_an_account_without_options_works() -> None:
    options = Options.parse({})
    assert options.clouds == ("SECURE", "COMMUNITY")
    assert options.base_url == "https://api.runpod.io"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"cloud": "SECURE"}, "runpod: unknown option 'cloud'; use base_url, clouds"),
        ({"clouds": "SECURE"}, "give a list of SECURE and COMMUNITY"),
        ({"clouds": []}, "give a list of SECURE and COMMUNITY"),
        ({"clouds": ["ALL"]}, "give a list of SECURE and COMMUNITY"),
        ({"data_centers": ["EU RO"]}, "give a list of ids such as EU-RO-1"),
        ({"data_centers": "EU-RO-1"}, "give a list of ids such as EU-RO-1"),
        ({"data_centers": {"EU-RO-1": 1}}, "give a list of ids such as EU-RO-1"),
        ({"data_centers": [7]}, "give a list of ids such as EU-RO-1"),
        ({"clouds": {"SECURE": 1}}, "give a list of SECURE and COMMUNITY"),
        ({"registry": 7}, "registry is 7; give a text"),
        ({"min_cuda_version": "12"}, "give a version such as 12.4"),
        ({"volume_gb": 5}, "give whole GB from 10"),
        ({"volume_gb": True}, "give whole GB from 10"),
        ({"volume_gb": 10.5}, "give whole GB from 10"),
        ({"volume_path": "workspace"}, "give an absolute path"),
        ({"volume_path": 7}, "give an absolute path"),
        ({"volume_gb": 10, "network_volume": "v"}, "RunPod mounts one of them"),
        ({"requests_per_minute": 0}, "give a whole number from 6"),
        ({"requests_per_minute": 6.5}, "give a whole number from 6"),
        ({"requests_per_minute": 60_001}, "give a whole number from 6"),
        ({"base_url": 1}, "base_url is 1; give a text"),
        ({"base_url": "http://api.runpod.io"}, "use https"),
        ({"base_url": "http://169.254.169.254"}, "use https"),
        ({"base_url": "ftp://x"}, "is not the address of an API"),
        ({"base_url": "https://user:pw@api.runpod.io"}, "has a user, a query or a fragment"),
        ({"base_url": "https://api.runpod.io?api_key=x"}, "has a user, a query or a fragment"),
    ],
)
def test_a_wrong_option_is_refused_with_what_would_be_right(given: Any, said: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        connect(options=given, secret=KEY)
    assert said in str(caught.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8900", "http://localhost:1", "http://[::1]:9"])
def test_an_emulator_on_this_machine_may_be_without_tls(url: str) -> None:
    assert Options.parse({"base_url": url + "/"}).base_url == url


@pytest.mark.parametrize("secret", [None, ""])
def test_an_account_without_a_key_is_refused(secret: str | None) -> None:
    with pytest.raises(ValueError, match="needs an API key"):
        connect(options={}, secret=secret)


def test_a_key_is_in_no_repr_and_in_no_refusal() -> None:
    assert KEY not in repr(connect(options={}, secret=KEY))
    with pytest.raises(ValueError, match="the key has") as caught:
        connect(options={}, secret=KEY + "\n")
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("quota", [6, 60, 176, 300, 60_000])
def test_the_pace_never_passes_the_quota_of_a_minute(quota: int) -> None:
    rate = capabilities_of(Options(requests_per_minute=quota)).rates["*"]
    assert rate.burst + 60 / rate.every.total_seconds() <= quota + 0.1
