"""The calls of the Docker Engine API 1.41 that pods need."""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from pods.machine_names import has_tag
from pods.providers.base import Capabilities, Machine, Offer, OfferQuery, Phase, PodSpec
from pods.providers.docker import mapping
from pods.providers.docker.options import Options
from pods.providers.docker.refusals import CONFLICT, NOT_FOUND, NOT_MODIFIED, good, text_of
from pods.providers.errors import NoCapacity, NotFound, Refused, Unavailable
from pods.providers.http import Answer, Timeouts, VendorHttp
from pods.providers.pacing import MakePacer, unpaced
from pods.providers.wire import checked_id, secrets_in

API: Final = "/v1.41"
OFFER: Final = "docker"
STOP_SECONDS: Final = 10  # between SIGTERM and SIGKILL; the agent drains before a stop is sent
ENDING: Final = Timeouts(read=STOP_SECONDS + 20.0, total=STOP_SECONDS + 30.0)
# What was pulled by then stays on the host, and the next try continues from there.
PULL_SECONDS: Final = 80.0


class Docker:
    """One Docker host. A name is unique there, so two creates with one token make one container."""

    name = "docker"
    capabilities = Capabilities(can_stop=True)

    def __init__(self, http: VendorHttp, options: Options) -> None:
        """`http` reaches the engine."""
        self._http, self._options = http, options

    def __repr__(self) -> str:
        return f"Docker({self._options.host!r})"

    def offers(self, query: OfferQuery) -> Sequence[Offer]:
        """One offer, while the host has room for one more container."""
        mine = self._options
        fits = (
            not query.interruptible,
            not query.gpu_types or mine.gpu_type in query.gpu_types,
            not query.regions,
            query.min_vram_gb is None or (mine.vram_gb or 0) >= query.min_vram_gb,
            query.max_hourly_usd is None or mine.hourly_usd <= query.max_hourly_usd,
        )
        if not all(fits) or self._used() >= mine.capacity:
            return ()
        return (
            Offer(
                key=OFFER,
                hourly_usd=mine.hourly_usd,
                gpu_type=mine.gpu_type,
                gpu_count=mine.gpus_per_pod,
                vram_gb=mine.vram_gb,
                stopped_hourly_usd=Decimal(0),
            ),
        )

    def create(self, spec: PodSpec, *, token: str) -> Machine:
        """Create the container under its name and start it, or continue with that of a former try."""
        if spec.offer_key not in {OFFER, ""}:
            raise NoCapacity(f"there is no offer {spec.offer_key!r} on {self._options.host}")
        if not spec.image:
            raise Refused("a Docker host runs containers, so the fleet needs an image")
        body = mapping.container(spec, token, self._options)
        hide = secrets_in(spec.env.values())
        answer = self._create(spec.name, body, hide)
        if answer.status == NOT_FOUND and "image" in text_of(answer).lower():
            self._pull(spec.image)
            answer = self._create(spec.name, body, hide)
        if answer.status == CONFLICT:
            external_id = self._named(spec.name)
        elif answer.ok:
            external_id = str((answer.body or {}).get("Id", ""))
        else:
            raise Refused(f"{answer.what}: {answer.status} {text_of(answer)}")
        self._start(external_id)
        return self.status(external_id)

    def _create(self, name: str, body: Any, hide: Sequence[str]) -> Answer:
        if self._used(besides=name) >= self._options.capacity:
            raise NoCapacity(
                f"{self._options.capacity} containers run there, which is the account's capacity"
            )
        return self._http.call(
            "POST", f"{API}/containers/create", params={"name": name}, json=body, hide=hide
        )

    def _named(self, name: str) -> str:
        """The id of the container that a former try created."""
        answer = self._http.call("GET", f"{API}/containers/{checked_id(name)}/json")
        if not answer.ok:
            raise Unavailable(f"{name} exists and cannot be read: {answer.status}")
        return mapping.inspected(answer.body, self._options).external_id

    def _pull(self, image: str) -> None:
        """Fetch an image that the host lacks.

        Raises:
            Refused: its registry does not have it, or does not give it to us.
            Unavailable: it takes longer than one try may. The next try continues.
        """
        name, _, tag = image.rpartition(":") if ":" in image.rpartition("/")[2] else (image, "", "")
        params = {"fromImage": name or image, "tag": tag or "latest"}
        limits = Timeouts(read=PULL_SECONDS, total=PULL_SECONDS)
        try:
            answer = self._http.call("POST", f"{API}/images/create", params=params, timeouts=limits)
        except Unavailable as exc:
            # The answer is a stream of many JSON values. What counts is whether the image is there.
            if self._http.call("GET", f"{API}/images/{image}/json").ok:
                return
            raise Unavailable(f"the image {image} is not there yet: {exc}") from exc
        if not answer.ok:
            raise Refused(f"the image {image} cannot be pulled: {text_of(answer)}")

    def _start(self, external_id: str) -> None:
        try:
            answer = self._http.call(
                "POST", f"{API}/containers/{checked_id(external_id)}/start", repeatable=True
            )
        except Unavailable as exc:
            if "device driver" in str(exc) or "gpu" in str(exc).lower():
                self.destroy(external_id)
                raise NoCapacity(f"the host has no GPU to give: {exc}") from exc
            raise
        if answer.status == NOT_FOUND:
            raise NotFound(f"there is no container {external_id[:12]}")
        if not answer.ok and answer.status != NOT_MODIFIED:
            raise Refused(f"{answer.what}: {answer.status} {text_of(answer)}")

    def status(self, external_id: str) -> Machine:
        """What the engine says about one container."""
        answer = self._http.call("GET", f"{API}/containers/{checked_id(external_id)}/json")
        if answer.status == NOT_FOUND:
            raise NotFound(f"there is no container {external_id[:12]}")
        return mapping.inspected(good(answer), self._options)

    def list_tagged(self, tag: str) -> Sequence[Machine]:
        """Our containers whose name begins with the tag; the engine lists all at once."""
        return [m for m in self._ours() if has_tag(m.name, tag)]

    def _ours(self) -> Sequence[Machine]:
        filters = json.dumps({"label": [mapping.LABEL]})
        answer = self._http.call(
            "GET", f"{API}/containers/json", params={"all": "true", "filters": filters}
        )
        return mapping.listed(good(answer), self._options)

    def _used(self, besides: str = "") -> int:
        return sum(m.phase is not Phase.STOPPED and m.name != besides for m in self._ours())

    def stop(self, external_id: str) -> None:
        """End the container's processes and keep its disk."""
        answer = self._http.call(
            "POST",
            f"{API}/containers/{checked_id(external_id)}/stop",
            params={"t": STOP_SECONDS},
            repeatable=True,
            timeouts=ENDING,
        )
        if answer.status == NOT_FOUND:
            raise NotFound(f"there is no container {external_id[:12]}")
        if answer.status != NOT_MODIFIED:
            good(answer)

    def start(self, external_id: str) -> None:
        """Run a stopped container again, if the host has room."""
        if self._used(besides=self.status(external_id).name) >= self._options.capacity:
            raise NoCapacity(
                f"{self._options.capacity} containers run there, which is the account's capacity"
            )
        self._start(external_id)

    def destroy(self, external_id: str) -> None:
        """Kill and remove the container and its own volumes."""
        answer = self._http.call(
            "DELETE",
            f"{API}/containers/{checked_id(external_id)}",
            params={"force": "true", "v": "true"},
            timeouts=ENDING,
        )
        if answer.status not in {
            NOT_FOUND,
            CONFLICT,
        }:  # gone already, or somebody else is removing it
            good(answer)

    def logs(self, external_id: str, *, tail: int = 100) -> str:
        """The last lines that the container printed."""
        answer, raw = self._http.tail(
            f"{API}/containers/{checked_id(external_id)}/logs",
            params={"stdout": "true", "stderr": "true", "tail": tail},
            quiet=2.0,
            total=10.0,
        )
        if answer.status == NOT_FOUND:
            raise NotFound(f"there is no container {external_id[:12]}")
        good(answer)
        return self._http.clean(mapping.log_lines(raw))

    def balance(self) -> Decimal | None:
        """A host of one's own has no balance."""
        return None


def connect(
    *, options: Mapping[str, Any], secret: str | None, make_pacer: MakePacer = unpaced
) -> Docker:
    """The adapter of one Docker host. The mode of the socket or the TLS files protect it.

    Raises:
        ValueError: an option is unknown or wrong.
    """
    parsed = Options.parse(options)
    if secret is not None:
        raise ValueError("docker takes no secret; use tls_ca, tls_cert and tls_key")
    pacer = make_pacer(Docker.capabilities.rates)
    http = VendorHttp(base_url=parsed.base_url, uds=parsed.socket, tls=parsed.tls, pacer=pacer)
    return Docker(http, parsed)
