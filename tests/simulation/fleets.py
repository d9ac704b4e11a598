"""The fleets of a simulated day, with their agents."""

from collections.abc import Sequence
from typing import Final

from fleet import operating
from pods.models import Account
from tests.simulation.agents import Agents
from tests.simulation.draws import Draws
from tests.simulation.range_agents import RangeAgents
from tests.simulation.redis_faults import FaultyRedis
from tests.simulation.vendors import IMAGE, Vendor
from tests.simulation.worker import Worker
from tests.support.factories import a_fleet

FLEET: Final = {
    "name": "emb",
    "image": IMAGE,
    "max_instances": 3,
    "target_depth_per_pod": 10,
    "idle_seconds": 60,
    "drain_seconds": 20,
    "boot_seconds": 300,
    "disk_gb": 40,
}
# A lost GPU fails one row of each range.
DATASET: Final = {"name": "rows", "backlog": "dataset", "tolerated_failure_percent": 90}


def of_items(
    number: int,
    accounts: Sequence[Account],
    vendors: Sequence[Vendor],
    servers: Sequence[FaultyRedis],
    draws: Draws,
) -> Agents:
    """The first fleet has its backlog on the first server, the others on the last one."""
    server = servers[-1] if number else servers[0]
    name = f"{FLEET['name']}{number or ''}"
    texts = {"name": name, "stream": f"{name}-items", "backlog_url": server.url}
    fleet = a_fleet(accounts=accounts, **{**FLEET, **texts})
    operating.make_group(fleet)
    return Agents(vendors, fleet, server, draws)


def of_rows(
    accounts: Sequence[Account],
    vendors: Sequence[Vendor],
    servers: Sequence[FaultyRedis],
    draws: Draws,
    worker: Worker,
) -> RangeAgents:
    """A fleet with a dataset, whose ranges are on the last server."""
    where = {"stream": "rows-ranges", "backlog_url": servers[-1].url}
    fleet = a_fleet(accounts=accounts, **{**FLEET, **DATASET, **where})
    operating.make_group(fleet)
    return RangeAgents(vendors, fleet, servers[-1], draws, worker)
