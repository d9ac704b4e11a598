"""The events of pods in the admin."""

from django.contrib import admin

from pods.admin.base import ReadOnly
from pods.models import PodEvent


@admin.register(PodEvent)
class PodEventAdmin(ReadOnly):
    """The history of all pods."""

    list_display = ("at", "pod", "before", "after", "by", "because")
    list_filter = ("after", "rule", "by")
    search_fields = ("because", "pod__name")
    ordering = ("-pk",)
    list_select_related = ("pod",)
    show_full_result_count = False
