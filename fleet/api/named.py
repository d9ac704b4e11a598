"""Finds the rows that an address names."""

import re
from typing import Final

from django.db.models import Q, QuerySet

from fleet.api.problems import Problem
from fleet.api.values import LARGEST_ID
from fleet.models import Fleet
from fleet.models.fields import FLEET_NAME
from pods.models import Pod

WRITTEN: Final = re.compile(FLEET_NAME)
POD_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,200}")


def fleet_called(name: str) -> Fleet:
    """The fleet of this name, also an archived one.

    Raises:
        Problem: 404.
    """
    rows = Fleet.objects.select_related("schedule__interval")
    fleet = rows.filter(name=name).first() if WRITTEN.fullmatch(name) else None
    if fleet is None:
        raise Problem(404, "no fleet has this name; GET /api/v1/fleets lists them")
    return fleet


def pod_called(rows: QuerySet[Pod], name: str) -> Pod:
    """The pod of this name or id.

    Raises:
        Problem: 404.
    """
    which = Q(name=name)
    if name.isascii() and name.isdigit() and len(name) < 19 and int(name) <= LARGEST_ID:
        which |= Q(pk=int(name))
    pod = rows.filter(which).first() if POD_NAME.fullmatch(name) else None
    if pod is None:
        raise Problem(404, "no pod has this name or id; GET /api/v1/pods lists them")
    return pod


def of_fleet(name: str) -> Q:
    """The rows of the fleet of this name; all, if no name is given.

    Raises:
        Problem: 404.
    """
    return Q(fleet=fleet_called(name)) if name else Q()
