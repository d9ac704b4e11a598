"""Secrets are taken out of texts, in each form in which a text may have them."""

import io
import json
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from pods.agent import masking
from pods.agent.calling import LONGEST_ERROR, Failed
from pods.agent.dataset import credentials
from pods.agent.progress import Progress
from pods.agent.secrets import parsed

PEM = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nAQEFAASCBKcwggSjAgEA\n-----END KEY-----"


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    yield
    masking._sets.clear()
    masking.know({})


@pytest.mark.parametrize(
    "text",
    ["pass/w+rd", "p'a\"ss\\word", "geheim-ü", quote("pass/w+rd", safe="")],
)
def test_a_value_is_hidden_as_it_is_and_as_it_is_written(text: str) -> None:
    masking.know({"A": text})
    for form in (text, repr(text), json.dumps({"a": text}), f"https://x/?q={quote(text, safe='')}"):
        assert text not in masking.hidden(form)
        assert masking.MASK in masking.hidden(form)


def test_the_longest_value_is_hidden_first_and_a_former_one_stays_hidden() -> None:
    masking.know({"A": "first-value"})
    masking.know({"A": "value", "B": "value-and-more"})
    assert masking.hidden("value-and-more value first-value") == "*** *** ***"


def test_each_long_line_of_a_key_is_hidden() -> None:
    masking.know({"KEY": PEM})
    assert "MIIEvQIBADANBgkqhkiG9w0B" not in masking.hidden("bad line: MIIEvQIBADANBgkqhkiG9w0B")


def test_short_values_and_those_that_are_no_secrets_stay() -> None:
    masking.know({"A": "1", "B": "yes", "AWS_REGION": "eu-central-1"})
    assert masking.hidden("1 of 10 in eu-central-1, yes") == "1 of 10 in eu-central-1, yes"


def test_an_error_is_cut_after_the_secret_was_taken_out() -> None:
    masking.know({"A": "a-long-secret"})
    error = ValueError("x" * (LONGEST_ERROR - len("ValueError: ") - 5) + "a-long-secret")
    failed = Failed.of(error)
    assert "a-lo" not in failed.error[-10:]
    assert "a-long-secret" not in failed.traceback
    assert Failed("no a-long-secret").error == "no ***"


def test_a_note_and_the_output_hide_it() -> None:
    masking.know({"A": "a-long-secret"})
    progress = Progress()
    progress.trouble("handler", "x a-long-secret y")
    assert progress.note == "handler: x *** y"
    stream = io.StringIO()
    hiding = masking._Hiding(stream)
    hiding.writelines(["a ", "a-long-secret\n"])
    assert (stream.getvalue(), hiding.isatty()) == ("a ***\n", False)


def test_a_hash_is_parsed_and_fields_of_later_versions_are_skipped() -> None:
    held = parsed({b"version": b"7", b"env:A": b"b", b"later": b"x", b"env:C": b"\xff"})
    assert (held.version, held.values) == ("7", {"A": "b", "C": "\ufffd"})


def test_the_secrets_replace_what_belongs_together() -> None:
    environment = {
        "AWS_ACCESS_KEY_ID": "old", "AWS_SESSION_TOKEN": "old", "AWS_REGION": "eu-1", "X": "1",
    }  # fmt: skip
    merged = credentials.merged(environment, {"AWS_ACCESS_KEY_ID": "new", "HF": "t"})
    assert merged == {"AWS_ACCESS_KEY_ID": "new", "AWS_REGION": "eu-1", "X": "1", "HF": "t"}
    assert credentials.merged(environment, {}) is environment
    only_region = credentials.merged(environment, {"AWS_REGION": "us-1"})
    assert (only_region["AWS_ACCESS_KEY_ID"], only_region["AWS_REGION"]) == ("old", "us-1")


@pytest.mark.parametrize(
    ("scheme", "variables", "has"),
    [
        ("s3", {}, False),
        ("s3", {"AWS_REGION": "x"}, False),
        ("s3", {"AWS_SKIP_SIGNATURE": "true"}, True),
        ("gs", {"GOOGLE_SERVICE_ACCOUNT_KEY": "{}"}, True),
        ("az", {"AZURE_STORAGE_ACCOUNT_NAME": "box"}, False),
        ("s3", {"AWS_ACCESS_KEY_ID": "k"}, False),
        ("s3", {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}, True),
        ("az", {"AZURE_STORAGE_ACCOUNT_NAME": "box", "AZURE_STORAGE_SAS_TOKEN": "sv"}, True),
        ("file", {}, True),
        ("https", {}, True),
    ],
)
def test_which_variables_give_access(scheme: str, variables: dict[str, str], has: bool) -> None:
    assert credentials.has_access(scheme, variables) is has


def test_a_short_line_of_a_key_is_in_too_many_texts_to_be_hidden() -> None:
    masking.know({"KEY": "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nabcde\n-----END KEY-----"})
    assert masking.hidden("abcde MIIEvQIBADANBgkq") == "abcde ***"
