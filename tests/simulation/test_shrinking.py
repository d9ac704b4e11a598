"""A failing history is shrunk to the faults that it needs."""

from tests.simulation.shrinking import most_spared


def test_only_the_faults_that_it_fails_of_are_left() -> None:
    spared = most_spared(100, lambda out: not {17, 64} & out, tries=1000)
    assert set(range(1, 101)) - spared == {17, 64}


def test_it_stops_when_the_tries_are_used_up() -> None:
    asked: list[frozenset[int]] = []

    def fails(out: frozenset[int]) -> bool:
        asked.append(out)
        return 17 not in out

    spared = most_spared(100, fails, tries=5)
    assert len(asked) == 5
    assert 17 not in spared
