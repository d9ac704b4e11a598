"""The lines about vendors' answers, the task queue, secrets and input from outside."""

from typing import Final

from tests.mutations.mutation import Mutation

TRAPS = "tests/unit/config/test_settings_traps.py::"
HTTP = "tests/unit/pods/providers/test_http.py::"
LISTS = "tests/contract/test_runpod_lists.py::"
ENV = "tests/unit/config/test_env.py::"
ACCOUNTS = "tests/integration/pods/accounts/test_accounts.py::"
EGRESS = "tests/unit/pods/base/test_egress.py::"
NOTIFY = "tests/integration/fleet/alerts/test_delivering.py::"
SECRETS = "tests/integration/fleet/admin/test_secrets.py::"
WEB = "tests/integration/config/web/test_web.py::"
SETTINGS = "config/settings.py"
KILLED = (
    "tests/integration/config/celery_settings/test_killed_worker.py::"
    "test_a_task_whose_process_was_killed_runs_again_to_its_end"
)

VENDORS_QUEUE_SECRETS: Final = (
    Mutation(
        name="acks-late",
        file=SETTINGS,
        before="CELERY_TASK_ACKS_LATE = True",
        after="CELERY_TASK_ACKS_LATE = False",
        tests=(KILLED,),
    ),
    Mutation(
        name="reject-on-worker-lost",
        file=SETTINGS,
        before="CELERY_TASK_REJECT_ON_WORKER_LOST = True",
        after="CELERY_TASK_REJECT_ON_WORKER_LOST = False",
        tests=(KILLED,),
    ),
    Mutation(
        name="claim-outlives-its-verb",
        file=SETTINGS,
        before="CLAIM_LEASE = timedelta(seconds=150)",
        after="CLAIM_LEASE = timedelta(seconds=100)",
        tests=(TRAPS + "test_a_task_must_end_before_it_is_delivered_again_or_its_claim_ends",),
    ),
    Mutation(
        name="visibility-outlives-a-task",
        file=SETTINGS,
        before='"visibility_timeout": 600',
        after='"visibility_timeout": 100',
        tests=(TRAPS + "test_a_task_must_end_before_it_is_delivered_again_or_its_claim_ends",),
    ),
    Mutation(
        name="prefetch",
        file=SETTINGS,
        before="CELERY_WORKER_PREFETCH_MULTIPLIER = 1",
        after="CELERY_WORKER_PREFETCH_MULTIPLIER = 4",
        tests=(
            TRAPS + "test_celery_acknowledges_late_takes_one_task_at_a_time_and_accepts_only_json",
        ),
    ),
    Mutation(
        name="json-only",
        file=SETTINGS,
        before='CELERY_ACCEPT_CONTENT = ["json"]',
        after='CELERY_ACCEPT_CONTENT = ["json", "pickle"]',
        tests=(WEB + "test_tasks_are_accepted_only_as_json",),
    ),
    Mutation(
        name="ticks-expire",
        file="fleet/tick/scheduling.py",
        before='"expire_seconds": max(1, period - 1)',
        after='"expire_seconds": None',
        tests=(
            "tests/integration/fleet/tick/test_scheduling.py::"
            "test_a_fleets_schedule_is_made_once_and_then_only_operators_change_it",
        ),
    ),
    Mutation(
        name="sweeps-expire",
        file="pods/tasks.py",
        before='@shared_task(name="pods.sweep", expires=30)',
        after='@shared_task(name="pods.sweep")',
        tests=(TRAPS + "test_every_task_has_one_of_our_queues_and_tasks_from_beat_expire",),
    ),
    Mutation(
        name="steps-expire",
        file="pods/dispatch.py",
        before="expires=countdown + STEP_EXPIRES_SECONDS",
        after="expires=None",
        tests=(
            "tests/integration/pods/test_protective_lines.py::"
            "test_the_next_step_is_sent_when_the_claim_ends_and_it_expires",
        ),
    ),
    Mutation(
        name="never-create-twice",
        file="pods/providers/http.py",
        before="if not (method in REPEATABLE if repeatable is None else repeatable):",
        after="if False:",
        tests=(HTTP + "test_a_get_is_tried_again_and_a_post_never",),
    ),
    Mutation(
        name="never-follow-a-redirect",
        file="pods/providers/clients.py",
        before="follow_redirects=False",
        after="follow_redirects=True",
        tests=(HTTP + "test_a_redirect_is_not_followed",),
    ),
    Mutation(
        name="no-key-in-an-error",
        file="pods/providers/http.py",
        before="hide=(*self._secrets, *hide)",
        after="hide=()",
        tests=(HTTP + "test_the_key_is_in_no_error_answer_and_no_log",),
    ),
    Mutation(
        name="an-answer-that-is-not-json",
        file="pods/providers/http.py",
        before="    raise Unavailable(trouble)\n",
        after="    return Answer(what=what, status=status, headers=headers)\n",
        tests=(HTTP + "test_what_is_no_json_is_unavailable_whatever_its_status",),
    ),
    Mutation(
        name="list-tagged-machines-only-at-runpod",
        file="pods/providers/runpod/provider.py",
        before="return [m for m in found.values() if has_tag(m.name, tag)]",
        after="return list(found.values())",
        tests=(LISTS + "test_only_what_carries_the_tag_is_listed",),
    ),
    Mutation(
        name="list-tagged-machines-only-at-vastai",
        file="pods/providers/vastai/provider.py",
        before="[machine for machine in machines if has_tag(machine.name, tag)]",
        after="machines",
        tests=(
            "tests/contract/test_vastai.py::TestVastai::"
            "test_the_list_holds_what_carries_the_tag_and_nothing_else",
        ),
    ),
    Mutation(
        name="every-page-of-a-list",
        file="pods/providers/runpod/provider.py",
        before="            if cursor is None:\n                return found, page",
        after="            if True:\n                return found, page",
        tests=(LISTS + "test_a_list_with_and_without_pages_is_complete",),
    ),
    Mutation(
        name="every-page-or-an-error",
        file="pods/providers/runpod/provider.py",
        before="if cursor in cursors:\n                raise Unavailable(",
        after="if cursor in cursors:\n                return found, page\n                str(",
        tests=(LISTS + "test_a_cursor_that_does_not_move_is_an_error",),
    ),
    Mutation(
        name="read-a-list-with-pages-twice",
        file="pods/providers/runpod/provider.py",
        before="        if pages > 1:\n",
        after="        if False:\n",
        tests=(LISTS + "test_a_list_that_shifts_while_it_is_read_loses_and_doubles_no_pod",),
    ),
    Mutation(
        name="an-unknown-word-is-not-gone",
        file="pods/providers/runpod/mapping.py",
        before='PHASES.get(str(pod.get("status")), Phase.UNKNOWN)',
        after='PHASES.get(str(pod.get("status")), Phase.GONE)',
        tests=(
            "tests/contract/test_runpod.py::"
            "test_a_status_that_nobody_knows_is_unknown_and_never_gone",
        ),
    ),
    Mutation(
        name="keys-encrypted",
        file="pods/base/sealing.py",
        before="return PREFIX + _keys().encrypt(secret.encode()).decode()",
        after="return PREFIX + secret",
        tests=(
            ACCOUNTS + "test_a_key_from_standard_input_is_tried_then_stored_encrypted_and_used",
        ),
    ),
    Mutation(
        name="keys-sealed-by-us",
        file="pods/base/sealing.py",
        before="            raise InvalidToken\n",
        after="            return sealed\n",
        tests=(ACCOUNTS + "test_a_text_that_we_did_not_seal_is_never_used_as_a_key",),
    ),
    Mutation(
        name="channels-encrypted",
        file="fleet/alerts/delivering.py",
        before="channel.sealed_url = sealing.seal(url)",
        after="channel.sealed_url = url",
        tests=(NOTIFY + "test_an_allowed_address_is_stored_encrypted",),
    ),
    Mutation(
        name="lists-asked-by-their-filters",
        file="pods/admin/base.py",
        before="return lookup in allowed and super()",
        after="return super()",
        tests=(SECRETS + "test_a_list_does_not_say_how_a_secret_begins",),
    ),
    Mutation(
        name="masked-for-viewers",
        file="pods/admin/base.py",
        before="            elif name in self.masked:",
        after="            elif False:",
        tests=(SECRETS + "test_no_page_of_the_admin_shows_a_viewer_a_secret",),
    ),
    Mutation(
        name="masked-history",
        file="pods/admin/base.py",
        before="return shown if mask is None else mask(shown)",
        after="return shown",
        tests=(
            SECRETS + "test_the_history_says_that_an_address_changed_and_not_which_password_it_had",
        ),
    ),
    Mutation(
        name="viewers-restore-nothing",
        file="pods/admin/base.py",
        before='if request.method == "POST" and not self.has_change_permission(request):',
        after="if False:",
        tests=(SECRETS + "test_a_viewer_cannot_restore_a_former_version",),
    ),
    Mutation(
        name="celery-has-its-own-settings-only",
        file="config/celery.py",
        before='"config.settings:CELERY"',
        after='"django.conf:settings", namespace="CELERY"',
        tests=(
            "tests/integration/config/celery_settings/test_tls.py"
            "::test_celery_and_flower_are_given_no_password_but_that_of_the_broker",
        ),
    ),
    Mutation(
        name="kept-logs-without-passwords",
        file="pods/providers/local/provider.py",
        before='return cleaned(end.decode(errors="replace"), _passwords(folder)).encode()[-KEPT_BYTES:]',
        after="return end[-KEPT_BYTES:]",
        tests=(
            "tests/contract/test_local_disk.py"
            "::test_the_kept_log_of_a_destroyed_machine_has_no_password",
        ),
    ),
    Mutation(
        name="texts-without-passwords",
        file="pods/lifecycle.py",
        before="return without_passwords(text)[:LONGEST_BECAUSE]",
        after="return text[:LONGEST_BECAUSE]",
        tests=(
            "tests/integration/pods/test_texts_without_secrets.py"
            "::test_a_pod_and_its_events_have_no_password",
        ),
    ),
    Mutation(
        name="redacted-fields",
        file="config/logs.py",
        before='        return "**"\n',
        after="        return value\n",
        tests=("tests/unit/config/test_logs.py::test_no_secret_reaches_a_log",),
    ),
    Mutation(
        name="redacted-addresses",
        file="config/logs.py",
        before='IN_QUERY.sub(r"\\1**", SECRET_IN_URL.sub(r"\\1:**", value))',
        after="value",
        tests=("tests/unit/config/test_logs.py::test_no_secret_reaches_a_log",),
    ),
    Mutation(
        name="no-private-webhooks",
        file="pods/base/egress.py",
        before="return address.is_global and not address.is_multicast",
        after="return True",
        tests=(NOTIFY + "test_an_address_on_a_private_network_is_refused",),
    ),
    Mutation(
        name="private-networks-behind-ipv6",
        file="pods/base/egress.py",
        before="if inner is not None and not is_outside(inner):",
        after="if False:",
        tests=(EGRESS + "test_a_private_address_is_refused_in_every_form",),
    ),
    Mutation(
        name="private-networks-of-ipv6",
        file="pods/base/egress.py",
        before="if address.is_reserved or address.is_site_local or address.teredo is not None:",
        after="if False:",
        tests=(EGRESS + "test_addresses_that_only_a_local_network_routes_are_refused",),
    ),
    Mutation(
        name="alerts-stay-outside",
        file="fleet/alerts/sender.py",
        before="        egress.stay_outside()\n",
        after="        pass\n",
        tests=(
            NOTIFY + "test_no_connection_is_made_to_a_name_that_becomes_private_after_the_check",
        ),
    ),
    Mutation(
        name="callbacks-connect-to-what-was-checked",
        file="pods/base/egress.py",
        before="        _refuse_private(host, addresses)\n        for last",
        after="        for last",
        tests=(
            "tests/integration/fleet/results/test_posting.py"
            "::test_no_result_goes_to_a_name_that_becomes_private_after_the_check",
        ),
    ),
    Mutation(
        name="webhooks-checked-when-used",
        file="fleet/alerts/delivering.py",
        before="addresses.check(url)  # again",
        after="pass  # again",
        tests=(NOTIFY + "test_an_address_that_is_no_longer_allowed_is_not_used",),
    ),
    Mutation(
        name="webhooks-follow-no-redirect",
        file="fleet/alerts/notifying.py",
        before="http_redirects=False",
        after="http_redirects=True",
        tests=(NOTIFY + "test_a_redirect_is_not_followed",),
    ),
    Mutation(
        name="no-embedded-service-in-production",
        file="config/env.py",
        before="            and self.redis_url.get_secret_value()\n",
        after="",
        tests=(ENV + "test_production_refuses_a_generated_secret_and_an_embedded_service",),
    ),
    Mutation(
        name="no-short-secret-in-production",
        file="config/env.py",
        before="if len(secret.get_secret_value()) < SHORTEST_SECRET:",
        after="if False:",
        tests=(ENV + "test_production_refuses_a_generated_secret_and_an_embedded_service",),
    ),
    Mutation(
        name="lock-out-after-wrong-passwords",
        file=SETTINGS,
        before="AXES_FAILURE_LIMIT = 10",
        after="AXES_FAILURE_LIMIT = 10_000",
        tests=(WEB + "test_ten_wrong_passwords_lock_a_name_out_only_from_their_address",),
    ),
)
