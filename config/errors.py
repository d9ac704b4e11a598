"""The pages that say what went wrong, and lead back."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import Resolver404
from django.views.decorators.csrf import requires_csrf_token

from pods.base.command_name import how_to_run


def _page(
    request: HttpRequest, status: int, title: str, because: str, help_text: str
) -> HttpResponse:
    """The page with the menu, for who is logged in; else a plain one."""
    context: dict[str, Any] = {"title": title, "because": because, "help_text": help_text}
    inside = request.path.startswith("/admin/") and admin.site.has_permission(request)
    if inside:
        context = {**admin.site.each_context(request), **context}
    template = "errors/inside.html" if inside else "errors/plain.html"
    return render(request, template, context, status=status)


def _words(exception: Exception | None) -> str:
    """What our own code said; Django's own words for an address are those of a program."""
    if exception is None or isinstance(exception, Resolver404):
        return ""
    return str(exception)


@requires_csrf_token
def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Nothing is at this address."""
    help_text = "It may have been deleted, or the link is cut off. Search for it, or begin anew."
    return _page(request, 404, "Nothing is here", _words(exception), help_text)


@requires_csrf_token
def not_understood(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """The address has words that its page does not know, such as a filter that was misspelled."""
    help_text = "Nothing was changed. Remove what stands after the ? of the address, or go back."
    return _page(request, 400, "This address is not understood", "", help_text)


@requires_csrf_token
def refused(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """The user may not do this."""
    help_text = "Your role does not allow it. Nothing was changed. Ask an admin for another role."
    return _page(request, 403, "You may not do this", _words(exception), help_text)


def outdated(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form without the secret of its page."""
    help_text = (
        "Nothing was changed. The page was open for too long, or you logged in again meanwhile. "
        "Go back, load the page again, and repeat it. The browser must accept cookies."
    )
    return _page(request, 403, "This form is out of date", "", help_text)


def failed(request: HttpRequest) -> HttpResponse:
    """A fault of ours. The page asks nothing: the database may be what failed."""
    context = {
        "title": "Something failed on the server",
        "because": "",
        "help_text": "Your pods and their limits are looked after by other processes. Load the page "
        "again; if it fails again, read the log of the web server. "
        f"`{how_to_run('up')}` keeps it in log/web.log of the data folder.",
    }
    return render(None, "errors/plain.html", context, status=500)
