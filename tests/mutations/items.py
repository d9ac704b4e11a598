"""The lines that keep items from being lost, published twice or published by a fenced pod."""

from typing import Final

from tests.mutations.mutation import Mutation

SCRIPTS = "tests/integration/pods/agent/test_agent_scripts.py::"
SURVIVES = "tests/integration/pods/agent/test_agent_survives.py::"
PARTS = "tests/unit/pods/agent/test_agent_parts.py::"
USERS = "tests/integration/pods/agent_redis/test_redis_users.py::"
LUA = "pods/agent/scripts/"
FENCED = SCRIPTS + "test_a_fenced_pod_changes_no_stream_by_any_script"
ALL_BUT_HEARTBEAT = (
    "begin",
    "claim",
    "commit",
    "fail",
    "keep",
    "leave",
    "read",
    "recover",
    "release",
)

ITEMS: Final = (
    *(
        Mutation(
            name=f"fence-in-{script}",
            file=f"{LUA}{script}.lua",
            before="if redis.call('EXISTS', KEYS[2]) == 1 then",
            after="if false then",
            tests=(FENCED,),
        )
        for script in ALL_BUT_HEARTBEAT
    ),
    Mutation(
        name="fence-in-heartbeat",
        file=LUA + "heartbeat.lua",
        before="if fenced == 0 then",
        after="if true then",
        tests=(SCRIPTS + "test_a_fenced_pod_writes_no_heartbeat",),
    ),
    Mutation(
        name="a-fenced-agent-ends",
        file="pods/agent/heartbeat.py",
        before="        if fenced:\n",
        after="        if False:\n",
        tests=(
            "tests/integration/pods/agent/test_celery_on_pods.py::test_a_fenced_pods_worker_ends_at_once",
        ),
    ),
    Mutation(
        name="acknowledge-before-publish",
        file=LUA + "commit.lua",
        before="redis.call('XACK', KEYS[1], group, entry) == 0 then",
        after="redis.call('XACK', KEYS[1], group, entry) == 2 then",
        tests=(
            SCRIPTS + "test_a_commit_that_is_repeated_publishes_once",
            SCRIPTS + "test_the_commit_of_an_item_that_another_finished_publishes_nothing",
        ),
    ),
    Mutation(
        name="check-reply-streams-before-acknowledging",
        file="pods/agent/scripts/commit.lua",
        before="    if bad[t] then\n",
        after="    if false then\n",
        tests=(SCRIPTS + "test_no_target_that_cannot_be_written_swallows_an_acknowledged_item",),
    ),
    Mutation(
        name="check-result-stream-before-acknowledging",
        file=LUA + "commit.lua",
        before="if bad[1] then return",
        after="if false then return",
        tests=(
            SCRIPTS + "test_a_broken_result_stream_of_the_fleet_is_an_error_and_buries_nothing",
        ),
    ),
    Mutation(
        name="max-deliveries",
        file=LUA + "fail.lua",
        before=" or pending[4] >= max_deliveries then",
        after=" then",
        tests=(SCRIPTS + "test_a_failed_item_is_retried_until_its_deliveries_are_used_up",),
    ),
    Mutation(
        name="max-deliveries-of-reclaimed-items",
        file="pods/agent/reclaim.py",
        before="spent = [e for e in fresh if e.deliveries > longest]",
        after="spent = []",
        tests=(SURVIVES + "test_an_item_whose_agents_all_died_goes_to_the_dead_letters",),
    ),
    Mutation(
        name="check-dead-letter-stream-before-acknowledging",
        file=LUA + "fail.lua",
        before="if kind ~= 'stream' and kind ~= 'none' then",
        after="if false then",
        tests=(SCRIPTS + "test_a_dead_letter_stream_of_the_wrong_type_buries_nothing",),
    ),
    Mutation(
        name="keep-items-in-hand",
        file="pods/agent/reclaim.py",
        before="        self._holding.drop_lost(self._stream.keep(entries))\n",
        after="",
        tests=(
            SURVIVES + "test_the_work_of_a_healthy_agent_is_never_claimed_however_long_it_takes",
        ),
    ),
    Mutation(
        name="keep-only-own-items",
        file=LUA + "keep.lua",
        before="if pending and pending[2] == consumer then",
        after="if pending then",
        tests=(SCRIPTS + "test_keeping_never_takes_back_what_another_has_claimed",),
    ),
    Mutation(
        name="keep-a-name-with-items",
        file=LUA + "leave.lua",
        before="[1] then return 0 end",
        after="[1] then end",
        tests=(SCRIPTS + "test_a_name_with_pending_items_is_not_removed",),
    ),
    Mutation(
        name="claim-items-of-dead-agents",
        file="pods/agent/reclaim.py",
        before="        if self._clock() < self._next_claim:\n",
        after="        if True:\n",
        tests=(SURVIVES + "test_the_items_of_a_killed_agent_are_claimed_and_none_is_lost",),
    ),
    Mutation(
        name="reply-to-an-allowed-stream-only",
        file="pods/agent/routing.py",
        before="return reply_to if any(fnmatchcase(reply_to, p) for p in self._allowed) else None",
        after="return reply_to",
        tests=(PARTS + "test_a_result_goes_only_where_the_fleet_allows",),
    ),
    Mutation(
        name="reply-to-is-never-a-backlog",
        file="pods/agent/routing.py",
        before='if reply_to in self._never or reply_to.startswith("podfleet:"):',
        after="if False:",
        tests=(PARTS + "test_a_result_goes_only_where_the_fleet_allows",),
    ),
    Mutation(
        name="end-an-agent-without-a-manager",
        file="pods/agent/heartbeat.py",
        before="if self._lease.unchanged_seconds() > self._settings.orphan_seconds:",
        after="if False:",
        tests=(SURVIVES + "test_without_a_manager_an_agent_drains_and_ends",),
    ),
    Mutation(
        name="an-emptied-redis-does-not-prove-a-manager-gone",
        file="pods/agent/heartbeat.py",
        before="if value != self._value and value:",
        after="if value != self._value:",
        tests=(PARTS + "test_a_lease_that_vanishes_proves_nothing",),
    ),
    Mutation(
        name="lease-of-the-agents",
        file="pods/agent_redis/heartbeats.py",
        before="pipe.eval(RENEW, 1, Keys(fleet).lease)",
        after="pipe.get(Keys(fleet).lease)",
        tests=(
            "tests/integration/fleet/tick/test_ticking.py::"
            "test_a_tick_tells_the_agents_that_a_manager_lives",
        ),
    ),
    Mutation(
        name="keys-of-a-pods-user",
        file="pods/agent_redis/redis_users.py",
        before='*(f"~{key}" for key in [own, *given])',
        after='"~*"',
        tests=(USERS + "test_a_pods_credentials_reach_no_key_of_another_fleet",),
    ),
    Mutation(
        name="commands-of-a-pods-user",
        file="pods/agent_redis/redis_users.py",
        before='"-@all"',
        after='"+@all"',
        tests=(USERS + "test_a_pods_credentials_reach_no_key_of_another_fleet",),
    ),
    Mutation(
        name="no-user-on-odd-names",
        file="pods/agent_redis/redis_users.py",
        before="        key_names.check_names(stream=told.stream, results=told.results, reply_to=told.reply_to)",
        after="        pass",
        tests=(USERS + "test_a_pod_of_a_fleet_with_an_odd_stream_gets_no_user_and_no_machine",),
    ),
    Mutation(
        name="fencing-deletes-the-user",
        file="pods/agent_redis/fencing.py",
        before="ex=FENCE_SECONDS)\n        redis_users.delete(pod)",
        after="ex=FENCE_SECONDS)",
        tests=(
            USERS + "test_a_frozen_agent_that_was_written_off_changes_nothing_when_it_continues",
            USERS + "test_a_user_is_deleted_with_its_pod_and_other_users_stay",
        ),
    ),
    Mutation(
        name="a-fenced-pod-gets-no-user",
        file="pods/agent_redis/redis_users.py",
        before='        _acl(client, "DELUSER", *fenced)',
        after="        pass",
        tests=(USERS + "test_a_pod_that_was_fenced_meanwhile_does_not_get_a_user",),
    ),
    Mutation(
        name="make-forgotten-users-again",
        file="pods/agent_redis/redis_users.py",
        before="        _make(client, [pod for pod in rows if _has_allowed_names(pod)])\n",
        after="        pass\n",
        tests=(USERS + "test_users_that_a_server_lost_are_created_again",),
    ),
    Mutation(
        name="enqueue-once",
        file="fleet/items/progress.py",
        before="if known ~= ARGV[2] then return known end",
        after="",
        tests=("tests/integration/fleet/items/test_enqueue_survives.py",),
    ),
)
