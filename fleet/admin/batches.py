"""Batches of the OpenAI API in the admin: how far each is, why one failed, and an early end."""

from typing import Any, Final

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html, format_html_join
from unfold.decorators import action, display

from fleet.batches import advancing
from fleet.models import Batch
from fleet.models.batches import ENDED, MAY_CANCEL
from fleet.pages import words as fleet_words
from pods.admin.base import ReadOnly
from pods.base import moments, words
from pods.plural import plural

FILES: Final = ("input_shown", "output_key", "error_key")
TIMES: Final = (
    "created_at", "in_progress_at", "finalizing_at", "cancelling_at", "ended_at", "expires_at",
)  # fmt: skip


@admin.register(Batch)
class BatchAdmin(ReadOnly):
    """The batches of all fleets, the newest first."""

    nothing = "No batch. A program makes one with the client of the OpenAI API."
    list_display = ("batch", "fleet", "state", "progress", "made", "ends")
    list_display_links = ("batch",)
    list_filter = ("status", "fleet")
    list_select_related = ("fleet",)
    list_fullwidth = True
    search_fields = ("key", "input_key")
    ordering = ("-pk",)
    show_full_result_count = False
    change_form_outer_before_template = "admin/fleet/batch/cancel.html"
    actions = ("cancel", "as_csv", "as_json")
    exported = (
        "key", "fleet", "endpoint", "status", "total", "completed", "failed", "input_key", *TIMES,
    )  # fmt: skip
    readonly_fields = ("state", "progress", "errors_shown", *FILES)
    fieldsets = (
        (None, {"fields": ("fleet", "state", "progress", "errors_shown", "endpoint")}),
        ("Files", {"fields": FILES}),
        ("Times", {"fields": ("completion_window", *TIMES)}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Batch]:
        """The rows without the bits of their requests, which are 12 kB for 100,000 of them."""
        rows: QuerySet[Batch] = super().get_queryset(request)
        return rows.defer("settled")

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        """Whether the user may end batches, as in the API."""
        return request.user.has_perm("fleet.change_fleet")

    @display(description="Batch", ordering="pk")
    def batch(self, batch: Batch) -> str:
        """Its id, as the client knows it."""
        return batch.key

    @display(description="State", ordering="status")
    def state(self, batch: Batch) -> str:
        """The status in the word of the API."""
        shown = fleet_words.BATCHES[batch.status]
        return format_html(
            '<span class="pf-health pf-{}"><span aria-hidden="true">{}</span> {}</span>',
            shown.tone, shown.icon, shown.word,
        )  # fmt: skip

    @display(description="Requests")
    def progress(self, batch: Batch) -> str:
        """How many have their outcome."""
        if not batch.total:
            return words.NONE
        done = f"{batch.completed + batch.failed:,} of {batch.total:,}"
        return f"{done}, {batch.failed:,} failed" if batch.failed else done

    @display(description="Made", ordering="created_at")
    def made(self, batch: Batch) -> str:
        """When the client made it."""
        return moments.shown(batch.created_at)

    @display(description="End")
    def ends(self, batch: Batch) -> str:
        """When it ended, or when it ends at the latest."""
        if batch.ended_at is not None:
            return moments.shown(batch.ended_at)
        return format_html("{} at the latest", moments.shown(batch.expires_at))

    @display(description="Why it failed")
    def errors_shown(self, batch: Batch) -> str:
        """What is wrong with the lines of its input file."""
        if not batch.errors:
            return words.NONE
        lines = [
            f"line {each['line']}: {each['message']}" if each.get("line") else each["message"]
            for each in batch.errors
        ]
        return format_html_join("", "<div>{}</div>", [(line,) for line in lines])

    @display(description="Input file")
    def input_shown(self, batch: Batch) -> str:
        """The file with the requests; its id stays after the file was deleted."""
        return batch.input_key

    @display(description="Output file")
    def output_key(self, batch: Batch) -> str:
        """The file with the answers; the batch has it from its end on."""
        return self._file(batch, batch.output_file)

    @display(description="Error file")
    def error_key(self, batch: Batch) -> str:
        """The file with the requests that failed."""
        return self._file(batch, batch.error_file)

    def _file(self, batch: Batch, file: Any) -> str:
        return file.key if file is not None and batch.ended_at is not None else words.NONE

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """The batch's page, with a button that ends it early."""
        batch = self.get_object(request, object_id)
        may = batch is not None and batch.status in MAY_CANCEL
        context = {
            **(extra_context or {}),
            "title": batch.key if batch is not None else None,
            "may_cancel": may and self.has_cancel_permission(request),
        }
        answer: HttpResponse = super().change_view(request, object_id, form_url, context)
        return answer

    @action(description="Cancel: take back what no pod has read", permissions=["cancel"])
    def cancel(self, request: HttpRequest, batches: QuerySet[Batch]) -> None:
        """End the chosen batches early, as the API does."""
        running = [batch for batch in batches if batch.status not in ENDED]
        count = sum(advancing.cancel(batch) for batch in running)
        if count:
            messages.success(request, f"{plural(count, 'batch')} cancelled")
        if left := batches.count() - count:
            said = f"{plural(left, 'batch')} left alone: nothing of it was left to cancel"
            messages.warning(request, said)
