"""Checks another handler of a fleet against the code that the fleet has."""

import io
import json
import zipfile

from django.core.exceptions import ValidationError

from fleet.code import channel, inspecting, ready
from fleet.code.dependencies import BadCode
from fleet.code.packing import BUNDLE
from fleet.models import Fleet


def refuse_missing(fleet: Fleet) -> None:
    """Refuse a changed handler that is not in the fleet's code. An image is not looked into.

    Raises:
        ValidationError: the code has no such handler; the message says what it has.
    """
    if not fleet.code_number or not fleet.on_stream:
        return
    if Fleet.objects.filter(pk=fleet.pk, handler=fleet.handler).exists():
        return
    archive = channel.archive_of(fleet, fleet.bundle)
    if archive is None:
        return
    try:
        check_packed(archive, fleet.handler)
    except BadCode as exc:
        raise ValidationError({"handler": str(exc)}) from exc


def refuse_unknown(fleet: Fleet) -> None:
    """Refuse a new handler of the agent's package that the agent of this version has not.

    An image may bring another version of the agent, so a fleet with one and without code of its own is
    not refused: see `doubt`.

    Raises:
        ValidationError: the agent has no such handler; the message names those that it has.
    """
    if fleet.on_stream and (fleet.code_number or not fleet.image) and (why := _unknown(fleet)):
        raise ValidationError({"handler": why})


def doubt(fleet: Fleet) -> str:
    """What to tell who gave a fleet with an image a handler that this version's agent has not."""
    if not fleet.on_stream or fleet.code_number or not fleet.image:
        return ""
    try:
        ready.check(fleet.handler)
    except BadCode as exc:
        return f"warning: {exc}. If {fleet.image} has no newer agent, its pods fail"
    return ""


def _unknown(fleet: Fleet) -> str:
    """Why a handler is unknown; "": it is known, or the fleet had it before."""
    try:
        ready.check(fleet.handler)
    except BadCode as exc:
        had = Fleet.objects.filter(pk=fleet.pk, handler=fleet.handler).exists()
        return "" if had else str(exc)
    return ""


def check_packed(archive: bytes, handler: str) -> None:
    """Check that packed code has this handler.

    Raises:
        BadCode: it has not.
    """
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        names = (name for name in opened.namelist() if name.endswith(".py"))
        sources = {name: opened.read(name) for name in names}
        paths = json.loads(opened.read(BUNDLE))["paths"]
    inspecting.check_handler(sources, handler, paths)
    ready.check(handler)
