"""A dataset job whose store keys are the fleet's secrets alone, from the feed to the finish."""

from pathlib import Path

import pytest
import redis
from django.core.management.base import CommandError

from fleet import keeping_secrets
from fleet.datasets import finishing
from fleet.models import Dataset, Fleet
from pods.agent.dataset import credentials
from tests.support.datasets import FLEET, work, write_parquet
from tests.support.fleet_command import run
from tests.support.object_store import BUCKET, ObjectStore, place


@pytest.mark.takes(15)
def test_the_manager_uses_the_fleets_secrets_for_its_stores(
    fleet: Fleet,
    client: redis.Redis,
    s3: ObjectStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = write_parquet(tmp_path / "a.parquet", 2000)
    for name in ("a", "b"):  # several files are counted at the same time
        place(s3, f"in/{name}.parquet").put(made.read_bytes())
    for name in s3.environment():
        monkeypatch.delenv(name)
    url, out = f"s3://{BUCKET}/in/*.parquet", f"s3://{BUCKET}/out/"
    keys = dict(s3.environment())
    for name, value in {**keys, "AWS_SECRET_ACCESS_KEY": "wrong-secret-key"}.items():
        keeping_secrets.set_secret(fleet, name, value, by="ann")
    with pytest.raises(CommandError, match="does not accept the credentials") as refused:
        run("feed", FLEET, url, "--into", out)
    assert "wrong-secret-key" not in str(refused.value)
    keeping_secrets.set_secret(
        fleet, "AWS_SECRET_ACCESS_KEY", keys["AWS_SECRET_ACCESS_KEY"], by="ann"
    )
    run("feed", FLEET, url, "--into", out, "--rows-per-range", 1000)
    with credentials.using(keys):
        work(client)
    assert finishing.finish_dataset(Dataset.objects.get().pk), Dataset.objects.get().note
    assert "the sink says so too" in run("verify", FLEET)
    assert place(s3, "out/_SUCCESS").get().startswith(b'{"parts": 4, "rows": 4000')


def test_a_feed_says_which_secrets_its_pods_lack(
    fleet: Fleet, s3: ObjectStore, capsys: pytest.CaptureFixture[str]
) -> None:
    place(s3, "in/a.txt").put(b"a line\n")
    run("feed", FLEET, f"s3://{BUCKET}/in/", "--into", f"s3://{BUCKET}/out/")
    said = capsys.readouterr().err
    assert f"the pods of {FLEET} have no credentials for s3://" in said
    for name in s3.environment():
        assert f"  fleet secret set {FLEET} {name} --from-env {name}" in said
    assert "fleetsecret" not in said
