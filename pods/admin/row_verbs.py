"""A button in each row of a list, and on the row's page, that calls one of the list's actions."""

from collections.abc import Sequence
from typing import Any, ClassVar

from django.http import HttpRequest
from django.utils.html import format_html
from unfold.decorators import display

from pods.admin.base import Page


class WithRowVerb(Page):
    """A list whose rows have a button, for who may change them."""

    row_action: ClassVar[str]  # the name of the action
    row_text: ClassVar[str]  # what the button says
    list_before_template = "admin/row_verb_form.html"
    change_form_outer_before_template = "admin/row_verb_button.html"

    def get_list_display(self, request: HttpRequest) -> Sequence[Any]:
        """The columns, with the button for who may press it."""
        shown = super().get_list_display(request)
        return (*shown, "row_verb") if self.has_change_permission(request) else shown

    def has_row_verb(self, _row: Any) -> bool:
        """Whether the action makes sense for a row."""
        return True

    @display(description="what to do")
    def row_verb(self, row: Any) -> str:
        """The button; its form stands above the list, because the list is a form already."""
        if not self.has_row_verb(row):
            return ""
        return format_html(
            '<button form="pf-row-verb" class="pf-button" name="_selected_action" value="{}" '
            'aria-label="{}: {}">{}</button>',
            row.pk, self.row_text, row, self.row_text,
        )  # fmt: skip
