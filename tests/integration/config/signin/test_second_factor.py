"""The second factor of users with a password, and the ways around a lost phone."""

import os
import re
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyotp
import pytest
import time_machine
from django.conf import settings as installed
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.urls import reverse

from config import stack
from config.oidc import Oidc
from fleet import second_factor
from fleet.models import PersonEvent, RecoveryCode, SecondFactor
from pods.base import sealing
from pods.base.clock import utcnow

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery staple"
LOGIN, CODE, SET_UP = "/admin/login/", "/admin/login/code/", "/admin/login/set-up/"
OWN = "/admin/second-factor/"


def a_person(name: str = "ann", role: str = "operator") -> User:
    user = User.objects.create_user(name, password=PASSWORD, is_staff=True)
    user.groups.set([Group.objects.get(name=role)])
    return user


def with_factor(user: User) -> tuple[str, list[str]]:
    """The key of the user's app, and the recovery codes; the code of the present moment is used."""
    key = second_factor.new_key()
    codes = second_factor.set_up(user, key, pyotp.TOTP(key).now())
    assert codes is not None
    return key, list(codes)


def next_code(key: str) -> str:
    return pyotp.TOTP(key).at(utcnow() + timedelta(seconds=30))


def with_password(client: Client, name: str = "ann", **more: str) -> Any:
    return client.post(LOGIN, {"username": name, "password": PASSWORD, **more})


def offered(page: str) -> tuple[str, str]:
    """The key that a page offers for an app, and the sealed one in its form."""
    found = (
        re.search(r'name="key" value="([^"]+)".*', page),
        re.search(r'pf-key">([A-Z2-7 ]+)<', page),
    )
    assert found[0] is not None
    assert found[1] is not None
    return "".join(found[1][1].split()), found[0][1]


def is_in(client: Client) -> bool:
    return client.get(reverse("admin:index")).status_code == 200


def test_a_password_alone_does_not_let_in_who_has_a_second_factor(client: Client) -> None:
    key, _ = with_factor(a_person())
    answer = with_password(client, next="/admin/pods/pod/")
    assert (answer.status_code, answer["Location"]) == (302, CODE)
    assert not is_in(client)
    assert client.post(CODE, {"code": "000000"}).status_code == 400
    assert not is_in(client)
    code = next_code(key)
    answer = client.post(CODE, {"code": f"{code[:3]} {code[3:]}"})
    assert (answer.status_code, answer["Location"]) == (302, "/admin/pods/pod/")
    assert is_in(client)
    what = PersonEvent.objects.order_by("pk").values_list("what", flat=True)
    assert list(what) == ["made", "wrong_code", "signed_in"]


def test_a_code_is_accepted_once(client: Client) -> None:
    key, _ = with_factor(a_person())
    code = next_code(key)
    with_password(client)
    assert client.post(CODE, {"code": code}).status_code == 302
    other = Client()
    with_password(other)
    assert other.post(CODE, {"code": code}).status_code == 400
    assert not is_in(other)


@pytest.mark.django_db(transaction=True)
def test_of_two_requests_with_one_code_one_is_let_in() -> None:
    ann = User.objects.create_user("ann", password=PASSWORD, is_staff=True)
    key, codes = with_factor(ann)
    for typed, check in (
        (next_code(key), second_factor.accepts),
        (codes[0], second_factor.accepts_recovery),
    ):
        factor = SecondFactor.objects.get()  # both requests have read it
        gate = threading.Barrier(2)
        found: list[bool] = []

        def one(
            typed: str = typed,
            check: Any = check,
            factor: Any = factor,
            gate: Any = gate,
            found: Any = found,
        ) -> None:
            gate.wait(10)
            found.append(check(factor, typed))
            connection.close()

        threads = [threading.Thread(target=one) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(found) == [False, True]


def test_ten_wrong_codes_lock_the_name_out(client: Client) -> None:
    key, _ = with_factor(a_person())
    with_password(client)
    for _ in range(installed.AXES_FAILURE_LIMIT):
        answer = client.post(CODE, {"code": "000000"})
    assert answer.status_code == 429
    assert client.post(CODE, {"code": next_code(key)}).status_code == 429
    assert with_password(Client()).status_code == 429
    what = list(PersonEvent.objects.values_list("what", flat=True))
    assert what.count("locked_out") == 1
    assert not is_in(client)


def test_a_recovery_code_replaces_the_phone_once(client: Client) -> None:
    _, codes = with_factor(a_person())
    with_password(client)
    assert client.post(CODE, {"code": codes[3].upper()}).status_code == 302
    assert is_in(client)
    other = Client()
    with_password(other)
    assert other.post(CODE, {"code": codes[3]}).status_code == 400
    assert PersonEvent.objects.get(what="code_used").said == "9 left"


def test_a_key_that_nobody_can_read_leaves_the_recovery_codes(
    client: Client, settings: Any
) -> None:
    key, codes = with_factor(a_person())
    settings.FIELD_KEYS = ("another key than the one before it",)
    with_password(client)
    assert client.post(CODE, {"code": next_code(key)}).status_code == 400
    assert client.post(CODE, {"code": codes[0]}).status_code == 302
    assert is_in(client)


def test_the_code_must_come_within_five_minutes_and_with_the_same_password(client: Client) -> None:
    ann = a_person()
    key, _ = with_factor(ann)
    with_password(client)
    with time_machine.travel(utcnow() + timedelta(minutes=6), tick=False):
        assert client.post(CODE, {"code": pyotp.TOTP(key).now()})["Location"] == LOGIN
    with_password(client)
    ann.set_password("another one")
    ann.save()
    assert client.post(CODE, {"code": next_code(key)})["Location"] == LOGIN
    assert Client().get(CODE)["Location"] == LOGIN


def test_a_user_sets_it_up_on_an_own_page_and_the_key_is_stored_encrypted(client: Client) -> None:
    a_person()
    with_password(client)
    page = client.get(OWN).content.decode()
    assert "<svg" in page
    key, sealed = offered(page)
    again = client.post(OWN, {"code": "000000", "key": sealed})
    assert (again.status_code, offered(again.content.decode())[0]) == (400, key)
    foreign = sealing.seal(f"0 {key}")  # from the page of another user
    for other in (foreign, "nonsense", ""):
        typed = {"code": pyotp.TOTP(key).now(), "key": other}
        assert client.post(OWN, typed).status_code == 400
    assert not SecondFactor.objects.exists()
    answer = client.post(OWN, {"code": pyotp.TOTP(key).now(), "key": sealed})
    codes = re.findall(r"<li><code>([0-9a-f-]+)</code>", answer.content.decode())
    assert len(codes) == 10
    factor = SecondFactor.objects.get()
    assert key not in factor.sealed_key
    assert sealing.unseal(factor.sealed_key) == key
    assert not RecoveryCode.objects.filter(digest__in=codes).exists()
    shown = client.get(OWN).content.decode()
    assert key not in shown.replace(" ", "")
    assert not any(code in shown for code in codes)
    assert key not in str(dict(client.session))
    fresh = client.post(OWN, {"code": codes[0], "verb": "renew"}).content.decode()
    assert codes[1] not in fresh
    assert client.post(OWN, {"code": "123456", "verb": "remove"}).status_code == 400
    assert client.post(OWN, {"code": next_code(key), "verb": "remove"}).status_code == 302
    assert not SecondFactor.objects.exists()


def test_where_it_is_required_a_password_leads_to_the_page_that_sets_it_up(
    client: Client, settings: Any
) -> None:
    a_person()
    before = Client()
    with_password(before)
    assert is_in(before)
    settings.REQUIRE_TOTP = True
    assert not is_in(before)  # a session from before the setting ends
    assert with_password(client)["Location"] == SET_UP
    assert not is_in(client)
    key, sealed = offered(client.get(SET_UP).content.decode())
    assert client.post(SET_UP, {"code": "000000", "key": sealed}).status_code == 400
    answer = client.post(SET_UP, {"code": pyotp.TOTP(key).now(), "key": sealed})
    assert "Keep your recovery codes" in answer.content.decode()
    assert is_in(client)
    assert with_password(Client())["Location"] == CODE


def test_an_api_token_and_a_command_ask_for_no_code(settings: Any, redis_url: str) -> None:
    from fleet import tokens
    from fleet.models import Scope

    settings.REQUIRE_TOTP = True
    ann = a_person()
    with_factor(ann)
    _, secret = tokens.make_token(ann, "test", Scope.READ, by="test")
    answer = Client().get("/api/v1/fleets", headers={"authorization": f"Bearer {secret}"})
    assert answer.status_code == 200
    call_command("fleet", "stop-everything")


def test_a_lost_phone_is_removed_by_a_command_that_the_history_keeps(capsys: Any) -> None:
    with_factor(a_person())
    call_command("user", "remove-second-factor", "ann")
    assert not SecondFactor.objects.exists()
    row = PersonEvent.objects.get(what="factor_removed")
    assert (row.name, row.how) == ("ann", "command")
    assert row.by != "ann"
    with pytest.raises(CommandError, match="ann has no second factor"):
        call_command("user", "remove-second-factor", "ann")
    with pytest.raises(CommandError, match="no user 'bob'"):
        call_command("user", "remove-second-factor", "bob")


def test_without_passwords_only_the_provider_and_a_link_let_in(
    client: Client, settings: Any, capsys: Any
) -> None:
    ann = a_person()
    by_password = Client()
    with_password(by_password)
    settings.OIDC = Oidc(issuer="https://id.example", name="Example ID", groups={"viewer": ("g",)})
    settings.PASSWORD_SIGN_IN = False
    assert not is_in(by_password)
    page = client.get(LOGIN).content.decode()
    assert "Sign in with Example ID" in page
    assert "password" not in page
    assert with_password(client).status_code == 200
    assert not is_in(client)
    call_command("user", "link", "ann")
    path = "/admin/" + capsys.readouterr().out.strip().partition("/admin/")[2]
    assert client.get(path).status_code == 200
    assert not is_in(client)  # a program that looks at the link uses nothing up
    assert client.post(path).status_code == 302
    assert is_in(client)
    assert Client().post(path).status_code == 403
    kept = list(PersonEvent.objects.filter(name="ann").order_by("pk").values_list("what", "how"))
    assert kept[-2:] == [("link_made", "command"), ("signed_in", "sign-in link")]
    ann.is_active = False
    ann.save()
    with pytest.raises(CommandError, match="not active"):
        call_command("user", "link", "ann")


def test_a_link_leads_to_the_pages_that_run(settings: Any, capsys: Any, tmp_path: Path) -> None:
    a_person()
    settings.VAR_DIR, settings.CSRF_TRUSTED_ORIGINS = tmp_path, []

    def link() -> tuple[str, str]:
        call_command("user", "link", "ann")
        said = capsys.readouterr()
        return said.out.strip(), said.err

    path, told = link()
    assert path.startswith("/admin/")
    assert told.startswith("put the address of your pages in front, such as https://")
    settings.CSRF_TRUSTED_ORIGINS = ["https://*.example.com", "http://localhost:8000"]
    assert link()[0].startswith("http://localhost:8000/admin/")
    with stack.alone(tmp_path) as record:
        assert link()[0].startswith("http://localhost:8000/admin/")  # it is still starting
        record("http://127.0.0.1:18620/admin/")
        assert link()[0].startswith("http://127.0.0.1:18620/admin/login/")
        settings.CSRF_TRUSTED_ORIGINS.append("https://fleet.example.com")
        assert link()[0].startswith("https://fleet.example.com/admin/")
    (tmp_path / "up.pid").write_text(f"{os.getpid()} 1.5 http://127.0.0.1:18620/admin/")
    assert stack.address_of_up(tmp_path) == ""  # another process has its number now


def test_a_link_ends_after_ten_minutes(client: Client, capsys: Any) -> None:
    a_person()
    call_command("user", "link", "ann")
    path = "/admin/" + capsys.readouterr().out.strip().partition("/admin/")[2]
    with time_machine.travel(utcnow() + timedelta(minutes=11), tick=False):
        assert client.post(path).status_code == 403
    assert client.post(path.replace("/link/", "/link/x")).status_code == 403
