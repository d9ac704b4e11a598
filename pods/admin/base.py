"""The bases of the admin's pages: what a page shows of secrets, and what its list answers."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final

from django.contrib.admin.options import BaseModelAdmin
from django.contrib.admin.utils import flatten
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils.html import escape, format_html
from simple_history.admin import SimpleHistoryAdmin
from simple_history.template_utils import HistoricalRecordContextHelper
from unfold.admin import ModelAdmin
from unfold.decorators import action

from pods.admin.own_words import OwnWords
from pods.base import csv

Mask = Callable[[Any], Any]
# The endings of the links that Django's own filters make.
OF_FILTERS: Final = ("", "__exact", "__id__exact", "__in", "__isnull", "__gte", "__lt")
MOST_KEEPING: Final = 20  # rows that are named
OF_DATES: Final = ("__year", "__month", "__day")


class SaysWhatKeeps(BaseModelAdmin):  # type: ignore[type-arg]
    """A page that says why a row cannot be deleted: what keeps it, before any right.

    Nobody may delete a pod or a fleet there. So Django said that the superuser has no right to delete
    the pods of an account, and did not say that they keep it.
    """

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """What a deletion takes along, and what keeps the rows."""
        found = super().get_deleted_objects(objs, request)  # type: ignore[misc]
        gone, counts, lacking, keeping = found
        if not keeping and lacking and request.user.is_superuser:  # history, which nobody deletes
            keeping = [f"{name} rows" for name in sorted(map(str, lacking))]
        if not keeping:
            return gone, counts, lacking, keeping
        said = [format_html("in use by {}", each) for each in keeping[:MOST_KEEPING]]
        if len(keeping) > MOST_KEEPING:
            said.append(format_html("and by {} more", len(keeping) - MOST_KEEPING))
        return gone, counts, set(), said


class AskedByFilters(SaysWhatKeeps):
    """A list that can be asked only by the filters that it shows.

    By default Django takes any column of the row from the address. A count then tells, letter by
    letter, what a page does not show.
    """

    list_filter: ClassVar[Sequence[Any]] = ()
    date_hierarchy: str | None = None

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Whether one of the list's filters asks this."""
        allowed = {f"{self.date_hierarchy}{ending}" for ending in OF_DATES}
        for shown in self.list_filter:
            if isinstance(shown, type):
                allowed.add(str(getattr(shown, "parameter_name", "")))
            else:
                path = shown if isinstance(shown, str) else shown[0]
                allowed |= {path + ending for ending in OF_FILTERS}
        return lookup in allowed and super().lookup_allowed(lookup, value, request)  # type: ignore[arg-type]


class Page(AskedByFilters, ModelAdmin):  # type: ignore[misc]
    """The pages of a row. Who may not edit the row sees its secrets masked.

    Help texts are text, so `<stream>` is shown as it is. The templates write them as HTML, because
    Django's own hold some.
    """

    form = OwnWords
    change_form_before_template = "admin/form_errors.html"
    # The fields that hold secrets or may hold them, and how each is shown.
    masked: ClassVar[Mapping[str, Mask]] = {}
    # What an empty list says: what would be here; and where to look else: an address and its words.
    nothing: ClassVar[str] = ""
    elsewhere: ClassVar[tuple[str, str] | None] = None

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """The form, with help texts that are safe to write as HTML, also of read-only fields."""
        columns: list[Any] = self.opts.get_fields()
        own = {f.name: f.help_text for f in columns if getattr(f, "help_text", "")}
        named = getattr(getattr(self.form, "Meta", None), "help_texts", None) or {}
        texts = {name: escape(text) for name, text in {**own, **named}.items()}
        return super().get_form(request, obj, change=change, help_texts=texts, **kwargs)

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """The page of a row, with one button that saves; the first wrong field has the focus."""
        context.update(show_save_and_continue=False, show_save_and_add_another=False)
        form = context["adminform"].form
        wrong = (n for n, f in form.fields.items() if n in form.errors and not f.widget.is_hidden)
        if first := next(wrong, None):
            form.fields[first].widget.attrs["autofocus"] = True
        answer: HttpResponse = super().render_change_form(request, context, *args, **kwargs)
        return answer

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """The fieldsets; for who may not edit the row with the masked fields."""
        return self.as_may_be_seen(request, obj, super().get_fieldsets(request, obj))

    def as_may_be_seen(self, request: HttpRequest, obj: Any, fieldsets: Any) -> Any:
        """The fieldsets; for who may not edit the row with the masked fields."""
        if self._may_edit(request, obj):
            return fieldsets
        return [(title, {**how, "fields": self._shown(how["fields"])}) for title, how in fieldsets]

    def _may_edit(self, request: HttpRequest, obj: Any) -> bool:
        if obj is None:
            return self.has_add_permission(request) or self.has_change_permission(request)
        return self.has_change_permission(request, obj)

    def _shown(self, fields: Sequence[Any]) -> Sequence[Any]:
        """The fields without those of the form alone, and masked where they hold secrets."""
        shown: list[Any] = []
        for name in fields:
            if not isinstance(name, str):
                shown.append(self._shown(name))
            elif name in self.masked:
                labels = getattr(getattr(self.form, "Meta", None), "labels", None) or {}
                called = labels.get(name, name.replace("_", " "))
                shown.append(_Masked(name, self.masked[name], called=called))
            elif name not in self.form.declared_fields:
                shown.append(name)
        return tuple(shown)


class _Masked:
    """A field of a page that shows the masked value of a column."""

    def __init__(self, name: str, mask: Mask, *, called: str) -> None:
        self.__name__, self._name, self._mask = f"masked_{name}", name, mask
        self.short_description = called

    def __call__(self, row: Any) -> str:
        """The masked value, as text."""
        shown = self._mask(getattr(row, self._name))
        return shown if isinstance(shown, str) else json.dumps(shown)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Masked) and other._name == self._name

    def __hash__(self) -> int:
        return hash(self._name)


class _MaskedChanges(HistoricalRecordContextHelper):  # type: ignore[misc]
    """The changes between two versions of a row, with its secrets masked."""

    masked: Mapping[str, Mask] = {}

    def prepare_delta_change_value(self, change: Any, value: Any) -> Any:
        """The value as the page may show it."""
        shown = super().prepare_delta_change_value(change, value)
        mask = self.masked.get(change.field)
        return shown if mask is None else mask(shown)


class PageWithHistory(Page, SimpleHistoryAdmin):  # type: ignore[misc]
    """The pages of a row with its former versions."""

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """All fields, for who may not edit the row: the page of a version has no other protection."""
        if self._may_edit(request, obj):
            return super().get_readonly_fields(request, obj)
        declared = self.fieldsets or ((None, {"fields": self.fields or ()}),)
        return flatten([name for _, how in declared for name in self._shown(how["fields"])])

    def get_historical_record_context_helper(
        self, _request: HttpRequest, historical_record: Any
    ) -> HistoricalRecordContextHelper:
        """What formats the changes of a version: masked for everybody."""
        helper = _MaskedChanges(self.model, historical_record)
        helper.masked = self.masked
        return helper

    def history_form_view(
        self, request: HttpRequest, object_id: str, version_id: str, extra_context: Any = None
    ) -> HttpResponse:
        """The page of a former version. The package itself lets whoever may see it also restore it."""
        if request.method == "POST" and not self.has_change_permission(request):
            raise PermissionDenied
        answer: HttpResponse = super().history_form_view(
            request, object_id, version_id, extra_context
        )
        return answer


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
