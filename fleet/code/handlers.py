"""Checks another handler of a fleet against the code that the fleet has."""

import io
import json
import zipfile

from django.core.exceptions import ValidationError

from fleet.code import channel, inspecting
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
