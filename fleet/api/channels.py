"""Alert channels: list, add, change, test, delete. No answer has the address of a channel."""

from typing import Annotated, Any, Final, Literal

from django.db import transaction
from django.db.models import Max, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import salted_hmac
from ninja import Path, Query, Router
from pydantic import BaseModel, Field

from fleet.alerts import addresses, composing, delivering
from fleet.alerts.addresses import BadAddress
from fleet.alerts.composing import Kind, Missing
from fleet.alerts.delivering import Undelivered
from fleet.api import idempotency, paging
from fleet.api.auth import needs
from fleet.api.idempotency import Key, Made, Work
from fleet.api.paging import Asked, Page
from fleet.api.problems import Problem
from fleet.api.values import WORD, Flag, Given, Id, IfMatch, Moment, is_named
from fleet.decision.alert_facts import Severity
from fleet.models import Channel, Delivery

router: Final = Router(tags=["channels"])
KINDS: Final = tuple(kind.value for kind in Kind)
SEVERITIES: Final = tuple(severity.value for severity in Severity)
ChannelName = Annotated[str, Field(min_length=1, max_length=60, pattern=WORD)]
Word = Annotated[str, Field(max_length=40, pattern=WORD)]
Text = Annotated[str, Field(max_length=2000, pattern=WORD)]


class ChannelOut(BaseModel):
    """A place to which alerts are sent. Its address is never shown."""

    id: int
    name: str
    kind: str = Field(description="Of its address; empty: the address cannot be read.")
    min_severity: str
    enabled: bool
    last_sent_at: Moment | None


class ChannelPage(Page):
    """Channels in the order in which they were made."""

    items: list[ChannelOut]


class ChannelEdit(Given):
    """What to change."""

    name: ChannelName = Field("", description="Its name here.")
    min_severity: Literal[SEVERITIES] = Field(  # type: ignore[valid-type]
        Severity.WARNING.value, description="It gets alerts of this severity and above."
    )
    enabled: Flag = True
    kind: Literal[KINDS] = Field(  # type: ignore[valid-type]
        Kind.OTHER.value, description="What `where` describes; other: an `address`."
    )
    where: dict[Word, Text] = Field(
        {}, max_length=10, description='As in the admin: {"slack_webhook": "https://…"}.'
    )


class ChannelCreate(ChannelEdit):
    """A channel to add."""

    name: ChannelName = Field(description="Its name here.")
    where: dict[Word, Text] = Field(
        max_length=10, description='As in the admin: {"slack_webhook": "https://…"}.'
    )


class Sent(BaseModel):
    """A message that the channel took."""

    sent: bool


def _rows() -> QuerySet[Channel]:
    sent = Q(deliveries__state=Delivery.State.SENT)
    return Channel.objects.annotate(last_sent_at=Max("deliveries__sent_at", filter=sent))


def _of(channel: Any) -> ChannelOut:
    try:
        kind = composing.kind_of(addresses.unseal(channel.sealed_url)).value
    except BadAddress:
        kind = ""
    return ChannelOut(
        id=channel.pk, name=channel.name, kind=kind, min_severity=channel.min_severity,
        enabled=channel.enabled, last_sent_at=channel.last_sent_at,
    )  # fmt: skip


def _etag(channel: Channel) -> str:
    kept = [channel.name, channel.sealed_url, channel.min_severity, channel.enabled]
    return f'"{salted_hmac("fleet.api.channels", repr(kept)).hexdigest()[:32]}"'


def _called(channel_id: int) -> Channel:
    channel = _rows().filter(pk=channel_id).first()
    if channel is None:
        raise Problem(404, "no channel has this id; GET /api/v1/channels lists them")
    return channel


def _made(channel_id: int, status: int) -> Made:
    channel = _called(channel_id)
    return Made(status=status, body=_of(channel), headers={"ETag": _etag(channel)})


def _address(wanted: ChannelEdit) -> str:
    """The checked address of a request.

    Raises:
        Problem: 422.
    """
    try:
        address = composing.composed(Kind(wanted.kind), wanted.where)
        delivering.check_address(address)
    except Missing as exc:
        field = f"where.{exc.field}"
        raise Problem(422, f"{field}: {exc}", errors={field: [str(exc)]}) from exc
    except BadAddress as exc:
        raise Problem(422, f"where: {exc}", errors={"where": [str(exc)]}) from exc
    return address


@router.get("/channels", response=ChannelPage, **needs("fleet.view_channel"))
def list_channels(request: HttpRequest, asked: Query[Asked]) -> ChannelPage:
    """List the channels on which alerts are sent."""
    found, more = paging.by_id(_rows(), asked, newest_first=False)
    return ChannelPage(items=[_of(channel) for channel in found], next=more)


@router.get("/channels/{channel_id}", response=ChannelOut, **needs("fleet.view_channel"))
def read_channel(request: HttpRequest, channel_id: Path[Id]) -> HttpResponse:
    """Read a channel. The header ETag is for an edit."""
    return _made(channel_id, 200).response()


@router.post("/channels", response={201: ChannelOut}, **needs("fleet.add_channel"))
def add_channel(request: HttpRequest, wanted: ChannelCreate, key: Key) -> HttpResponse:
    """Add a channel. Its address is stored encrypted, and never shown again."""

    def add(work: Work) -> Made:
        if work.made is not None:
            return _made(work.made, 201)
        address = _address(wanted)
        channel = Channel(
            name=wanted.name, min_severity=wanted.min_severity, enabled=wanted.enabled
        )
        with transaction.atomic():
            delivering.write_channel(channel, address)
            work.remember(channel.pk)
        return _made(channel.pk, 201)

    return idempotency.once(request, key, add)


@router.patch("/channels/{channel_id}", response=ChannelOut, **needs("fleet.change_channel"))
def edit_channel(
    request: HttpRequest, wanted: ChannelEdit, if_match: IfMatch, channel_id: Path[Id]
) -> HttpResponse:
    """Change what is sent, and nothing else; without `where` the address stays."""
    channel = _called(channel_id)
    given = wanted.model_fields_set
    if not given:
        raise Problem(422, "nothing to change; send at least one field")
    if not if_match:
        raise Problem(
            428, "send the header If-Match with the ETag of the channel that you have read"
        )
    if not is_named(_etag(channel), if_match):
        raise Problem(412, "somebody else changed the channel meanwhile; read it again, then edit")
    for name in {"name", "min_severity", "enabled"} & given:
        setattr(channel, name, getattr(wanted, name))
    delivering.write_channel(channel, _address(wanted) if {"where", "kind"} & given else "")
    return _made(channel.pk, 200).response()


@router.post("/channels/{channel_id}/test", response=Sent, **needs("fleet.change_channel"))
def try_channel(request: HttpRequest, channel_id: Path[Id]) -> Sent:
    """Send a message that tests the channel."""
    try:
        delivering.try_channel(_called(channel_id))
    except (Undelivered, BadAddress) as exc:
        raise Problem(409, f"the message was not sent: {exc}") from exc
    return Sent(sent=True)


@router.delete("/channels/{channel_id}", response={204: None}, **needs("fleet.delete_channel"))
def delete_channel(request: HttpRequest, channel_id: Path[Id]) -> HttpResponse:
    """Delete a channel, with what is still to be sent on it."""
    _called(channel_id).delete()
    return HttpResponse(status=204)
