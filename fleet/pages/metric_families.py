"""Metric families while they are filled: each name once, in the order in which it is first named."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

Number = int | float | Decimal | None


class Families:
    """Metric families in the order in which they are first named."""

    def __init__(self) -> None:
        self._found: dict[str, Any] = {}

    def gauge(self, name: str, text: str, value: Number, **labels: str) -> None:
        """Add a sample, unless its value is not known."""
        self._add(GaugeMetricFamily, name, text, value, labels)

    def counter(self, name: str, text: str, value: Number, **labels: str) -> None:
        """Add a sample of a number that only grows; its name gets `_total`."""
        self._add(CounterMetricFamily, name, text, value, labels)

    def histogram(
        self, name: str, text: str, counts: Sequence[tuple[str, float]], total: float, **labels: str
    ) -> None:
        """Add a histogram: how many values are in each bucket alone, by its upper bound; their sum."""
        family = self._family(HistogramMetricFamily, name, text, labels)
        buckets, reached = [], 0.0
        for bound, count in counts:
            reached += count
            buckets.append((bound, reached))
        family.add_metric(list(labels.values()), buckets=buckets, sum_value=total)

    def all(self) -> Iterable[Metric]:
        """The families that were named."""
        return list(self._found.values())

    def _add(
        self, kind: Any, name: str, text: str, value: Number, labels: Mapping[str, str]
    ) -> None:
        family = self._family(kind, name, text, labels)
        if value is not None:
            family.add_metric(list(labels.values()), float(value))

    def _family(self, kind: Any, name: str, text: str, labels: Mapping[str, str]) -> Any:
        if name not in self._found:
            self._found[name] = kind(name, text, labels=list(labels))
        return self._found[name]
