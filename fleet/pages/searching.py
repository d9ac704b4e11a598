"""What the search finds: fleets, pods, alerts, and the field of each setting and guardrail."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from django import forms
from django.contrib import admin
from django.db.models import F, Q
from django.urls import reverse
from django.utils.html import strip_tags

from fleet.decision.values import Rule
from fleet.models import Alert, Fleet, Limits
from fleet.pages import remedies
from fleet.pages.words import SEVERITIES, spaced
from pods.machine_names import short_name
from pods.models import Pod

MOST: Final = 10  # of each kind
LONGEST: Final = 100  # characters of a question
FLEETS_OFFERED: Final = 5  # beside a setting that each fleet has
LONGEST_NOTE: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A page, and what the link to it says."""

    text: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One thing that was found; a setting of several fleets has a link for each."""

    links: Sequence[Link]
    note: str = ""
    title: str = ""  # "": the link says it


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What was found of one kind, and where the rest of it is."""

    title: str
    hits: Sequence[Hit]
    rest: Link | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Setting:
    """A field of a form, and all words that lead to it."""

    title: str
    anchor: str  # "id_max_instances"
    words: str
    note: str


def search(text: str, user: Any) -> Sequence[Kind]:
    """What this user may see of what a text asks for. At most four queries."""
    words = text[:LONGEST].lower().split()
    if not words:
        return []
    named = list(_fleets().order_by("name")) if user.has_perm("fleet.view_fleet") else []
    found = [_fleet_hits(words, named)]
    if user.has_perm("pods.view_pod"):
        found.append(_pod_hits(words))
    if user.has_perm("fleet.view_alert"):
        found.append(_alert_hits(words))
    found.append(_setting_hits(words, named, limits=user.has_perm("fleet.view_limits")))
    return [kind for kind in found if kind.hits]


def _fleets() -> Any:
    return Fleet.objects.only("name", "stream", "archived_at")


def _each(words: Sequence[str], *fields: str) -> Q:
    """Each word is in one of these columns."""
    asked = Q()
    for word in words:
        one = Q()
        for field in fields:
            one |= Q(**{f"{field}__icontains": word})
        asked &= one
    return asked


def _kind(title: str, hits: Sequence[Hit], page: str, words: Sequence[str]) -> Kind:
    """The first hits, and a link to the list with the others."""
    url = f"{reverse(page)}?{urlencode({'q': ' '.join(words)})}"
    rest = Link(text=f"All {title.lower()} that match", url=url) if len(hits) > MOST else None
    return Kind(title=title, hits=hits[:MOST], rest=rest)


def _fleet_hits(words: Sequence[str], fleets: Sequence[Fleet]) -> Kind:
    hits = []
    for fleet in fleets:
        if all(word in fleet.name or word in fleet.stream.lower() for word in words):
            url = reverse("admin:fleet_fleet_status", args=[fleet.pk])
            note = "archived" if fleet.archived_at else ""
            hits.append(Hit(links=[Link(text=fleet.name, url=url)], note=note))
    return _kind("Fleets", hits, "admin:fleet_fleet_changelist", words)


def _pod_hits(words: Sequence[str]) -> Kind:
    """Pods by their name, and by the id that their vendor gave them."""
    pods = Pod.objects.filter(_each(words, "name", "external_id", "fleet__name"))
    hits = []
    for pod in pods.select_related("fleet", "account").order_by("-pk")[: MOST + 1]:
        url = reverse("admin:pods_pod_change", args=[pod.pk])
        where = f"{pod.account.name} {pod.external_id or 'without a machine'}"
        note = f"{pod.fleet.name} · {pod.state} · {where}"
        hits.append(Hit(links=[Link(text=short_name(pod.name, 8), url=url)], note=note))
    return _kind("Pods", hits, "admin:pods_pod_changelist", words)


def _alert_hits(words: Sequence[str]) -> Kind:
    """Alerts, the open ones first."""
    alerts = Alert.objects.filter(_each(words, "text", "cause", "fleet__name"))
    newest = alerts.order_by(F("resolved_at").desc(nulls_first=True), "-first_seen_at")
    hits = []
    for alert in newest[: MOST + 1]:
        url = reverse("admin:fleet_alert_change", args=[alert.pk])
        state = "Ended" if alert.resolved_at else SEVERITIES[alert.severity].word
        note = f"{state} · since {alert.first_seen_at:%d %b %H:%M} UTC"
        hits.append(Hit(links=[Link(text=alert.text, url=url)], note=note))
    return _kind("Alerts", hits, "admin:fleet_alert_changelist", words)


def _setting_hits(words: Sequence[str], fleets: Sequence[Fleet], *, limits: bool) -> Kind:
    """Fields of the forms. Words that are not in a setting may be in the name of a fleet."""
    hits = []
    present = [fleet for fleet in fleets if not fleet.archived_at]
    for setting in _settings(Fleet) if present else ():
        asked = _fleets_asked(words, setting, present)
        if asked:
            hits.append(_of_fleets(setting, asked))
    for setting in _settings(Limits) if limits else ():
        if _asks(words, setting, "all fleets installation limits"):
            url = f"{reverse('admin:fleet_limits_change', args=[1])}#{setting.anchor}"
            hits.append(
                Hit(links=[Link(text=f"{setting.title}, all fleets", url=url)], note=setting.note)
            )
    if fleets:
        hits += [hit for rule in Rule if (hit := _rule_hit(words, rule)) is not None]
    return Kind(title="Settings and guardrails", hits=hits[: 2 * MOST])


def _fleets_asked(
    words: Sequence[str], setting: _Setting, fleets: Sequence[Fleet]
) -> Sequence[Fleet]:
    about = [word for word in words if word in setting.words]
    others = [word for word in words if word not in setting.words]
    if not about:
        return []
    return [fleet for fleet in fleets if all(word in fleet.name for word in others)]


def _of_fleets(setting: _Setting, fleets: Sequence[Fleet]) -> Hit:
    links = [
        Link(
            text=fleet.name,
            url=f"{reverse('admin:fleet_fleet_change', args=[fleet.pk])}#{setting.anchor}",
        )
        for fleet in fleets[:FLEETS_OFFERED]
    ]
    if len(fleets) > FLEETS_OFFERED:
        more = len(fleets) - FLEETS_OFFERED
        links.append(Link(text=f"{more} more", url=reverse("admin:fleet_fleet_changelist")))
    return Hit(title=setting.title, links=links, note=setting.note)


def _asks(words: Sequence[str], setting: _Setting, also: str) -> bool:
    return any(w in setting.words for w in words) and all(
        word in setting.words or word in also for word in words
    )


def _rule_hit(words: Sequence[str], rule: Rule) -> Hit | None:
    """A guardrail that no field sets: the decisions that it held back."""
    name = spaced(rule.value)
    if rule in remedies.FIELDS or rule in remedies.LIMITS or not all(w in name for w in words):
        return None
    url = f"{reverse('admin:fleet_tick_changelist')}?{urlencode({'binding': rule.value})}"
    return Hit(
        links=[Link(text=name.capitalize(), url=url)], note="the decisions that this rule limited"
    )


def _settings(model: Any) -> Sequence[_Setting]:
    """The fields of the form of this model, as the form names them."""
    ruled = _rules_of(model)
    page: Any = admin.site.get_model_admin(model)
    declared: dict[str, forms.Field] = getattr(page.form, "base_fields", {})
    fields = forms.fields_for_model(model, page.fields) if page.fields else {}
    found = []
    for name, field in {**fields, **declared}.items():
        if isinstance(field.widget, forms.HiddenInput):
            continue
        title = str(field.label or spaced(name)).capitalize()
        help_text = strip_tags(str(field.help_text)) or ""
        words = " ".join((title, spaced(name), name, help_text, *ruled.get(name, ()))).lower()
        found.append(
            _Setting(title=title, anchor=f"id_{name}", words=words, note=help_text[:LONGEST_NOTE])
        )
    return found


def _rules_of(model: Any) -> Mapping[str, Sequence[str]]:
    """The names of the guardrails by the field that sets them."""
    ruled: dict[str, list[str]] = {}
    if model is Fleet:
        for rule, name in remedies.FIELDS.items():
            ruled.setdefault(name, []).append(f"guardrail {spaced(rule.value)}")
    return ruled
