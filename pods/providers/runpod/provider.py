"""The calls of RunPod's REST API v2 that pods need."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from pods.machine_names import has_tag
from pods.providers.base import (
    Capabilities,
    Machine,
    Offer,
    OfferQuery,
    Offers,
    Phase,
    PodSpec,
    Provider,
    Rate,
)
from pods.providers.errors import (
    LoginRefused,
    NoCapacity,
    NotFound,
    ProviderError,
    Refused,
    TryAgain,
    Unavailable,
)
from pods.providers.http import Answer, Timeouts, VendorHttp
from pods.providers.pacing import ANY, MakePacer, unpaced
from pods.providers.runpod import mapping, registries
from pods.providers.runpod.options import Options
from pods.providers.runpod.refusals import refusal
from pods.providers.wire import checked_id, secrets_in, usd

# RunPod's own clients wait up to two minutes for a create.
CREATING: Final = Timeouts(read=90.0, total=100.0)
MOST_PAGES: Final = 1000
# A log stream never ends. When it is quiet, the last lines have come.
QUIET_SECONDS: Final = 1.5
LOG_SECONDS: Final = 10.0
MOST_LINES: Final = 5000
REFUSAL_LINES: Final = 20  # RunPod tries a pull again and again, and writes a line each time
BALANCE: Final = "query { myself { clientBalance } }"
BAD_REQUEST, FORBIDDEN, CONFLICT = 400, 403, 409


def capabilities_of(options: Options) -> Capabilities:
    """What RunPod can do (its document of 2026-08-18, recordings up to 2026-11)."""
    burst = max(1, options.requests_per_minute // 6)
    every = timedelta(minutes=1) / (options.requests_per_minute - burst)
    return Capabilities(
        can_stop=True,
        # A new pod can answer 404 and be missing from the list. RunPod does not say for how long, and
        # advises to look for "at least a minute or two" (runpod.md §3).
        list_lag=timedelta(minutes=2),
        # The first answer after a start can be up to a minute and a half old (§4).
        consistency_window=timedelta(minutes=2),
        has_balance=True,
        registry_logins=True,
        takes_args=True,
        comes_back=True,  # RunPod restarts a container that exits (runpod/runpodctl#149)
        # The quota is the account's: 60 a minute and 3000 an hour where nothing else is known.
        rates={ANY: Rate(every=every, burst=burst)},
        offers_ttl=timedelta(seconds=30),
        # The catalog is a price list: its prices change rarely, and a create is refused without stock.
        offers_last=timedelta(hours=1),
    )


class RunPod:
    """One account at RunPod."""

    name = "runpod"

    def __init__(self, http: VendorHttp, options: Options) -> None:
        """`http` has the key."""
        self._http = http
        self._options = options
        self.capabilities = capabilities_of(options)

    def __repr__(self) -> str:
        return f"RunPod({self._http.base_url!r})"

    def offers(self, query: OfferQuery) -> Sequence[Offer]:
        """What the catalog has in stock: one offer for each cloud, GPU type and data center.

        Where the second cloud cannot be read, the offers of the first.
        """
        # RunPod took spot out of its documents on 2026-05-06.
        if query.interruptible or query.gpu_count < 1:
            return ()
        found: list[Offer] = []
        for cloud in self._options.clouds:
            params: dict[str, str | int] = {
                "include": "AVAILABILITY",
                "product": "POD",
                "count": query.gpu_count,
                "cloud": cloud,
            }
            if self._options.min_cuda_version:
                params["minCudaVersion"] = self._options.min_cuda_version
            try:
                found += self._offers_of(cloud, params, query)
            except TryAgain as exc:
                if not found:
                    raise
                why = f"the cloud {cloud} could not be read: {exc}"
                return Offers(found, partial=why, cut_short=True)
        return Offers(found)

    def _offers_of(
        self, cloud: str, params: Mapping[str, str | int], query: OfferQuery
    ) -> Sequence[Offer]:
        answer = self._http.call("GET", "/v2/catalog/gpus", params=params, endpoint="offers")
        return list(mapping.offers(_good(answer), cloud, query, self._options))

    def create(self, spec: PodSpec, *, token: str) -> Machine:
        """Rent a pod. The request is sent once, because RunPod makes two pods of two requests."""
        body = mapping.create_body(spec, token, self._options)  # first what needs no call
        if spec.registry_login is not None:
            kept = registries.kept(self._http, spec.registry_login)
            body = mapping.create_body(spec, token, self._options, registry=kept)
        answer = self._http.call(
            "POST",
            "/v2/pods",
            json=body,
            hide=secrets_in(spec.env.values()),
            endpoint="create",
            timeouts=CREATING,
        )
        if not answer.ok:
            error = refusal(answer, creating=True)
            if isinstance(error, Refused) and registries.refusal_in([str(error)]):
                raise LoginRefused(str(error))
            raise error
        return mapping.machine(answer.body)

    def status(self, external_id: str) -> Machine:
        """What RunPod says about one pod. The pod of another account answers 404 too.

        Of a pod whose container does not run yet, the lines of its boot are read too: nothing else says
        that a registry refused its image, to this login or to nobody without one.
        """
        pod = self._pod(external_id)
        machine = mapping.machine(pod)
        if not registries.may_be_refused(pod):
            return machine
        try:
            said = registries.refusal_in(self._lines(external_id, "system", REFUSAL_LINES))
        except ProviderError:  # the pod itself was read, and that is what was asked for
            return machine
        if not said:
            return machine
        return replace(
            machine, phase=Phase.FAILED, login_refused=True, because=self._http.clean(said)
        )

    def list_tagged(self, tag: str) -> Sequence[Machine]:
        """The account's pods whose names begin with the tag, from all pages."""
        found, pages = self._walk()
        if pages > 1:
            # It is not documented what a cursor points at. If it counts rows, then a pod that ends
            # during the walk hides the first pod of the next page. A second walk finds that pod.
            found = {**found, **self._walk()[0]}
        return [m for m in found.values() if has_tag(m.name, tag)]

    def stop(self, external_id: str) -> None:
        """Stop the pod. RunPod wipes its container disk, and keeps and bills its volume."""
        self._act(external_id, "stop", wished={"EXITED"})

    def start(self, external_id: str) -> None:
        """Start a stopped pod on the host to which it is bound."""
        self._act(external_id, "start", wished={"PROVISIONING", "STARTING", "RUNNING"})

    def destroy(self, external_id: str) -> None:
        """Terminate the pod, also when it is locked."""
        path = f"/v2/pods/{checked_id(external_id)}"
        answer = self._http.call("DELETE", path, endpoint="destroy")
        if answer.status in {BAD_REQUEST, FORBIDDEN, CONFLICT} and self._unlocked(external_id):
            answer = self._http.call("DELETE", path, endpoint="destroy")
        if answer.ok:
            return
        error = refusal(answer)
        if not isinstance(error, NotFound):
            raise error

    def logs(self, external_id: str, *, tail: int = 100) -> str:
        """The last lines of the container. While it has none, what the host says about the boot."""
        for source in ("container", "system"):
            if lines := self._lines(external_id, source, tail):
                return self._http.clean("\n".join(lines[-tail:] if tail > 0 else []))
        return ""

    def _lines(self, external_id: str, source: str, tail: int) -> Sequence[str]:
        answer, heard = self._http.tail(
            f"/v2/pods/{checked_id(external_id)}/logs",
            params={"source": source, "tail": max(0, min(tail, MOST_LINES))},
            quiet=QUIET_SECONDS,
            total=LOG_SECONDS,
            endpoint="logs",
        )
        if not answer.ok:
            raise refusal(answer)
        return mapping.log_lines(heard)

    def balance(self) -> Decimal | None:
        """USD on the account. Read over GraphQL, which ends early in 2027, because v2 has no route."""
        answer = self._http.call(
            "POST", "/graphql", json={"query": BALANCE}, repeatable=True, endpoint="balance"
        )
        if not answer.ok or not isinstance(answer.body, dict) or answer.body.get("errors"):
            return None
        data = answer.body.get("data")
        myself = data.get("myself") if isinstance(data, dict) else None
        return usd(myself.get("clientBalance")) if isinstance(myself, dict) else None

    def _pod(self, external_id: str) -> Mapping[str, Any]:
        answer = self._http.call("GET", f"/v2/pods/{checked_id(external_id)}", endpoint="status")
        pod = _good(answer)
        if not isinstance(pod, dict) or pod.get("id") != external_id:
            raise Unavailable(f"{answer.what}: the answer is not a pod, or is another one")
        return pod

    def _walk(self) -> tuple[dict[str, Machine], int]:
        """All pods by id, and the number of pages.

        Raises:
            Unavailable: a page is not as it should be, so a pod may be missing.
        """
        found: dict[str, Machine] = {}
        cursors: set[str] = set()
        params: dict[str, str | int] = {}
        for page in range(1, MOST_PAGES + 1):
            answer = self._http.call("GET", "/v2/pods", params=params, endpoint="list")
            pods, cursor = _page(answer)
            for row in pods:
                pod = mapping.machine(row)
                found[pod.external_id] = pod
            if cursor is None:
                return found, page
            if cursor in cursors:
                raise Unavailable(f"{answer.what}: the cursor does not move")
            cursors.add(cursor)
            params = {"cursor": cursor}
        raise Unavailable(f"the list of pods has more than {MOST_PAGES} pages")

    def _act(self, external_id: str, action: str, *, wished: set[str]) -> None:
        """Ask for a state. A pod that is in this state already is a success."""
        answer = self._send_action(external_id, action)
        if answer.ok:
            return
        error = refusal(answer)
        if answer.status in {BAD_REQUEST, FORBIDDEN, CONFLICT} and not isinstance(
            error, NoCapacity
        ):
            if self._pod(external_id).get("status") in wished:
                return
            if self._unlocked(external_id):
                answer = self._send_action(external_id, action)
                if answer.ok:
                    return
                error = refusal(answer)
        raise error

    def _send_action(self, external_id: str, action: str) -> Answer:
        # Repeatable, because a second request finds the pod in the state that was asked for.
        return self._http.call(
            "POST",
            f"/v2/pods/{checked_id(external_id)}/action",
            json={"action": action},
            repeatable=True,
            endpoint="action",
        )

    def _unlocked(self, external_id: str) -> bool:
        """Unlock the pod, because RunPod does not stop a locked one. Whether it was locked."""
        if self._pod(external_id).get("locked") is not True:
            return False
        _good(
            self._http.call(
                "PATCH",
                f"/v2/pods/{checked_id(external_id)}",
                json={"locked": False},
                repeatable=True,
                endpoint="unlock",
            )
        )
        return True


def _good(answer: Answer) -> Any:
    if not answer.ok:
        raise refusal(answer)
    return answer.body


def _page(answer: Answer) -> tuple[list[Any], str | None]:
    """The pods of a page, and the cursor of the next page. None: this was the last one.

    Lists have pages since about 2026-09, which is not documented. Both forms are read.
    """
    body = _good(answer)
    pods = body.get("pods") if isinstance(body, dict) else None
    if not isinstance(pods, list):
        raise Unavailable(f"{answer.what}: the answer has no list of pods")
    pagination = body.get("pagination")
    if pagination is None:
        return pods, None
    more = pagination.get("hasNextPage") if isinstance(pagination, dict) else None
    if not isinstance(more, bool):
        raise Unavailable(f"{answer.what}: it does not say whether the list goes on")
    if not more:
        return pods, None
    cursor = pagination.get("nextCursor")
    if not (isinstance(cursor, str) and cursor):
        raise Unavailable(f"{answer.what}: the list goes on, and does not say where")
    return pods, cursor


def connect(
    *, options: Mapping[str, Any], secret: str | None, make_pacer: MakePacer = unpaced
) -> Provider:
    """The adapter of one account at RunPod.

    Raises:
        ValueError: an option or the key is wrong. The message says what would be right.
    """
    chosen = Options.parse(options)
    if not secret:
        raise ValueError("runpod needs an API key; create one in the console, under Settings")
    pacer = make_pacer(capabilities_of(chosen).rates)
    return RunPod(VendorHttp(base_url=chosen.base_url, secret=secret, pacer=pacer), chosen)
