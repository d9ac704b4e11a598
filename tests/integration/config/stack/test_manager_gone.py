"""The pods of this machine end themselves if the manager is killed and stays away (L7)."""

from pathlib import Path

import pytest

from config import embedded
from tests.support.installation import FAST, Installation, agents, ready, results, write_items

ORPHAN_SECONDS = 5
ITEMS = 1_200


@pytest.mark.timeout(300)
@pytest.mark.fault(56)
@pytest.mark.slow
@pytest.mark.one_database
@pytest.mark.parametrize("redis_too", [False, True], ids=["Redis lives on", "Redis dies too"])
def test_pods_that_see_no_manager_end_themselves_and_a_later_manager_loses_nothing(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, redis_too: bool
) -> None:
    fleet, look = installation.fleet, installation.look
    fleet("create", "emb", *FAST, "--max-instances", "2", "--orphan-seconds", str(ORPHAN_SECONDS))
    fleet("enqueue", "emb", str(write_items(tmp_path / "a.txt", ITEMS)))
    installation.start(monkeypatch)
    installation.until(lambda: ready(look("emb")) == 2)

    installation.kill_everything(pods=False, redis=redis_too)
    assert (embedded._process(installation.var) is None) == redis_too
    assert agents(installation.var)
    installation.until(lambda: agents(installation.var) == [])

    embedded.ensure_running(installation.var)
    done = set(results(installation.redis_url))
    assert 0 < len(done) < ITEMS
    installation.start(monkeypatch)
    installation.until(lambda: look("emb")["depth"] == 0, seconds=150)
    installation.until(lambda: look("emb")["pods"] == [])
    assert set(results(installation.redis_url)) == {f"a.txt:{n + 1}" for n in range(ITEMS)}
