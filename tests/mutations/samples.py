"""One mutation for each thing that can become of one; run as a program, it says what became of them."""

from tests.mutations.mutation import Mutation
from tests.mutations.running import copied, try_out

BROKEN = Mutation(
    name="x", file="pods/states.py", before="ENDED", after="", tests=("tests/none.py",)
)
STATES = "tests/unit/pods/test_states.py::test_an_ended_row_can_only_go_back_to_terminating"
CAUGHT = Mutation(
    name="y",
    file="pods/states.py",
    before="TERMINATED: frozenset({TERMINATING}),",
    after="TERMINATED: frozenset({TERMINATING, READY}),",
    tests=(STATES,),
)
MISSED = Mutation(
    name="z",
    file="pods/states.py",
    before='"""The states of a pod,',
    after='"""States: what a pod',
    tests=(STATES,),
)
SAMPLES = (CAUGHT, MISSED, BROKEN)


if __name__ == "__main__":
    with copied() as copy:
        print(*(try_out(copy, mutation).became for mutation in SAMPLES))
