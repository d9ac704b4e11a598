"""The lines that keep ready handlers from wrong results, and from costs that nobody wants."""

from typing import Final

from tests.mutations.mutation import Mutation

MEMORY = "tests/unit/pods/agent/test_calls_fit_the_memory.py::"
SHARED = "tests/integration/pods/agent/test_what_fits_is_shared.py::"
READY = "tests/unit/pods/agent/test_ready_handlers.py::"
SERVER = "tests/integration/pods/agent/test_openai_server.py::"

HANDLERS: Final = (
    Mutation(
        name="a-call-that-does-not-fit-is-remembered",
        file="pods/agent/calling.py",
        before="        too_large = gpu_memory.is_out_of_memory(exc)\n",
        after="        too_large = False\n",
        tests=(MEMORY + "test_a_batch_that_does_not_fit_is_halved_and_no_item_fails",),
    ),
    Mutation(
        name="a-frozen-agent-raises-no-limit",
        file="pods/agent/scripts/fits.lua",
        before="ARGV[3] ~= '' and known == ARGV[2]",
        after="ARGV[3] ~= ''",
        tests=(SHARED + "test_what_was_read_before_another_pod_wrote_is_not_written",),
    ),
    Mutation(
        name="the-smaller-limit-stays",
        file="pods/agent/remembering.py",
        before="less = smaller(known, limits)",
        after="less = limits",
        tests=(SHARED + "test_the_smaller_limits_win",),
    ),
    Mutation(
        name="no-call-is-mostly-padding",
        file="pods/agent/forming.py",
        before="        padded = items * largest > MOST_PADDING * (alone + costs[place])\n",
        after="        padded = False\n",
        tests=(MEMORY + "test_padding_costs_at_most_half_of_what_the_items_cost_alone",),
    ),
    Mutation(
        name="no-vector-of-an-empty-text",
        file="pods/agent/handlers/inputs.py",
        before="    if not value.strip():\n",
        after="    if False:\n",
        tests=(READY + "test_a_vector_is_short_json_and_only_the_item_without_a_text_fails",),
    ),
    Mutation(
        name="no-model-that-ignores-its-mask",
        file="pods/agent/handlers/onnx.py",
        before="    if not change <= LARGEST_CHANGE:\n",
        after="    if False:\n",
        tests=(READY + "test_a_model_that_ignores_its_attention_mask_is_refused",),
    ),
    Mutation(
        name="a-server-ends-with-its-handler",
        file="pods/agent/handlers/guard.py",
        before="    _signal(program, signal.SIGTERM)\n",
        after="    return\n",
        tests=(SERVER + "test_the_server_ends_with_a_handler_that_is_killed",),
    ),
    Mutation(
        name="only-what-ends-a-server-fails",
        file="pods/agent/handlers/openai_server.py",
        before="            alone = self._answered(asked[place])\n",
        after="            alone = None\n",
        tests=(SERVER + "test_a_dead_server_is_started_again_and_only_what_kills_it_fails",),
    ),
)
