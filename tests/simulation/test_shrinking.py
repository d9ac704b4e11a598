"""A history that fails is shortened to the faults that the failure needs."""

from tests.simulation.shrinking import largest_left_out


def test_only_the_faults_that_the_failure_needs_are_left() -> None:
    left_out = largest_left_out(100, lambda out: not {17, 64} & out, tries=1000)
    assert set(range(1, 101)) - left_out == {17, 64}


def test_it_stops_when_the_tries_are_used_up() -> None:
    asked: list[frozenset[int]] = []

    def fails(out: frozenset[int]) -> bool:
        asked.append(out)
        return 17 not in out

    left_out = largest_left_out(100, fails, tries=5)
    assert len(asked) == 5
    assert 17 not in left_out
