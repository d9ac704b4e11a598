"""The page of a fleet's code: what it has for all, an upload and the way back for operators."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from fleet.models import Fleet
from tests.support.admin_pages import a_user
from tests.support.factories import a_fleet

pytestmark = pytest.mark.django_db
SCRIPT = "def handle(batch):\n    return batch  # word-of-the-source\n"


@pytest.fixture
def fleet(redis_url: str) -> Fleet:
    made: Fleet = a_fleet(name="emb", stream="texts", group="texts")
    return made


def page(fleet: Fleet) -> str:
    return reverse("admin:fleet_fleet_code", args=[fleet.pk])


def sent(text: str, number: int, name: str = "embed.py") -> dict[str, object]:
    return {"file": SimpleUploadedFile(name, text.encode()), "number": str(number)}


def test_an_operator_uploads_code_and_goes_back(fleet: Fleet) -> None:
    operator = a_user("operator")
    assert "is in its image" in operator.get(page(fleet)).content.decode()
    text = operator.post(page(fleet), sent(SCRIPT, 0), follow=True).content.decode()
    assert "code version 1 from embed.py, handler embed:handle" in text
    assert "word-of-the-source" not in text
    operator.post(page(fleet), sent(f"{SCRIPT}#", 1))
    text = operator.get(page(fleet)).content.decode()
    assert "Roll back to version 1" in text
    late = operator.post(page(fleet), {"verb": "rollback", "number": "1"}).content.decode()
    assert "somebody else changed the code" in late
    text = operator.post(page(fleet), {"verb": "rollback", "number": "2"}, follow=True)
    assert "back to code version 1 from embed.py" in text.content.decode()
    fleet.refresh_from_db()
    assert (fleet.code_number, fleet.handler) == (1, "embed:handle")
    history = operator.get(reverse("admin:fleet_fleet_history", args=[fleet.pk])).content.decode()
    assert "code rolled back to version 1 by " in history
    assert "code rolled back to version 1 by " in operator.get(page(fleet)).content.decode()
    reasons = fleet.history.values_list("history_change_reason", flat=True)
    assert sum("Handler" in (reason or "") for reason in reasons) == 1  # not where it stayed


def test_bad_code_is_refused_on_the_page_and_a_viewer_changes_nothing(fleet: Fleet) -> None:
    operator = a_user("operator")
    for text, name, says in (
        ("def handle(:\n", "embed.py", "line 1"),
        (SCRIPT, "my-script.py", "rename it to my_script.py"),
        (SCRIPT, "notes.txt", "is not a .py, .zip or .tar.gz"),
    ):
        assert says in operator.post(page(fleet), sent(text, 0, name)).content.decode()
    assert "choose a file" in operator.post(page(fleet), {"number": "0"}).content.decode()
    viewer = a_user("viewer")
    assert 'type="file"' not in viewer.get(page(fleet)).content.decode()
    assert viewer.post(page(fleet), sent(SCRIPT, 0)).status_code == 403
    assert Fleet.objects.get().code_number == 0
