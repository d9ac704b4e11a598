"""An item that ends the handler's process, or its whole pod, harms no other item."""

import pytest


def test_with_a_single_delivery_a_crash_buries_only_the_item_that_did_it(backlog, agents, until):
    good = backlog.put_numbered(30)
    backlog.put(b"poison")
    good += backlog.put_numbered(30)
    agents.start(backlog, "pod-a", "agent_handlers:crashes_on_poison", max_deliveries=1)
    [letter] = until(backlog.dead)
    until(lambda: len(backlog.results()) == 60)
    backlog.assert_each_has_one_result(good)
    assert letter[b"payload"] == b"poison"


@pytest.mark.takes(15)
@pytest.mark.parametrize("max_deliveries", [1, 5])
def test_an_item_that_kills_its_pods_takes_no_neighbour_with_it(
    backlog, agents, until, max_deliveries
):
    good = backlog.put_numbered(20)
    backlog.put(b"poison")
    good += backlog.put_numbered(100)
    pods = []

    def drained():
        if not pods or pods[-1].poll() is not None:
            pods.append(
                agents.start(
                    backlog,
                    f"pod-{len(pods)}",
                    "agent_handlers:kills_its_pod_on_poison",
                    batch_size=16,
                    claim_idle_seconds=0.5,
                    max_deliveries=max_deliveries,
                )
            )
        return len(backlog.results()) == len(good) and backlog.dead()

    until(drained)
    backlog.assert_each_has_one_result(good)
    [letter] = backlog.dead()
    assert letter[b"payload"] == b"poison"
    assert b"no agent reported back" in letter[b"dead_error"]
    # twice in company, then alone
    assert letter[b"dead_deliveries"] == str(max(3, max_deliveries)).encode()
