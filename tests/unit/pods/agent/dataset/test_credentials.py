"""Which credentials the client of a store gets."""

import pytest

from pods.agent.dataset import credentials
from pods.agent.masking import MASK

AWS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret-of-aws"}
OF_S3 = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}


def test_a_client_is_told_the_variables_of_its_kind_of_store_that_are_set():
    given = {**AWS, "AWS_REGION": "", "AZURE_STORAGE_ACCOUNT_KEY": "azure"}
    assert dict(credentials.told("s3", lambda: given)) == AWS
    assert credentials.told("gs", lambda: given) == ()
    assert credentials.told("file", lambda: given) == ()


@pytest.mark.parametrize(
    ("scheme", "config", "keys"),
    [
        (
            "s3",
            {**OF_S3, "aws_session_token": "t"},
            {"access_key_id": "key", "secret_access_key": "secret", "token": "t"},
        ),
        ("s3", OF_S3, {"access_key_id": "key", "secret_access_key": "secret", "token": None}),
        ("s3", {"aws_access_key_id": "key"}, None),
        ("s3", {"aws_secret_access_key": "secret"}, None),
        ("s3", {"azure_storage_account_key": "k", "azure_storage_sas_token": "t"}, None),
        ("az", OF_S3, None),
        ("az", {"azure_storage_account_key": "k"}, {"access_key": "k"}),
        ("az", {"azure_storage_sas_token": "t"}, {"sas_token": "t"}),
        ("az", {}, None),
    ],
)
def test_a_client_gets_a_whole_key_of_its_kind_or_none(scheme, config, keys):
    wanted = None if keys is None else {**keys, "expires_at": None}
    assert credentials.keys_of(scheme, config) == wanted


def test_no_credential_is_left_in_a_text():
    assert credentials.without_secrets("at secret-of-aws!", AWS) == f"at {MASK}!"
