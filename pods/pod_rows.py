"""Builds the row of a new pod: copies values of its fleet, its offer or its machine, once."""

import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from decimal import Decimal
from typing import Any

from django.db.models import Max

from pods.accounts.surveying import unpacked
from pods.base.shared_clock import shared_now
from pods.machine_names import MachineName, tagged, token_of
from pods.models import LONGEST_NAME, Account, Pod
from pods.providers.base import Machine
from pods.states import REQUESTED, PodState


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """The values that a fleet chooses for each of its pods. Each field is a column of the row."""

    fleet_id: int
    agent: Mapping[str, Any]
    image: str
    start_command: str  # "": the image's own
    template_hash: str
    disk_gb: int
    handler_env: Mapping[str, str]
    redis_url: str  # "": the installation's own Redis
    boot_seconds: int
    silent_seconds: int
    drain_seconds: int

    @classmethod
    def of(cls, pod: Pod) -> "Template":
        """The values that the fleet had chosen when the pod's row was made."""
        return cls(**{field.name: getattr(pod, field.name) for field in fields(cls)})


def requested_pod(template: Template, account: Account, *, slug: str, **offered: Any) -> Pod:
    """The row of a requested pod.

    `slug`: the installation's; `offered`: the columns with the values of its offer.
    """
    name = MachineName(slug=slug, fleet_id=template.fleet_id, token=uuid.uuid4())
    return _row(
        template,
        account,
        client_token=name.token,
        name=str(name),
        tag=name.tag,
        state=REQUESTED.value,
        requested_at=shared_now(),
        **offered,
    )


def price_of(machine: Machine, account: Account, fleet_id: int | None) -> Decimal:
    """The machine's price in USD/hour. If the vendor does not say it, the highest that is likely.

    That is the highest price of the fleet's pods at the account, else of all its pods, else of the
    offers in its last survey. It is 0 only if nothing at all is known.
    """
    if machine.hourly_usd is not None:
        return machine.hourly_usd
    pods = Pod.objects.filter(account=account)
    ours = pods.none() if fleet_id is None else pods.filter(fleet_id=fleet_id)
    for known in (ours, pods):
        highest: Decimal | None = known.aggregate(usd=Max("hourly_usd"))["usd"]
        if highest is not None:
            return highest
    return max((unpacked(offer).hourly_usd for offer in account.offers), default=Decimal(0))


def pod_of_machine(
    template: Template,
    account: Account,
    machine: Machine,
    *,
    state: PodState,
    token: uuid.UUID,
    tag: str,
    **more: Any,
) -> Pod:
    """The row of a machine that runs without one.

    `token`: differs from the machine's token if another row holds that one. Such a row gets its own
    name, because the other row's pod uses the machine's name in Redis too.
    """
    own = token.hex in {machine.token, token_of(machine.name)}
    if own:
        # Somebody made it longer at the vendor. Its agent has the name of its create.
        name = machine.name if len(machine.name) <= LONGEST_NAME else tagged(tag, token.hex)
    else:
        name = f"{machine.name[:60]}-{token.hex[:8]}"
    asked_at = machine.created_at or shared_now()
    hourly_usd, stopped_usd = (
        price_of(machine, account, template.fleet_id),
        machine.stopped_hourly_usd,
    )
    return _row(
        template,
        account,
        client_token=token,
        name=name,
        tag=tag,
        state=state.value,
        external_id=machine.external_id,
        hourly_usd=hourly_usd,
        # its offer, which says it, is not known
        stopped_hourly_usd=hourly_usd if stopped_usd is None else stopped_usd,
        gpu_type=machine.gpu_type[:80],
        region=machine.region[:80],
        host=machine.host[:120],
        console_url=machine.console_url[:300],
        interruptible=machine.interruptible,
        requested_at=asked_at,
        asked_at=asked_at,
        booted_at=shared_now(),  # its agent has the whole boot time for its first heartbeat
        **more,
    )


def _row(template: Template, account: Account, **columns: Any) -> Pod:
    return Pod(account=account, provider=account.provider, **asdict(template), **columns)
