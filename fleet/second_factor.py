"""Second factors: setting one up, checking its codes, each once, and removing it."""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import pyotp
from django.contrib.auth.models import User
from django.db import transaction

from fleet.models import RecoveryCode, SecondFactor
from pods.base import sealing
from pods.base.clock import utcnow

ISSUER: Final = "Podfleet"
STEP_SECONDS: Final = 30
TOLERATED: Final = 1  # steps by which the clock of a phone may differ
RECOVERY_CODES: Final = 10
RECOVERY_BYTES: Final = 8  # 64 random bits: nobody guesses one in ten tries


def new_key() -> str:
    """A new key, in base 32: 160 bits, as RFC 4226 recommends."""
    return pyotp.random_base32()


def address_for_app(key: str, name: str) -> str:
    """The address that a QR code gives to an app."""
    return pyotp.TOTP(key).provisioning_uri(name=name, issuer_name=ISSUER)


def step_of(key: str, code: str, now: datetime, *, after: int = 0) -> int | None:
    """The 30 seconds that this code is for; None: it is wrong, too old, or not newer than `after`.

    It is pure. All steps are compared, so the time that it takes says nothing.
    """
    code = "".join(code.split())
    if not (code.isascii() and code.isdecimal()):
        return None
    app, here = pyotp.TOTP(key), int(now.timestamp()) // STEP_SECONDS
    steps = range(here - TOLERATED, here + TOLERATED + 1)
    fits = [s for s in steps if secrets.compare_digest(app.generate_otp(s), code)]
    return next((step for step in fits if step > after), None)


def factor_of(user: User) -> SecondFactor | None:
    """The second factor of a user, if there is one."""
    return SecondFactor.objects.filter(user_id=user.pk).first()


def set_up(user: User, key: str, code: str) -> Sequence[str] | None:
    """Store the key of an app that shows this code; return the recovery codes.

    None: the code is wrong, or the user has a second factor already.
    """
    now = utcnow()
    step = step_of(key, code, now)
    if step is None:
        return None
    with transaction.atomic():
        factor, made = SecondFactor.objects.get_or_create(
            user=user,
            defaults={"sealed_key": sealing.seal(key), "last_step": step, "made_at": now},
        )
        return _new_codes(factor) if made else None


def accepts(factor: SecondFactor, code: str) -> bool:
    """Whether the code of the app is right. Each is accepted once, also if two requests bring it.

    Raises:
        WrongKey: no field key opens the stored key.
    """
    step = step_of(sealing.unseal(factor.sealed_key), code, utcnow(), after=factor.last_step)
    if step is None:
        return False
    newer = SecondFactor.objects.filter(pk=factor.pk, last_step__lt=step)
    return bool(newer.update(last_step=step))


def accepts_recovery(factor: SecondFactor, code: str) -> bool:
    """Whether this is an unused recovery code, which is used up by this."""
    unused = RecoveryCode.objects.filter(factor=factor, digest=_digest(code), used_at=None)
    return bool(unused.update(used_at=utcnow()))


def codes_left(factor: SecondFactor) -> int:
    """How many recovery codes are unused."""
    return factor.codes.filter(used_at=None).count()


def renew_codes(factor: SecondFactor) -> Sequence[str]:
    """Ten new recovery codes; the former ones end."""
    with transaction.atomic():
        return _new_codes(factor)


def remove(user: User) -> bool:
    """Remove the second factor of a user; False: there was none."""
    deleted, _ = SecondFactor.objects.filter(user_id=user.pk).delete()
    return bool(deleted)


def _new_codes(factor: SecondFactor) -> Sequence[str]:
    factor.codes.all().delete()
    made = [secrets.token_hex(RECOVERY_BYTES) for _ in range(RECOVERY_CODES)]
    RecoveryCode.objects.bulk_create(
        RecoveryCode(factor=factor, digest=_digest(code)) for code in made
    )
    return ["-".join(code[n : n + 4] for n in range(0, len(code), 4)) for code in made]


def _digest(code: str) -> str:
    # A quick hash is enough: nobody guesses 64 random bits.
    plain = "".join(c for c in code.lower() if c.isalnum())
    return hashlib.sha256(plain.encode()).hexdigest()
