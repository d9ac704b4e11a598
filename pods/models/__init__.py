"""The rows of the supply side: accounts, pods, their history and their costs."""

from pods.models.accounts import LONGEST_PARTIAL, Account, Installation, Survey, installation_slug
from pods.models.corrections import Correction
from pods.models.fields import LONGEST_NAME, LONGEST_RULE, SLUG, usd_per_hour
from pods.models.market import OfferSpell, SurveySpell
from pods.models.orphans import Orphan
from pods.models.pods import (
    HAS_FAILED,
    MAY_BILL,
    MICROS,
    Pod,
    PodEvent,
    PodQuerySet,
    PriceSegment,
)

__all__ = [
    "HAS_FAILED",
    "LONGEST_NAME",
    "LONGEST_PARTIAL",
    "LONGEST_RULE",
    "MAY_BILL",
    "MICROS",
    "SLUG",
    "Account",
    "Correction",
    "Installation",
    "OfferSpell",
    "Orphan",
    "Pod",
    "PodEvent",
    "PodQuerySet",
    "PriceSegment",
    "Survey",
    "SurveySpell",
    "installation_slug",
    "usd_per_hour",
]
