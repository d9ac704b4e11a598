"""The search finds fleets, pods, alerts and settings, and shows to each user only what he may see."""

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse

from fleet.models import Alert, Limits
from fleet.pages import remedies, searching
from pods.emulators.base import SteppedClock
from pods.states import FAILED, READY
from tests.support.admin_pages import a_user, logged_in_with
from tests.support.factories import a_fleet, a_pod, an_alert, hours

pytestmark = pytest.mark.django_db


def found(client: Client, text: str) -> dict[str, list[str]]:
    """The addresses that a search leads to, by kind."""
    page = client.get(reverse("find"), {"q": text})
    assert page.status_code == 200
    return {
        kind.title: [link.url for hit in kind.hits for link in hit.links]
        for kind in page.context["found"]
    }


def change(name: str, pk: int) -> str:
    return reverse(f"admin:{name}_change", args=[pk])


def test_a_fleet_is_found_by_a_part_of_its_name_or_stream(admin_client: Client) -> None:
    fleet = a_fleet(name="embed-docs", stream="captions")
    a_fleet(name="whisper", stream="audio")
    for text in ("MBED", "caption", "docs embed"):
        assert found(admin_client, text)["Fleets"] == [
            reverse("admin:fleet_fleet_status", args=[fleet.pk])
        ]
    assert "Fleets" not in found(admin_client, "docs whisper")


def test_a_pod_is_found_by_its_name_and_by_its_vendors_id(admin_client: Client) -> None:
    fleet = a_fleet()
    pod = a_pod(fleet, READY, external_id="i-0ab81")
    over = a_pod(fleet, FAILED, external_id="i-777")
    assert found(admin_client, "0ab8")["Pods"] == [change("pods_pod", pod.pk)]
    assert found(admin_client, pod.name[-9:])["Pods"] == [change("pods_pod", pod.pk)]
    assert found(admin_client, "i-777")["Pods"] == [change("pods_pod", over.pk)]


def test_open_alerts_are_found_before_those_that_ended(
    admin_client: Client, time: SteppedClock
) -> None:
    fleet = a_fleet()
    ended = an_alert(fleet, text="a pod is old")
    Alert.objects.filter(pk=ended.pk).update(resolved_at=ended.first_seen_at + hours(1))
    time.advance(-3600)
    still = an_alert(fleet, subject="pod:2", text="another pod is old")
    urls = found(admin_client, "pod old")["Alerts"]
    assert urls == [change("fleet_alert", still.pk), change("fleet_alert", ended.pk)]


def test_a_setting_leads_to_its_field_of_each_fleet_or_of_the_one_that_is_named(
    admin_client: Client,
) -> None:
    emb, whisper = a_fleet(name="emb"), a_fleet(name="whisper")
    title = "Settings and guardrails"
    for text, fleets in (("daily budget", [emb, whisper]), ("whisper budget daily", [whisper])):
        urls = found(admin_client, text)[title]
        for fleet in (emb, whisper):
            url = f"{change('fleet_fleet', fleet.pk)}#id_daily_budget_usd"
            assert (url in urls) is (fleet in fleets)
    limits = f"{change('fleet_limits', Limits.get().pk)}#id_daily_budget_usd"
    assert limits in found(admin_client, "daily budget all fleets")[title]
    assert admin_client.get(limits).status_code == 200


def test_every_guardrail_leads_to_its_field_or_to_its_decisions(admin_client: Client) -> None:
    fleet = a_fleet()
    page = change("fleet_fleet", fleet.pk)
    for rule, field in remedies.FIELDS.items():
        urls = found(admin_client, rule.value.replace("_", " "))["Settings and guardrails"]
        assert f"{page}#id_{field}" in urls, rule
    urls = found(admin_client, "worth booting")["Settings and guardrails"]
    assert urls == [f"{reverse('admin:fleet_tick_changelist')}?binding=worth_booting"]
    assert admin_client.get(urls[0]).status_code == 200


def test_only_what_a_user_may_see_is_found(client: Client) -> None:
    fleet = a_fleet(name="emb")
    a_pod(fleet, READY, external_id="emb-1")
    an_alert(fleet, text="emb is late")
    assert list(found(a_user("viewer"), "emb")) == ["Fleets", "Pods", "Alerts"]
    Group.objects.get(name="viewer").user_set.all().delete()
    logged_in_with(client, "view_pod")
    assert list(found(client, "emb")) == ["Pods"]
    assert found(client, "budget") == {}
    client.logout()
    assert client.get(reverse("find"), {"q": "emb"}).status_code == 302


def test_a_long_list_of_hits_is_cut_and_leads_to_the_rest(
    admin_client: Client, django_assert_max_num_queries: Any
) -> None:
    fleet = a_fleet(name="emb")
    for n in range(searching.MOST + 2):
        a_pod(fleet, READY, external_id=f"i-{n}")
    page = admin_client.get(reverse("find"), {"q": "i-"})
    [pods] = [kind for kind in page.context["found"] if kind.title == "Pods"]
    assert len(pods.hits) == searching.MOST
    assert pods.rest is not None
    assert admin_client.get(pods.rest.url).status_code == 200
    with django_assert_max_num_queries(10):
        admin_client.get(reverse("find"), {"q": "i-"})


def test_the_text_of_a_search_stays_text_and_an_empty_one_says_what_can_be_found(
    admin_client: Client,
) -> None:
    page = admin_client.get(reverse("find"), {"q": '"><script>alert(1)</script>'})
    assert "<script>alert" not in page.content.decode()
    assert "Nothing has" in page.content.decode()
    empty = admin_client.get(reverse("find")).content.decode()
    assert "Search finds fleets by name or stream" in empty
