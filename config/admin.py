"""Users, logins and the schedule in the admin, in this project's theme."""

from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from axes import admin as axes
from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin
from django.contrib.auth.models import Group, User
from django_celery_beat import models as beat
from django_celery_beat.admin import ClockedScheduleAdmin, CrontabScheduleAdmin, TaskSelectWidget
from django_celery_beat.admin import PeriodicTaskAdmin as BeatTaskAdmin
from django_celery_beat.admin import PeriodicTaskForm as BeatTaskForm
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from config.users import People
from pods.admin.base import AskedByFilters

for model in (
    User,
    Group,
    beat.PeriodicTask,
    beat.IntervalSchedule,
    beat.CrontabSchedule,
    beat.SolarSchedule,
    beat.ClockedSchedule,
    AccessAttempt,
    AccessFailureLog,
    AccessLog,
    # What allauth keeps of the identity provider. The settings describe it, and Users shows its people.
    EmailAddress,
    SocialAccount,
    SocialApp,
    SocialToken,
):
    admin.site.unregister(model)


admin.site.register(User, People)


@admin.register(Group)
class ThemedGroupAdmin(AskedByFilters, GroupAdmin, ModelAdmin):  # type: ignore[misc]
    """Roles."""


class ThemedTaskSelect(UnfoldAdminSelectWidget, TaskSelectWidget):  # type: ignore[misc]
    """The list of registered tasks."""


class ThemedTaskForm(BeatTaskForm):  # type: ignore[misc]
    """A periodic task."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.fields["task"].widget = UnfoldAdminTextInputWidget()
        self.fields["regtask"].widget = ThemedTaskSelect()


@admin.register(beat.PeriodicTask)
class PeriodicTaskAdmin(AskedByFilters, BeatTaskAdmin, ModelAdmin):  # type: ignore[misc]
    """The schedule: edits are in force within seconds."""

    form = ThemedTaskForm


@admin.register(beat.IntervalSchedule)
class IntervalScheduleAdmin(AskedByFilters, ModelAdmin):  # type: ignore[misc]
    """Periods."""


@admin.register(beat.CrontabSchedule)
class ThemedCrontabScheduleAdmin(AskedByFilters, CrontabScheduleAdmin, ModelAdmin):  # type: ignore[misc]
    """Calendars."""


@admin.register(beat.ClockedSchedule)
class ThemedClockedScheduleAdmin(AskedByFilters, ClockedScheduleAdmin, ModelAdmin):  # type: ignore[misc]
    """Single moments."""


@admin.register(AccessAttempt)
class ThemedAttemptAdmin(AskedByFilters, axes.AccessAttemptAdmin, ModelAdmin):  # type: ignore[misc]
    """Wrong passwords."""


@admin.register(AccessLog)
class ThemedLoginAdmin(AskedByFilters, axes.AccessLogAdmin, ModelAdmin):  # type: ignore[misc]
    """Logins."""


@admin.register(AccessFailureLog)
class ThemedFailureAdmin(AskedByFilters, axes.AccessFailureLogAdmin, ModelAdmin):  # type: ignore[misc]
    """Failed logins."""
