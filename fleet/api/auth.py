"""Who may call an operation: a token whose scope and whose user have the permission."""

from typing import Any, Final, cast

from django.conf import settings
from django.http import HttpRequest
from ninja.security.http import HttpAuthBase

from fleet import roles, tokens
from fleet.api import rates
from fleet.api.problems import Problem
from fleet.models import ApiToken, Scope
from pods.base.acting import OVER_API, address_of
from pods.base.clock import utcnow

BEARER: Final = 'Bearer realm="podfleet"'
LONGEST_BY: Final = 150
OF_A_POD: Final = 60  # as long as the column of a pod's events


class Token(HttpAuthBase):
    """Refuses who has no usable token, and a token without this permission."""

    openapi_scheme = "bearer"

    def __init__(self, permission: str) -> None:
        super().__init__()
        self.permission = permission
        self.words: frozenset[str] = frozenset()  # of the address, after the ?

    def __call__(self, request: HttpRequest) -> ApiToken:
        """The token of the request, which from here on is that of the token's user.

        Raises:
            Problem: 401, 403 or 429; 422 for an address with words that it does not take.
        """
        token = _token_of(request)
        counted = rates.count("token", token.prefix)
        if counted.count > settings.API_REQUESTS_PER_MINUTE:
            raise _too_many(f"{settings.API_REQUESTS_PER_MINUTE} requests a minute", counted)
        tokens.note_use(token, utcnow())
        if not tokens.may(token, self.permission):
            raise _may_not(token, self.permission)
        request.user = cast("Any", token.owner)  # the history names who edited
        self._refuse_unknown_words(request)
        return token

    def _refuse_unknown_words(self, request: HttpRequest) -> None:
        """A filter that is misspelled would show too much."""
        if unknown := sorted(request.GET.keys() - self.words):
            known = f"it takes {', '.join(sorted(self.words))}" if self.words else "it takes none"
            errors = {name[:50]: [f"not known at this address; {known}"] for name in unknown[:5]}
            detail = f"{', '.join(errors)}: not known at this address; {known}"
            raise Problem(422, detail, errors=errors)


def needs(permission: str, **more: Any) -> dict[str, Any]:
    """What an operation that needs a permission says of itself, to the framework and in the schema."""
    said = {"x-permission": permission, "x-scope": scope_of(permission).value}
    return {"auth": Token(permission), "openapi_extra": {**said, **more}}


def scope_of(permission: str) -> Scope:
    """The least scope that has a permission."""
    codename = permission.rpartition(".")[2]
    return next(scope for scope in Scope if roles.may(scope.role, codename))


def by(request: HttpRequest, *, most: int = LONGEST_BY) -> str:
    """How the history names the caller: `ann (API)`."""
    return request.user.get_username()[: most - len(OVER_API)] + OVER_API


def _token_of(request: HttpRequest) -> ApiToken:
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    token = tokens.recognise(secret.strip()) if scheme.lower() == "bearer" else None
    if token is not None:
        return token
    known = tokens.prefix_of(secret.strip())
    failed = [rates.count("failed", address_of(request))]
    if known:
        failed.append(rates.count("failed", known))
    worst = max(failed, key=lambda counted: counted.count)
    if worst.count > settings.API_FAILURES_PER_MINUTE:
        raise _too_many("this many requests without a token that can be used", worst)
    raise Problem(
        401,
        "send the header `Authorization: Bearer pf_…` with a token that is neither expired nor "
        "revoked, of an active user; the admin makes one under API tokens",
        headers={"WWW-Authenticate": BEARER},
    )


def _too_many(what: str, counted: rates.Counted) -> Problem:
    text = f"{what} are too many; try again in {counted.seconds_left} s"
    return Problem(429, text, headers={"Retry-After": str(counted.seconds_left)})


def _may_not(token: ApiToken, permission: str) -> Problem:
    scope = scope_of(permission)
    if not roles.may(Scope(token.scope).role, permission.rpartition(".")[2]):
        return Problem(
            403,
            f"this token has the scope {token.scope}; this needs a token of scope {scope.value}",
        )
    return Problem(
        403,
        f"the user {token.owner.get_username()} may not do this; it needs the role {scope.role}, and "
        "a token never may more than its user",
    )
