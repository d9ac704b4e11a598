"""The audit log as a download, for owners."""

from datetime import timedelta
from typing import Final

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, StreamingHttpResponse
from django.views.decorators.http import require_GET

from fleet.auditing import entries, sources
from pods.base.clock import utcnow

DAYS: Final = 30
MAY: Final = "auth.view_user"  # it has the names of all users, and from where they signed in


@require_GET
def audit_log(request: HttpRequest) -> StreamingHttpResponse:
    """The last 30 days as CSV, line by line.

    Raises:
        PermissionDenied: the user may not see the users.
    """
    if not request.user.has_perm(MAY):
        raise PermissionDenied("Only owners may read the audit log.")
    now = utcnow()
    lines = entries.as_csv(sources.entries(now - timedelta(days=DAYS), now))
    headers = {"Content-Disposition": f'attachment; filename="audit-{now:%Y-%m-%d}.csv"'}
    return StreamingHttpResponse(lines, content_type="text/csv", headers=headers)
