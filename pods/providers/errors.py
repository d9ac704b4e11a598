"""What went wrong at a provider, sorted by what the caller may conclude."""


class ProviderError(Exception):
    """Anything that a provider's adapter raises."""


class Declined(ProviderError):
    """Nothing was done, and asking the same again is no use."""


class NoCapacity(Declined):
    """This offer cannot be rented now; another one may be."""


class QuotaExceeded(Declined):
    """The account may not rent more: its money, spend limit or quota is used up."""


class AuthFailed(Declined):
    """The credentials were refused. Says nothing about any machine."""


class NotFound(Declined):
    """The provider does not know this machine (or not yet, within its list lag)."""


class Refused(Declined):
    """The provider understood the request and will never do it as it stands."""

    def __init__(self, message: str, *, billing_id: str | None = None) -> None:
        """`billing_id`: the machine that the refusal created all the same, and that bills (F7)."""
        super().__init__(message)
        self.billing_id = billing_id


class TryAgain(ProviderError):
    """A later try may succeed."""


class RateLimited(TryAgain):
    """Nothing was done; ask again after `retry_after` seconds."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        """`retry_after`: seconds to wait as the provider says, or None where it does not say."""
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(TryAgain):
    """No usable answer: a timeout, a broken link, a 5xx. The request may have been carried out."""
