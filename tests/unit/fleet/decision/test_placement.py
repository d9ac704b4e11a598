"""The fleet rents by the cost of an item, and avoids what failed lately."""

from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from fleet.decision import placement
from fleet.decision.placement import Experience, Failure, Trouble, rank, weigh
from fleet.decision.values import OfferFacts, Wanted
from tests.support.factories import hours, offer_facts, seconds
from tests.support.strategies import EXAMPLES

ANY = Wanted()
GPUS = ["", "A", "B", "C"]
kinds = st.tuples(st.sampled_from(GPUS), st.just(1))


def an_offer(key: str, gpu: str = "A", usd: str = "0.5", **values: object) -> OfferFacts:
    return offer_facts(key, gpu_type=gpu, gpu_count=1, hourly_usd=Decimal(usd), **values)


def failed(trouble: Trouble, key: str = "a", ago: float = 0.0, host: str = "") -> Failure:
    return Failure(trouble=trouble, account_id=1, key=key, ago=seconds(ago), host=host)


def knows(speeds: dict[str, float], **values: object) -> Experience:
    measured = {(gpu, 1): speed for gpu, speed in speeds.items()}
    return Experience(**{"speeds": measured, "proven": frozenset(measured), **values})  # type: ignore[arg-type]


offers = st.lists(
    st.builds(
        an_offer,
        st.sampled_from([f"o{n}" for n in range(8)]),
        st.sampled_from(GPUS),
        st.sampled_from(["0", "0.1", "0.34", "2"]),
        host=st.sampled_from(["", "h1", "h2"]),
        region=st.sampled_from(["EU", "US"]),
    ),
    max_size=8,
    unique_by=lambda o: o.key,
)
failures = st.lists(
    st.builds(
        failed,
        st.sampled_from(list(Trouble)),
        st.sampled_from([f"o{n}" for n in range(8)]),
        st.sampled_from([0.0, 60.0, 299.0, 301.0, 3599.0, 3601.0, 8000.0]),
        st.sampled_from(["", "h1"]),
    ),
    max_size=6,
)
experiences = st.builds(
    Experience,
    speeds=st.dictionaries(kinds, st.sampled_from([0.5, 8.0, 90.0])),
    proven=st.frozensets(kinds),
    running=st.dictionaries(kinds, st.integers(0, 9)),
    failures=failures,
)


@EXAMPLES
@given(offers=offers, known=experiences, room=st.integers(1, 5))
def test_a_rented_offer_fits_is_not_avoided_and_uses_a_host_once(
    offers: list[OfferFacts], known: Experience, room: int
) -> None:
    wanted = Wanted(regions=["EU"], max_hourly_usd=Decimal("0.34"))
    ranked = rank(offers, wanted, known, room=room)
    assert len(ranked) <= room
    assert all(placement.fits(o, wanted) and o.because for o in ranked)
    avoided = [o for o in ranked if placement.avoided(o, known.failures)]
    if avoided:  # a second chance for one host, if nothing else can be rented
        assert len(ranked) == 1
        assert not [w for w in weigh(offers, wanted, known) if not w.refused]
    with_host = [o.key for o in ranked if o.host]
    assert len(with_host) == len(set(with_host))


@EXAMPLES
@given(offers=offers, known=experiences, room=st.integers(1, 5))
def test_a_kind_of_gpu_without_an_item_has_one_pod_at_most(
    offers: list[OfferFacts], known: Experience, room: int
) -> None:
    ranked = rank(offers, ANY, known, room=room)
    for gpu in GPUS[1:]:
        new = sum(o.gpu_type == gpu for o in ranked)
        if (gpu, 1) not in known.proven and new:
            assert new == 1
            assert not (known.running or {}).get((gpu, 1))


@EXAMPLES
@given(offers=offers, known=experiences, room=st.integers(1, 5))
def test_unmeasured_gpus_get_a_limited_share_if_measured_ones_are_offered(
    offers: list[OfferFacts], known: Experience, room: int
) -> None:
    if not any(w.measured and not w.refused for w in weigh(offers, ANY, known)):
        return
    new = [o for o in rank(offers, ANY, known, room=room) if (o.gpu_type, 1) not in known.speeds]
    running = known.running or {}
    trying = sum(n for kind, n in running.items() if kind not in known.speeds)
    if new:
        allowed = max(1, int(placement.EXPLORING * (sum(running.values()) + room)))
        assert trying + len(new) <= allowed


@EXAMPLES
@given(offers=offers, room=st.integers(1, 5), speeds=st.tuples(*[st.floats(0.5, 90.0)] * 4))
def test_measured_offers_are_ordered_by_the_cost_of_an_item(
    offers: list[OfferFacts], room: int, speeds: tuple[float, ...]
) -> None:
    known = knows(dict(zip(GPUS, speeds, strict=True)))
    ranked = rank(offers, ANY, known, room=room)
    costs = [o.million_items_usd for o in ranked]
    assert costs == sorted(costs)  # type: ignore[type-var]
    if offers:
        assert costs[0] == min(w.cost for w in weigh(offers, ANY, known))


@EXAMPLES
@given(told=failures, later=st.sampled_from([1.0, 300.0, 7200.0]))
def test_failures_are_forgotten_with_time(told: list[Failure], later: float) -> None:
    offer = an_offer("o1", host="h1")
    faded = [
        Failure(trouble=f.trouble, account_id=1, key=f.key, ago=f.ago + seconds(later), host=f.host)
        for f in told
    ]
    assert placement.avoided(offer, told) or not placement.avoided(offer, faded)
    old = [failed(f.trouble, f.key, f.ago.total_seconds() + 24 * 3600, f.host) for f in told]
    assert not placement.avoided(offer, old)
    assert not placement.doubtful(offer, old)


def test_a_dear_fast_gpu_goes_before_a_cheap_slow_one() -> None:
    known = knows({"A": 8.0, "B": 90.0})
    first, *_ = rank([an_offer("a", "A", "0.34"), an_offer("b", "B", "2")], ANY, known, room=1)
    assert first.key == "b"
    assert "B at $2.00/h and 90.0 items/s: $6.17 per million items, best of 2" in first.because


def test_without_a_speed_the_lowest_hourly_price_goes_first() -> None:
    first, *_ = rank([an_offer("b", usd="2"), an_offer("a", usd="0.34")], ANY, room=1)
    assert first.key == "a"
    assert "no speed is measured yet" in first.because


def test_a_cheaper_gpu_is_tried_with_one_pod_and_a_much_dearer_one_is_not() -> None:
    known = knows({"A": 8.0}, running={("A", 1): 2})
    offers = [an_offer("a", usd="0.5"), an_offer("b", "B", "0.3"), an_offer("c", "C", "9")]
    assert [o.key for o in rank(offers, ANY, known, room=3)] == ["b", "a", "a"]
    busy = knows({"A": 8.0}, running={("A", 1): 2, ("B", 1): 1})
    assert {o.key for o in rank(offers, ANY, busy, room=3)} == {"a"}


def test_a_refused_offer_is_tried_again_after_a_half_life() -> None:
    offers = [an_offer("a", usd="0.3"), an_offer("b", usd="0.5")]
    known = knows({"A": 8.0}, failures=[failed(Trouble.REFUSED)])
    assert [o.key for o in rank(offers, ANY, known, room=1)] == ["b"]
    later = knows({"A": 8.0}, failures=[failed(Trouble.REFUSED, ago=301)])
    assert [o.key for o in rank(offers, ANY, later, room=1)] == ["a"]
    again = knows({"A": 8.0}, failures=[failed(Trouble.REFUSED, ago=n) for n in (301, 601)])
    assert [o.key for o in rank(offers, ANY, again, room=1)] == ["b"]


def test_a_bad_host_is_avoided_under_each_of_its_offers() -> None:
    known = knows({"A": 8.0}, failures=[failed(Trouble.BROKEN, "old", host="h1")])
    offers = [an_offer("a", usd="0.3", host="h1"), an_offer("b", usd="0.5", host="h2")]
    assert [o.key for o in rank(offers, ANY, known, room=2)] == ["b"]


def test_a_bad_host_is_avoided_for_several_boot_deadlines_of_that_pod() -> None:
    offers = [an_offer("a", usd="0.3", host="h1"), an_offer("b", usd="0.5", host="h2")]
    for boot, hour in ((seconds(60), 1.0), (seconds(900), 1.0), (seconds(3600), 4.0)):
        for ago, expected in ((hour * 3600 - 1, "b"), (hour * 3600 + 1, "a")):
            bad = replace(failed(Trouble.BROKEN, "old", ago, "h1"), boot_deadline=boot)
            known = knows({"A": 8.0}, failures=[bad])
            assert rank(offers, ANY, known, room=1)[0].key == expected, (boot, ago)


def test_if_every_host_was_bad_the_one_that_was_bad_the_longest_ago_gets_one_pod() -> None:
    offers = [an_offer("a", usd="0.3", host="h1"), an_offer("b", usd="0.5", host="h2")]
    early = [failed(Trouble.BROKEN, "x", 600, "h1"), failed(Trouble.BROKEN, "x", 700, "h2")]
    assert rank(offers, ANY, knows({"A": 8.0}, failures=early), room=3) == ()
    later = [failed(Trouble.BROKEN, "x", 1000, "h1"), failed(Trouble.BROKEN, "x", 1100, "h2")]
    known = knows({"A": 8.0}, failures=later)
    assert [o.key for o in rank(offers, ANY, known, room=3)] == ["b"]
    refused = knows({"A": 8.0}, failures=[*later, failed(Trouble.REFUSED, "b", 10)])
    assert [o.key for o in rank(offers, ANY, refused, room=3)] == ["a"]


def test_a_host_whose_agent_gave_up_goes_behind_the_others_and_is_still_used() -> None:
    offers = [an_offer("a", usd="0.3", host="h1"), an_offer("b", usd="0.5", host="h2")]
    known = knows({"A": 8.0}, failures=[failed(Trouble.GAVE_UP, "x", 10, "h1")])
    assert [o.key for o in rank(offers, ANY, known, room=2)] == ["b", "a"]


def test_after_two_bad_machines_an_offer_of_many_goes_behind_the_others() -> None:
    offers = [an_offer("a", usd="0.3"), an_offer("b", usd="0.5")]
    once = knows({"A": 8.0}, failures=[failed(Trouble.BROKEN)])
    assert rank(offers, ANY, once, room=1)[0].key == "a"
    twice = knows({"A": 8.0}, failures=[failed(Trouble.BROKEN), failed(Trouble.BROKEN)])
    assert rank(offers, ANY, twice, room=1)[0].key == "b"
    assert rank(offers[:1], ANY, twice, room=1)[0].key == "a"


def test_an_interruptible_offer_with_too_many_losses_gives_way_to_on_demand() -> None:
    spot = an_offer("a", usd="0.1", interruptible=True, host="h1")
    offers = [spot, an_offer("b", usd="0.5")]
    losses = [failed(Trouble.LOST, ago=60.0 * n) for n in range(3)]
    assert rank(offers, ANY, knows({"A": 8.0}, failures=losses[:2]), room=1)[0].key == "a"
    assert rank(offers, ANY, knows({"A": 8.0}, failures=losses), room=1)[0].key == "b"
    known = knows({"A": 8.0}, failures=losses)
    assert weigh([spot], ANY, known)[0].refused == "taken away 3 times within 1 h"
    old = [failed(Trouble.LOST, ago=hours(1).total_seconds()) for _ in range(3)]
    assert rank(offers, ANY, knows({"A": 8.0}, failures=old), room=1)[0].key == "a"


def test_an_offer_fits_by_any_name_of_its_gpu_and_its_place() -> None:
    offer = an_offer("a", gpu="H100 SXM", region="EU-RO-1", vram_gb=80)
    for gpu in ("H100", "h100_sxm", "NVIDIA H100 80GB HBM3"):
        assert placement.fits(offer, Wanted(gpu_types=[gpu])), gpu
    for place in ("Romania", "EU-RO-1", "EU"):
        assert placement.fits(offer, Wanted(regions=[place])), place
    assert not placement.fits(offer, Wanted(gpu_types=["H100 PCIe", "H200"]))
    assert not placement.fits(offer, Wanted(regions=["US", "CA"]))


def test_an_offer_without_the_disk_that_a_pod_needs_does_not_fit() -> None:
    small = an_offer("a", largest_disk_gb=25)
    assert placement.fits(small, Wanted(disk_gb=25))
    assert not placement.fits(small, Wanted(disk_gb=26))
    assert placement.fits(an_offer("a"), Wanted(disk_gb=26))  # its host does not say
