"""The lines of the switch that stops everything, and of its undo."""

from typing import Final

from tests.mutations.mutation import Mutation

STOPPING: Final = "tests/integration/fleet/test_stopping.py::"

STOPS: Final = (
    Mutation(
        name="a-limit-ends-no-stop",
        file="fleet/stopping.py",
        before="Case(When(mode=STOPPED, then=Value(STOPPED)), default=Value(mode))",
        after="Value(mode)",
        tests=(STOPPING + "test_a_limit_that_is_set_meanwhile_ends_no_stop",),
    ),
    Mutation(
        name="an-old-undo-ends-no-new-stop",
        file="fleet/stopping.py",
        before="mode=STOPPED, version=seen.version",
        after="mode=STOPPED",
        tests=(STOPPING + "test_an_undo_of_an_old_look_does_not_undo_a_new_stop",),
    ),
    Mutation(
        name="a-second-stop-keeps-what-was-before",
        file="fleet/stopping.py",
        before="Limits.objects.exclude(mode=STOPPED)",
        after="Limits.objects.all()",
        tests=(
            STOPPING + "test_the_undo_brings_back_the_mode_from_before_also_after_a_second_stop",
        ),
    ),
)
