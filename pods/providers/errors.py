"""The errors of a provider, sorted by what the caller may conclude from them."""

from pods.providers.texts import storable


class ProviderError(Exception):
    """Anything that a provider's adapter raises."""

    def __init__(self, *args: object) -> None:
        """Hold no text that cannot be stored, whatever the vendor wrote."""
        super().__init__(*(storable(arg) if isinstance(arg, str) else arg for arg in args))


class Declined(ProviderError):
    """Nothing was done, and the same request would fail again."""


class NoCapacity(Declined):
    """This offer cannot be rented now. Another one may be."""


class QuotaExceeded(Declined):
    """The account cannot rent more: its money, its spend limit or its quota is used up."""


class AuthFailed(Declined):
    """The provider refused the credentials. This says nothing about any machine."""


class NotFound(Declined):
    """The provider does not know this machine (or not yet, within its list lag)."""


class Refused(Declined):
    """The provider understood the request, and will never carry it out in this form."""

    def __init__(self, message: str, *, billing_id: str | None = None) -> None:
        """`billing_id`: a machine that was created in spite of the refusal, and that bills (F7)."""
        super().__init__(message)
        self.billing_id = None if billing_id is None else storable(billing_id)


class LoginRefused(Refused):
    """The image's registry does not give the image to this login, or to nobody without a login."""


class TryAgain(ProviderError):
    """A later try may succeed."""


class RateLimited(TryAgain):
    """Nothing was done. Ask again after `retry_after` seconds."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        """`retry_after`: the seconds that the provider names, or None where it names none."""
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(TryAgain):
    """No usable answer: a timeout, a broken link or a 5xx. The request may have been carried out."""
