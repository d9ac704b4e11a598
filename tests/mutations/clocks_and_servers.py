"""The lines about hosts whose clocks differ, and about servers that do not answer."""

from typing import Final

from tests.mutations.mutation import Mutation

CLOCKS = "tests/integration/pods/test_hosts_with_other_clocks.py::"
SILENT = "tests/integration/pods/agent_redis/test_silent_server.py::"
OF_THIS_HOST = "    from pods.base.clock import utcnow\n\n    now = utcnow()\n"

CLOCKS_AND_SERVERS: Final = (
    Mutation(
        name="an-end-is-proved-by-the-shared-clock",
        file="pods/teardown.py",
        before="    now = shared_now()\n    if present:\n",
        after=f"{OF_THIS_HOST}    if present:\n",
        tests=(CLOCKS + "test_a_host_ahead_proves_no_end_early",),
    ),
    Mutation(
        name="pauses-by-the-shared-clock",
        file="pods/accounts/breaker.py",
        before="    now = shared_now()\n    closed = row",
        after=f"{OF_THIS_HOST}    closed = row",
        tests=(
            CLOCKS + "test_a_host_ahead_keeps_to_the_pause_of_an_account",
            CLOCKS + "test_a_pause_that_a_host_ahead_begins_is_not_longer",
        ),
    ),
    Mutation(
        name="steps-due-by-the-shared-clock",
        file="pods/lifecycle.py",
        before="pod.due_at = shared_now() + by",
        after="pod.due_at = utcnow() + by",
        tests=(CLOCKS + "test_a_step_is_due_by_the_shared_clock",),
    ),
    Mutation(
        name="a-silent-server-is-left-alone",
        file="pods/base/redis.py",
        before="            self._silent_until = monotonic() + SILENT_SECONDS\n",
        after="",
        tests=(SILENT + "test_a_silent_server_is_asked_once_and_hides_only_its_own_pods",),
    ),
    Mutation(
        name="no-retry-of-what-timed-out",
        file="pods/base/redis.py",
        before="supported_errors=(redis.ConnectionError,)",
        after="supported_errors=(redis.ConnectionError, redis.TimeoutError)",
        tests=(SILENT + "test_a_silent_server_is_asked_once_and_hides_only_its_own_pods",),
    ),
    Mutation(
        name="alerts-after-the-first-ticks",
        file="config/beat.py",
        before="if entry.task in AFTER_AN_INTERVAL:",
        after="if False:",
        tests=(
            "tests/integration/config/celery_settings/test_beat.py"
            "::test_the_first_alerts_after_a_start_wait_for_the_first_ticks",
        ),
    ),
    Mutation(
        name="a-server-that-evicts-is-announced",
        file="fleet/alerts/servers.py",
        before="said = eviction_of(redis_client(address))",
        after='said = ""',
        tests=(
            "tests/integration/fleet/alerts/test_servers.py"
            "::test_a_server_that_deletes_keys_has_one_alert_until_it_is_set_right",
        ),
    ),
)
