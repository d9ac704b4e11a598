"""The lines that bound what an agent has in hand, and keep good items apart from bad ones."""

from typing import Final

from tests.mutations.mutation import Mutation

LUA = "pods/agent/scripts/"
BYTES = "tests/integration/pods/agent/test_bytes_in_hand.py::"

IN_HAND: Final = (
    Mutation(
        name="bytes-of-a-read",
        file=LUA + "read.lua",
        before="  if used > 0 then asked",
        after="  if false then asked",
        tests=(BYTES + "test_no_more_is_read_than_the_bytes_in_hand_allow",),
    ),
    Mutation(
        name="bytes-of-a-claim",
        file=LUA + "claim.lua",
        before="#taken >= count or budget <= 0 end",
        after="#taken >= count end",
        tests=(BYTES + "test_no_more_is_claimed_than_the_bytes_in_hand_allow",),
    ),
    Mutation(
        name="bytes-of-a-recovery",
        file=LUA + "recover.lua",
        before="if budget <= 0 then break end",
        after="",
        tests=(BYTES + "test_no_more_is_recovered_than_the_bytes_in_hand_allow",),
    ),
    Mutation(
        name="bytes-of-a-retry",
        file="pods/agent/holding.py",
        before="if len(due) >= most or max_bytes <= 0:",
        after="if len(due) >= most:",
        tests=(BYTES + "test_no_more_is_tried_again_than_the_bytes_in_hand_allow",),
    ),
)
