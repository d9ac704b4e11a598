"""The base of lists whose rows only verbs write and operators only read."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import HttpRequest, StreamingHttpResponse
from django.utils.html import escape
from unfold.admin import ModelAdmin
from unfold.decorators import action

from pods.base import csv


class Page(ModelAdmin):  # type: ignore[misc]
    """The base of our lists and forms: help texts are text, so `<stream>` is shown as it is.

    The templates write help texts as HTML, because Django's own hold some.
    """

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """The form, with help texts that are safe to write as HTML, also of read-only fields."""
        own = {f.name: f.help_text for f in self.opts.get_fields() if getattr(f, "help_text", "")}
        named = getattr(getattr(self.form, "Meta", None), "help_texts", None) or {}
        texts = {name: escape(text) for name, text in {**own, **named}.items()}
        return super().get_form(request, obj, change=change, help_texts=texts, **kwargs)


class ReadOnly(Page):
    """Shows state and history, and never edits them."""

    actions_on_bottom = False

    def has_add_permission(self, _request: HttpRequest) -> bool:
        """False: only verbs create rows."""
        return False

    def has_change_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        """False: only verbs change rows."""
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        """False: history stays."""
        return False

    actions: ClassVar[Sequence[Any]] = ("as_csv", "as_json")
    exported: ClassVar[
        Sequence[str]
    ] = ()  # columns; empty: all of the row's own columns, only for rows without secrets

    @action(description="Export as CSV")
    def as_csv(self, _request: HttpRequest, rows: QuerySet[Any]) -> StreamingHttpResponse:
        """The chosen rows as CSV, one per line; also for hundreds of thousands of rows."""
        names = self._columns()
        lines = csv.csv_lines(names, rows.values_list(*names).iterator())
        return self._download(lines, "text/csv", "csv")

    @action(description="Export as JSON")
    def as_json(self, _request: HttpRequest, rows: QuerySet[Any]) -> StreamingHttpResponse:
        """The chosen rows as JSON, one object per line; money as text."""
        lines = (
            json.dumps(r, default=str) + "\n" for r in rows.values(*self._columns()).iterator()
        )
        return self._download(lines, "application/x-ndjson", "jsonl")

    def _columns(self) -> Sequence[str]:
        return self.exported or [f.attname for f in self.model._meta.concrete_fields]

    def _download(self, lines: Iterator[str], kind: str, suffix: str) -> StreamingHttpResponse:
        name = f"{self.opts.model_name}.{suffix}"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return StreamingHttpResponse(lines, content_type=kind, headers=headers)
