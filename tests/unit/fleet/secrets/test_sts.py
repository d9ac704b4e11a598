"""The signature of a request to STS, what keys may do, and when the next ones are asked for."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import ValidationError

from fleet.models import IssuedKeys
from fleet.secrets import checking, issuing, session_policy
from fleet.secrets.sts import Signer, Wish, advice_for, signed

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_a_request_is_signed_as_in_the_example_of_aws() -> None:
    """docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-signing-examples.html"""
    headers = signed(
        "GET",
        "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08",
        {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
        b"",
        Signer(
            access_key_id="AKIDEXAMPLE",
            secret_access_key="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        ),
        region="us-east-1",
        service="iam",
        now=datetime(2015, 8, 30, 12, 36, tzinfo=UTC),
    )
    assert headers["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, "
        "SignedHeaders=content-type;host;x-amz-date, "
        "Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    )


@pytest.mark.parametrize(
    ("region", "endpoint", "url"),
    [
        ("eu-central-1", "", "https://sts.eu-central-1.amazonaws.com/"),
        ("cn-north-1", "", "https://sts.cn-north-1.amazonaws.com.cn/"),
        ("us-east-1", "http://minio:9000", "http://minio:9000"),
    ],
)
def test_sts_is_that_of_the_region_or_the_one_that_is_named(
    region: str, endpoint: str, url: str
) -> None:
    wish = Wish(role_arn="r", session_name="s", seconds=900, region=region, endpoint=endpoint)
    assert wish.url == url


def statements(sink: str, sources: list[str], **more: bool) -> dict[str, list[str]]:
    text = session_policy.policy_of(
        sink, sources, all_reads=more.get("all_reads", False), partition="aws"
    )
    assert len(text) <= session_policy.LONGEST
    rules = json.loads(text)["Statement"]
    return {"+".join([rule["Action"]] if isinstance(rule["Action"], str) else ["writes"]):
            rule["Resource"] for rule in rules}  # fmt: skip


def test_keys_read_the_folders_of_the_input_and_write_the_sink() -> None:
    assert statements(
        "s3://b/out/", ["s3://b/in/a.parquet", "s3://b/in/c.parquet", "s3://d/x"]
    ) == {
        "s3:GetObject": ["arn:aws:s3:::b/in/*", "arn:aws:s3:::d/*"],
        "writes": ["arn:aws:s3:::b/out/*"],
        "s3:ListBucket": ["arn:aws:s3:::b", "arn:aws:s3:::d"],
    }


def test_many_folders_become_the_one_that_has_them_all() -> None:
    many = [f"s3://b/in/year/day={n:04}/a.parquet" for n in range(500)]
    assert statements("s3://b/out/", many)["s3:GetObject"] == ["arn:aws:s3:::b/in/year/*"]
    buckets = [f"s3://{'b' * 40}{n}/a" for n in range(500)]
    assert statements("s3://b/out/", buckets)["s3:GetObject"] == ["arn:aws:s3:::*"]


def test_a_list_of_objects_may_name_any_object() -> None:
    found = statements("s3://b/out/", ["s3://b/list.txt"], all_reads=True)
    assert found["s3:GetObject"] == ["arn:aws:s3:::*"]


def test_a_sink_elsewhere_gets_no_rights() -> None:
    assert "writes" not in statements("file:///out/", ["s3://b/in/a"])


@pytest.mark.parametrize(
    ("row", "due"),
    [
        ({}, True),
        ({"issued_at": NOW - HOUR / 4, "expires_at": NOW + HOUR * 3 / 4}, False),
        ({"issued_at": NOW - HOUR / 2, "expires_at": NOW + HOUR / 2}, True),
        ({"issued_at": NOW, "expires_at": NOW + HOUR, "wish": "another"}, True),
        ({"failed_at": NOW - timedelta(seconds=44), "failed_wish": "wish"}, False),
        ({"failed_at": NOW - timedelta(seconds=45), "failed_wish": "wish"}, True),
        ({"failed_at": NOW - timedelta(seconds=1), "failed_wish": "another"}, True),
    ],
)
def test_keys_are_asked_for_at_half_of_their_life_and_by_the_run_after_a_failure(
    row: dict[str, object], due: bool
) -> None:
    assert issuing.is_due(IssuedKeys(**{"wish": "wish", **row}), "wish", now=NOW) is due


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        (checking.ROLE, "arn:aws:iam::123456789012:role/a/pods", "pods"),
        (checking.ROLE, "arn:aws-cn:iam::123456789012:role/pods", "arn:aws:iam::1:user/pods"),
        (checking.ROLE_SECONDS, "900", "899"),
        (checking.ROLE_SECONDS, "43200", "43201"),
        (checking.ROLE_SECONDS, "3600", "an hour"),
        (checking.STS_ENDPOINT, "https://sts.eu-west-1.amazonaws.com", "sts.amazonaws.com"),
        (checking.STS_ENDPOINT, "http://minio:9000/", "https://me:password@minio/"),
    ],
)
def test_what_says_how_keys_are_issued_is_checked(name: str, good: str, bad: str) -> None:
    checking.check_meaning(name, good)
    with pytest.raises(ValidationError, match=r"give|not a role"):
        checking.check_meaning(name, bad)


MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("code", "ahead", "advice"),
    [
        (
            "SignatureDoesNotMatch",
            16 * MINUTE,
            "the manager's clock is 16 min ahead of the store's",
        ),
        ("SignatureDoesNotMatch", -7 * MINUTE, "the manager's clock is 7 min behind the store's"),
        ("SignatureDoesNotMatch", MINUTE, "does not belong to AWS_ACCESS_KEY_ID"),
        ("SignatureDoesNotMatch", None, "AWS_ACCESS_KEY_ID, or the clocks of the manager"),
        ("RequestExpired", -7 * MINUTE, "the manager's clock is 7 min behind the store's"),
        ("RequestExpired", None, "the clocks of the manager and of the store differ"),
        ("RequestTimeTooSkewed", MINUTE, "the clocks of the manager and of the store differ"),
        ("AccessDenied", 16 * MINUTE, ""),
    ],
)
def test_an_error_that_the_clock_causes_is_said_to_be_the_clocks(
    code: str, ahead: timedelta | None, advice: str
) -> None:
    found = advice_for(code, ahead)
    assert advice in found
    assert bool(found) is bool(advice)
