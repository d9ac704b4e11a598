"""Makes a batch of an uploaded file; the same request again is the same batch."""

import re
from datetime import timedelta
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from fleet import enqueueing
from fleet.batches import requests
from fleet.models import Batch, BatchFile, Fleet
from fleet.models.batches import Purpose
from pods.base.clock import utcnow

WINDOW: Final = re.compile(r"([1-9][0-9]{0,2})([hd])")
LONGEST_WINDOW: Final = timedelta(days=30)
UNITS: Final = {"h": timedelta(hours=1), "d": timedelta(days=1)}


def window_of(text: str) -> timedelta:
    """How long a batch may take: `24h`, `7d`.

    Raises:
        ValidationError: it is something else, or more than 30 days.
    """
    match = WINDOW.fullmatch(text)
    window = int(match[1]) * UNITS[match[2]] if match else None
    if window is None or window > LONGEST_WINDOW:
        raise ValidationError({"completion_window": 'give hours or days up to 30d, such as "24h"'})
    return window


def create(
    file: BatchFile,
    *,
    endpoint: str,
    completion_window: str,
    metadata: dict[str, str] | None,
    kept: timedelta,
) -> Batch:
    """Make a batch, or return the one that an equal request made before.

    Clients repeat a request whose answer was lost, without a key. So the same file with the same
    endpoint, window and metadata is one batch: to run a file again, change the metadata.

    Raises:
        ValidationError: a value is wrong, or the fleet takes no items.
    """
    window = window_of(completion_window)
    check(file, endpoint)
    asked: dict[str, Any] = {
        "endpoint": endpoint, "completion_window": completion_window, "metadata": metadata
    }  # fmt: skip
    digest = requests.said({"input": file.key, **asked})
    now = utcnow()
    try:
        with transaction.atomic():
            return Batch.objects.create(
                fleet=file.fleet, digest=digest, input_key=file.key, input_file=file, **asked,
                files_kept_seconds=int(kept.total_seconds()), claimed_until=now, created_at=now,
                expires_at=now + window,
            )  # fmt: skip
    except IntegrityError:
        return Batch.objects.get(fleet=file.fleet, digest=digest)


def check(file: BatchFile, endpoint: str) -> None:
    """Refuse a batch that could not be worked on.

    Raises:
        ValidationError: the message says what would be right.
    """
    if endpoint not in requests.ENDPOINTS:
        raise ValidationError({"endpoint": f"give one of {', '.join(requests.ENDPOINTS)}"})
    if file.purpose != Purpose.BATCH:
        raise ValidationError({"input_file_id": "give a file that was uploaded for a batch"})
    check_fleet(file.fleet)


def check_fleet(fleet: Fleet) -> None:
    """Refuse a fleet that takes no batches.

    Raises:
        ValidationError: it takes no single items, or its results are cut before they are collected.
    """
    enqueueing.check(fleet)
    if fleet.longest_results:
        raise ValidationError(
            f"{fleet.name} keeps only {fleet.longest_results:,} results, so results of a batch could "
            "be lost; set longest_results to 0"
        )
