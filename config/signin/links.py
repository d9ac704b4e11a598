"""Links that sign a user in once. The command `podfleet user link` makes them."""

from datetime import timedelta
from typing import Final

from django.contrib.auth.models import User
from django.core import signing
from django.utils.crypto import constant_time_compare

SALT: Final = "podfleet.sign-in-link"
LASTS: Final = timedelta(minutes=10)


def token_for(user: User) -> str:
    """A token that signs this user in once, within ten minutes."""
    return signing.dumps([user.pk, _stamp(user)], salt=SALT)


def user_of(token: str) -> User | None:
    """The user of a token; None: it is forged, too old, used, or the user may not sign in."""
    try:
        pk, stamp = signing.loads(token, salt=SALT, max_age=LASTS)
    except (signing.BadSignature, ValueError, TypeError):
        return None
    user = User.objects.filter(pk=pk, is_active=True, is_staff=True).first()
    return user if user is not None and constant_time_compare(stamp, _stamp(user)) else None


def _stamp(user: User) -> str:
    """What a sign-in and a new password change. Nobody reads it: it is hashed with our secret."""
    last = user.last_login.isoformat() if user.last_login else "never"
    return signing.Signer(salt=SALT).signature(f"{last} {user.get_session_auth_hash()}")
