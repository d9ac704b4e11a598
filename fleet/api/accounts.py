"""Accounts at providers: list, add, change, test, delete. No answer has a secret of an account."""

from typing import Annotated, Any, Final, Literal

from django.db import transaction
from django.db.models import ProtectedError
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import salted_hmac
from ninja import Path, Query, Router
from pydantic import BaseModel, Field

from fleet.api import idempotency, paging
from fleet.api.auth import needs
from fleet.api.idempotency import Key, Made, Work
from fleet.api.paging import Asked, Page
from fleet.api.problems import Problem
from fleet.api.values import WORD, Flag, FleetName, Given, Id, IfMatch, Moment, Usd, is_named
from pods import masking
from pods.accounts import editing, registry_logins, surveying
from pods.accounts.editing import Tried
from pods.models import Account

router: Final = Router(tags=["accounts"])
LONGEST_SECRET: Final = 65_536
SEALED: Final = ("sealed_secret", "sealed_registry_password")
FIELDS: Final = (
    "name", "provider", "options", "secret_ref", "enabled", "orphans", "registry_host",
    "registry_user",
)  # fmt: skip
Secret = Annotated[str, Field(min_length=1, max_length=LONGEST_SECRET, pattern=WORD)]
ABOUT_KEY: Final = "The vendor's key. It is tried, stored encrypted, and never shown again."
ABOUT_REGISTRY: Final = "Host of the registry of private images; empty: no login."
ABOUT_PASSWORD: Final = "Its password or token. It is stored encrypted, and never shown again."  # noqa: S105
ABOUT_PLACE: Final = "Where the manager finds the key: env:NAME or file:/path."


class AccountOut(BaseModel):
    """An account at a provider."""

    id: int
    name: str
    provider: str
    enabled: bool
    key: Literal["stored", "reference", "none"] = Field(description="How it has its key.")
    options: dict[str, Any]
    registry_host: str = Field(description=ABOUT_REGISTRY)
    registry_user: str
    orphans: str = Field(description="What becomes of machines of ours without a pod.")
    failures: int = Field(description="Calls in a row that failed.")
    open_until: Moment | None = Field(description="Until when it is left alone after failures.")
    last_error: str
    last_error_kind: str
    surveyed_at: Moment | None
    reconciled_at: Moment | None


class AccountPage(Page):
    """Accounts in the order in which they were made."""

    items: list[AccountOut]


class TriedOut(BaseModel):
    """What a real call with the account's key showed."""

    good: bool | None = Field(description="Null: the vendor could not be asked now.")
    says: str
    machines: int | None = Field(description="How many machines of ours it lists.")
    balance_usd: Usd | None = Field(description="What is left at the vendor.")


class AccountSaved(AccountOut):
    """An account that was written, and what its test showed."""

    tried: TriedOut


class AccountEdit(Given):
    """What to change."""

    options: dict[str, Any] = Field({}, description="All options of the provider.")
    secret_ref: Annotated[str, Field(max_length=200, pattern=WORD)] = Field(
        "", description=ABOUT_PLACE
    )
    secret: Secret | None = Field(None, description=ABOUT_KEY)
    registry_host: Annotated[str, Field(max_length=253, pattern=WORD)] = Field(
        "", description=ABOUT_REGISTRY
    )
    registry_user: Annotated[str, Field(max_length=200, pattern=WORD)] = ""
    registry_password: Secret | None = Field(None, description=ABOUT_PASSWORD)
    enabled: Flag = True
    orphans: Literal["adopt", "destroy"] = Field(
        "destroy", description="What becomes of machines of ours without a pod."
    )


class AccountCreate(AccountEdit):
    """An account to add."""

    name: FleetName
    provider: Annotated[str, Field(min_length=1, max_length=40, pattern=WORD)]


def _values(account: Account) -> dict[str, Any]:
    key = "stored" if account.sealed_secret else "reference" if account.secret_ref else "none"
    plain = (
        "name", "provider", "enabled", "orphans", "failures", "open_until", "last_error_kind",
        "registry_host", "registry_user",
        "surveyed_at", "reconciled_at",
    )  # fmt: skip
    return {
        "id": account.pk,
        "key": key,
        "options": masking.without_secrets(account.options),
        "last_error": masking.without_passwords(account.last_error),
        **{name: getattr(account, name) for name in plain},
    }


def _etag(account: Account) -> str:
    """What changes with every edit; keyed, since a key could be guessed from a plain hash."""
    kept = [str(getattr(account, name)) for name in (*FIELDS, *SEALED)]
    return f'"{salted_hmac("fleet.api.accounts", repr(kept)).hexdigest()[:32]}"'


def _tried(tried: Tried) -> TriedOut:
    return TriedOut(
        good=tried.good, says=masking.without_passwords(tried.says), machines=tried.machines,
        balance_usd=tried.balance_usd,
    )  # fmt: skip


def _called(account_id: int) -> Account:
    account = Account.objects.defer("offers").filter(pk=account_id).first()
    if account is None:
        raise Problem(404, "no account has this id; GET /api/v1/accounts lists them")
    return account


def _saved(account: Account, tried: Tried, status: int) -> Made:
    """The answer to a write; the offers are read at once, as the command does."""
    if tried.good and account.enabled:
        surveying.survey_account(account)
        account.refresh_from_db()
    body = AccountSaved(**_values(account), tried=_tried(tried))
    return Made(status=status, body=body, headers={"ETag": _etag(account)})


@router.get("/accounts", response=AccountPage, **needs("pods.view_account"))
def list_accounts(request: HttpRequest, asked: Query[Asked]) -> AccountPage:
    """List the accounts, without their secrets."""
    found, more = paging.by_id(Account.objects.defer("offers"), asked, newest_first=False)
    return AccountPage(items=[AccountOut(**_values(row)) for row in found], next=more)


@router.get("/accounts/{account_id}", response=AccountOut, **needs("pods.view_account"))
def read_account(request: HttpRequest, account_id: Path[Id]) -> HttpResponse:
    """Read an account. The header ETag is for an edit."""
    account = _called(account_id)
    headers = {"ETag": _etag(account)}
    return Made(status=200, body=AccountOut(**_values(account)), headers=headers).response()


@router.post("/accounts", response={201: AccountSaved}, **needs("pods.add_account"))
def add_account(request: HttpRequest, wanted: AccountCreate, key: Key) -> HttpResponse:
    """Add an account, after a real call has shown that it works."""

    def add(work: Work) -> Made:
        if work.made is not None:
            account = _called(work.made)
            return _saved(account, editing.try_account(account), 201)
        account = Account(**{name: getattr(wanted, name) for name in FIELDS})
        _take_secret(account, wanted)
        tried = editing.check_account(account)
        with transaction.atomic():
            editing.write_account(account, FIELDS, tried=tried)
            work.remember(account.pk)
        return _saved(account, tried, 201)

    return idempotency.once(request, key, add)


def _take_secret(account: Account, wanted: AccountEdit) -> None:
    if wanted.registry_password is not None:
        registry_logins.replace_password(account, wanted.registry_password)
    if wanted.secret is None:
        return
    if wanted.secret_ref:
        text = "give the key, or where it is (secret_ref), not both"
        raise Problem(422, f"secret: {text}", errors={"secret": [text]})
    if not wanted.secret.strip():
        raise Problem(422, "secret: it is empty", errors={"secret": ["it is empty"]})
    editing.replace_key(account, wanted.secret)


@router.patch("/accounts/{account_id}", response=AccountSaved, **needs("pods.change_account"))
def edit_account(
    request: HttpRequest, wanted: AccountEdit, if_match: IfMatch, account_id: Path[Id]
) -> HttpResponse:
    """Change the fields that are sent, and no others, after a real call has shown that it works."""
    account = _called(account_id)
    if not wanted.model_fields_set:
        raise Problem(422, "nothing to change; send at least one field")
    if not if_match:
        raise Problem(
            428, "send the header If-Match with the ETag of the account that you have read"
        )
    if not is_named(_etag(account), if_match):
        raise Problem(412, "somebody else changed the account meanwhile; read it again, then edit")
    _refuse_mask(wanted.options)
    names = [name for name in FIELDS if name in wanted.model_fields_set]
    for name in names:
        setattr(account, name, getattr(wanted, name))
    _take_secret(account, wanted)
    tried = editing.check_account(account)
    editing.write_account(account, names, tried=tried)
    return _saved(account, tried, 200).response()


def _refuse_mask(options: dict[str, Any]) -> None:
    if masking.MASK in str(options):
        text = f"{masking.MASK} stands for what is not shown; send the whole value"
        raise Problem(422, f"options: {text}", errors={"options": [text]})


@router.post("/accounts/{account_id}/test", response=TriedOut, **needs("pods.change_account"))
def try_account(request: HttpRequest, account_id: Path[Id]) -> TriedOut:
    """Try the account's key with a real call; change nothing."""
    return _tried(editing.try_account(_called(account_id)))


@router.delete("/accounts/{account_id}", response={204: None}, **needs("pods.delete_account"))
def delete_account(request: HttpRequest, account_id: Path[Id]) -> HttpResponse:
    """Delete an account that never had a pod. Any other one can be disabled."""
    account = _called(account_id)
    if account.orphans_seen.filter(gone_at=None).exists():
        raise Problem(409, "machines of ours at this account bill; adopt or destroy them first")
    try:
        account.delete()
    except ProtectedError as exc:
        raise Problem(409, "pods of this account are in the history; disable it instead") from exc
    return HttpResponse(status=204)
