"""Vast.ai's wire: which request asks for what, and which answers can be used."""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final, Protocol

from pods.providers.errors import ProviderError, Refused, Unavailable
from pods.providers.http import Answer, Timeouts
from pods.providers.vastai.mapping import Row, instance_id, number
from pods.providers.vastai.refusals import Route, error_of, read

# The vendor's client waits 120 s: creates and logs can be slow (SDK 1.9.1). Less than a task may
# take, so that the worker can still write down what it knows.
SLOW: Final = Timeouts(read=60.0, total=70.0)
PAGE: Final = 25  # show_instances.yaml, 2026-08-07
# A list that shifted while it was read is read again; so often.
READINGS: Final = 3
# 10,000 instances; more is a token that leads nowhere.
MOST_PAGES: Final = 400


class Caller(Protocol):
    """Sends a request; VendorHttp in production."""

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        json: Any = None,
        repeatable: bool | None = None,
        hide: Collection[str] = (),
        endpoint: str = "",
        timeouts: Timeouts | None = None,
    ) -> Answer:
        """The JSON answer; a 4xx is an answer too."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    rows: Mapping[str, Row]  # by id
    total: int  # of all pages, as the vendor counted when it answered this one


class Api:
    """The calls of vastai.md §1. Each raises ProviderError for an answer that it cannot use."""

    def __init__(self, http: Caller) -> None:
        self._http = http

    def search(self, body: Mapping[str, Any]) -> list[Row]:
        """One page of offers."""
        answer = self._http.call(
            "POST", "/api/v0/bundles/", json=body, repeatable=True, endpoint="search"
        )
        offers = _granted(answer, Route.SEARCH).get("offers")
        if not isinstance(offers, list):
            raise Unavailable("Vast.ai answered a search without offers")
        return [row for row in offers if isinstance(row, Mapping)]

    def accept(self, ask: str, body: Mapping[str, Any], *, hide: Collection[str]) -> str:
        """Rent an offer; the id of the new instance.

        Raises:
            Refused: with `billing_id` where the answer names an instance beside its error.
        """
        path = f"/api/v0/asks/{ask}/"
        answer = self._http.call("PUT", path, json=body, repeatable=False, hide=hide, timeouts=SLOW)
        said = read(answer.status, answer.body)
        made = instance_id(_field(answer.body, "new_contract"))
        if _is_success(answer):
            if made is None:
                raise Unavailable("Vast.ai says that it rented, and does not say what")
            return made
        if made is not None:
            raise Refused(str(said), billing_id=made)
        if answer.ok and _field(answer.body, "success") is not False:
            raise Unavailable("Vast.ai says neither that it rented nor that it did not")
        if answer.ok:
            # `success: false` and no contract is a refusal, although it comes with 200.
            said = replace(said, status=400)
        raise error_of(said, Route.ASK)

    def instances(self) -> list[Row]:
        """All instances of the account.

        Raises:
            Unavailable: not all of them could be read; a part is never returned.
        """
        for _ in range(READINGS):
            rows: dict[str, Row] = {}
            total = 0
            for page in self._pages():
                rows.update(page.rows)
                total = page.total
            if len(rows) == total:
                return list(rows.values())
        raise Unavailable(f"Vast.ai listed {len(rows)} instances and says that there are {total}")

    def _pages(self) -> Iterator[_Page]:
        params: dict[str, str | int] = {
            "limit": PAGE,
            "order_by": json.dumps([{"col": "id", "dir": "asc"}]),
            # All of them: a name that the vendor does not know reads null, as if provisioning.
            "select_cols": '["*"]',
        }
        for _ in range(MOST_PAGES):
            answer = self._http.call("GET", "/api/v1/instances/", params=params, endpoint="list")
            body = _granted(answer, Route.LIST)
            yield _page_of(body)
            token = body.get("next_token")
            if not token:
                return
            if not isinstance(token, str) or token == params.get("after_token"):
                raise Unavailable("Vast.ai's list has a next page that cannot be asked for")
            params["after_token"] = token
        raise Unavailable(f"Vast.ai's list does not end after {MOST_PAGES} pages")

    def instance(self, external_id: str) -> Row | None:
        """One instance; None where the vendor shows nothing for the id (gone, or too young)."""
        answer = self._http.call("GET", f"/api/v0/instances/{external_id}/", endpoint="status")
        body = _granted(answer, Route.INSTANCE)
        if "instances" not in body:
            raise Unavailable("Vast.ai answered neither an instance nor that there is none")
        found = body["instances"]
        # null; `{}` and a list have been seen too (vastai.md §4).
        if not found and found in (None, {}, []):
            return None
        rows = found if isinstance(found, list) else [found]
        for row in rows:
            if isinstance(row, Mapping) and instance_id(row.get("id")) == external_id:
                return row
        raise Unavailable("Vast.ai answered something else than the instance that was asked for")

    def stop(self, external_id: str) -> None:
        """Ask for `stopped`."""
        _granted(self._set_state(external_id, "stopped"), Route.INSTANCE)

    def start(self, external_id: str) -> ProviderError | None:
        """Ask for `running`; what was said where the answer is `success: false`.

        Then the wish may be queued all the same, and be granted hours later.
        """
        answer = self._set_state(external_id, "running")
        if answer.ok and _field(answer.body, "success") is False:
            return error_of(read(answer.status, answer.body), Route.INSTANCE)
        _granted(answer, Route.INSTANCE)
        return None

    def _set_state(self, external_id: str, state: str) -> Answer:
        path = f"/api/v0/instances/{external_id}/"
        body = {"state": state}
        return self._http.call("PUT", path, json=body, repeatable=True, endpoint="manage")

    def destroy(self, external_id: str) -> None:
        """Ask for the end of an instance. NotFound where the vendor says that it is gone."""
        path = f"/api/v0/instances/{external_id}/"
        answer = self._http.call("DELETE", path, json={}, endpoint="destroy")
        _granted(answer, Route.INSTANCE)

    def request_logs(self, external_id: str, *, tail: int) -> str:
        """The URL at which the last lines will be found in a while."""
        path = f"/api/v0/instances/request_logs/{external_id}/"
        body = {"tail": str(tail)}
        answer = self._http.call("PUT", path, json=body, repeatable=True, endpoint="logs")
        url = _granted(answer, Route.LOGS).get("result_url")
        if not isinstance(url, str):
            raise error_of(read(200, answer.body), Route.LOGS)
        return url

    def money(self) -> Decimal | None:
        """USD that are left for renting; None where the vendor does not say."""
        answer = self._http.call("GET", "/api/v0/users/current/", endpoint="user")
        body = _granted(answer, Route.USER)
        # Prepaid credit is what counts; `balance` can be 0 or less beside it (vastai.md §9).
        credit = number(body.get("credit"))
        return credit if credit is not None else number(body.get("balance"))


def _granted(answer: Answer, route: Route) -> Mapping[str, Any]:
    """The body of a success; anything else raises. `success: false` can come with 200."""
    if not _is_success(answer):
        raise error_of(read(answer.status, answer.body), route)
    body: Mapping[str, Any] = answer.body
    return body


def _is_success(answer: Answer) -> bool:
    return (
        answer.ok and isinstance(answer.body, Mapping) and answer.body.get("success") is not False
    )


def _field(body: Any, name: str) -> Any:
    return body.get(name) if isinstance(body, Mapping) else None


def _page_of(body: Mapping[str, Any]) -> _Page:
    rows, total = body.get("instances"), body.get("total_instances")
    if not isinstance(rows, list) or isinstance(total, bool) or not isinstance(total, int):
        raise Unavailable("Vast.ai answered a list without its instances or their number")
    found: dict[str, Row] = {}
    for row in rows:
        external_id = instance_id(row.get("id")) if isinstance(row, Mapping) else None
        if external_id is None:
            raise Unavailable("Vast.ai listed something that has no id")
        found[external_id] = row
    return _Page(rows=found, total=total)
