"""The vendor's own bill: the cost of each machine, to the microsecond."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

_HOUR: Final = Decimal(3_600_000_000)  # microseconds


def cost(hourly_usd: Decimal, time: timedelta) -> Decimal:
    """The cost of a time at a price per hour."""
    return hourly_usd * Decimal(time // timedelta(microseconds=1)) / _HOUR


@dataclass(slots=True)
class _Account:
    hourly_usd: Decimal
    since: datetime
    settled: Decimal = Decimal(0)


@dataclass(slots=True)
class Bill:
    """The bill of each machine. Its price changes over time, and is 0 after its end."""

    _machines: dict[str, _Account] = field(default_factory=dict)

    def set_rate(self, machine_id: str, hourly_usd: Decimal, *, now: datetime) -> None:
        """Set the price of the machine from now on."""
        machine = self._machines.setdefault(machine_id, _Account(hourly_usd, now))
        machine.settled += cost(machine.hourly_usd, now - machine.since)
        machine.hourly_usd, machine.since = hourly_usd, now

    def total(self, machine_id: str, *, now: datetime) -> Decimal:
        """What a machine has cost until now, in USD."""
        machine = self._machines.get(machine_id)
        if machine is None:
            return Decimal(0)
        return machine.settled + cost(machine.hourly_usd, now - machine.since)

    def grand_total(self, *, now: datetime) -> Decimal:
        """What all machines have cost until now, in USD."""
        return sum((self.total(m, now=now) for m in self._machines), Decimal(0))

    def hourly_usd(self) -> Decimal:
        """USD/hour that all machines cost together now."""
        return sum((m.hourly_usd for m in self._machines.values()), Decimal(0))

    def machines(self) -> tuple[str, ...]:
        """All machines that ever billed."""
        return tuple(self._machines)
