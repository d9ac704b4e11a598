"""A moment on a page: how long ago for the reader's eye, exact with its zone for the rest."""

from datetime import datetime

from django.utils.html import format_html
from django.utils.timezone import localtime

from pods.base.clock import utcnow
from pods.base.words import NONE, exactly, when


def shown(at: datetime | None) -> str:
    """A `<time>` with `3 min ago` as its text and the exact time as its title; `–` for none.

    Both are in the zone of the request (config/zones.py).
    """
    if at is None:
        return NONE
    return marked(at, when(localtime(at), utcnow()))


def marked(at: datetime, text: str) -> str:
    """A `<time>` with this text, and the exact time as its title."""
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', at.isoformat(), exactly(localtime(at)), text
    )
