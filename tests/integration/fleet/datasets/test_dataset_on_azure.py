"""A dataset between two folders of a container, on a server that speaks Azure's protocol."""

from pathlib import Path

import pytest
import redis

from fleet import keeping_secrets
from fleet.datasets import finishing
from fleet.models import Dataset, Fleet
from pods.agent.dataset import credentials, stores
from tests.support.azurite import CONTAINER, azurite
from tests.support.datasets import FLEET, work, write_parquet
from tests.support.fleet_command import run


@pytest.mark.slow
def test_a_dataset_goes_from_azure_to_azure(
    fleet: Fleet, client: redis.Redis, tmp_path: Path
) -> None:
    with azurite(tmp_path / "azurite") as keys:
        there = stores.place(f"az://{CONTAINER}", keys)
        etag = there.at("in/a b+ü.parquet").put(write_parquet(tmp_path / "a", 2000).read_bytes())
        listed = {found.name: found.etag for found in there.list()}
        assert listed == {"in/a b+ü.parquet": etag}
        with pytest.raises(stores.AlreadyThere):
            there.at("in/a b+ü.parquet").put(b"other", create=True)
        with pytest.raises(stores.Changed):
            there.at("in/a b+ü.parquet").get('"another"')

        for name, value in keys.items():
            keeping_secrets.set_secret(fleet, name, value, by="ann")
        out = f"az://{CONTAINER}/out/"
        run("feed", FLEET, f"az://{CONTAINER}/in/*.parquet", "--into", out, "--rows-per-range", 500)
        with credentials.using(keys):
            work(client)
        assert finishing.finish_dataset(Dataset.objects.get().pk), Dataset.objects.get().note
        assert "the sink says so too" in run("verify", FLEET)
        assert there.at("out/_SUCCESS").get().startswith(b'{"parts": 4, "rows": 2000')
