"""The first page has three sections; no fleet is lost between its pages."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.decision.alert_facts import Severity
from fleet.decision.fleet_health import FleetHealth, Health
from fleet.pages.listing import ROWS, Section, Wanted, listed, section_of
from fleet.pages.overview import FleetCard
from tests.support.factories import NOON


def a_card(name: str = "emb", health: Health = Health.IDLE, **values: Any) -> FleetCard:
    defaults: dict[str, Any] = {
        "pk": 1, "mode": "running", "worst": None, "archived": False, "archive_when_empty": False,
        "states": [], "billable": 0, "max_instances": 1, "depth": 0, "eta": None,
        "items_per_second": 0.0, "hourly_usd": Decimal(0), "max_hourly_usd": None,
        "spent_today_usd": Decimal(0), "daily_budget_usd": None, "sentence": "", "trouble": "",
        "decided_at": NOON, "target": 0, "wished": 0, "binding": None, "busy_percent": None,
        "gpu_percent": None, "bottleneck": "",
    }  # fmt: skip
    found = FleetHealth(health=health, because="so it is")
    return FleetCard(**{**defaults, "name": name, "health": found, **values})


@pytest.mark.parametrize(
    ("health", "worst", "section"),
    [
        (Health.LATE, None, Section.NEEDS_YOU),
        (Health.IDLE, Severity.WARNING, Section.NEEDS_YOU),
        (Health.IDLE, Severity.INFO, Section.QUIET),
        (Health.HELD, None, Section.WORKING),
        (Health.STARTING, None, Section.WORKING),
        (Health.PAUSED, None, Section.QUIET),
        (Health.STOPPED, None, Section.QUIET),
    ],
)
def test_a_fleet_stands_by_its_health_and_its_alerts(
    health: Health, worst: Severity | None, section: Section
) -> None:
    assert section_of(a_card(health=health, worst=worst)) is section


@given(
    healths=st.lists(st.sampled_from(Health), max_size=3 * ROWS),
    section=st.none() | st.sampled_from(Section),
)
def test_every_fleet_is_on_one_page(healths: list[Health], section: Section | None) -> None:
    ordered = sorted(healths, key=lambda health: health.rank)
    cards = [a_card(f"fleet-{n}", health) for n, health in enumerate(ordered)]
    wanted, shown = Wanted(section=section), []
    while True:
        page = listed(cards, wanted)
        rows = [card for part in page.parts for card in part.cards]
        assert len(rows) <= ROWS
        shown += rows
        if not page.after:
            break
        assert page.last == len(shown)
        wanted = Wanted(section=section, page=page.wanted.page + 1)
    assert shown == [c for c in cards if section is None or section_of(c) is section]
    assert page.found == len(shown)


def test_a_page_that_is_not_there_is_the_last_one() -> None:
    cards = [a_card(f"fleet-{n}") for n in range(ROWS + 1)]
    page = listed(cards, Wanted(page=99))
    assert (page.wanted.page, page.first, page.last, page.after) == (2, 26, 26, "")
    assert (page.before, listed([], Wanted(page=9)).wanted.page) == ("", 1)


@pytest.mark.parametrize("page", ["", "0", "-1", "x", "٣", "9" * 30])
def test_an_odd_address_is_the_first_page(page: str) -> None:
    assert Wanted.asked("nowhere", "x" * 99, page) == Wanted(text="x" * 40)


def test_the_address_of_a_page_asks_for_the_same_page() -> None:
    wanted = Wanted(section=Section.QUIET, text="a b", page=3)
    assert wanted.query == "show=quiet&q=a+b&page=3"
    assert Wanted().query == ""


def test_a_card_is_done_after_what_is_left_at_its_rate() -> None:
    assert a_card(eta=timedelta(hours=1)).done_at == NOON + timedelta(hours=1)
    assert a_card().done_at is None
