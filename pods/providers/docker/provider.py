"""The calls of the Docker Engine API that pods need."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote

from pods.catalogue import gpus
from pods.machine_names import has_tag
from pods.providers.base import (
    Capabilities,
    Machine,
    Offer,
    OfferQuery,
    Phase,
    PodSpec,
    RegistryLogin,
)
from pods.providers.docker import mapping
from pods.providers.docker.mapping import Listed
from pods.providers.docker.options import Options
from pods.providers.docker.refusals import (
    CONFLICT,
    NOT_FOUND,
    NOT_MODIFIED,
    good,
    lacks_gpu,
    pull_error,
    pull_refusal,
    text_of,
)
from pods.providers.docker.wire import Engine
from pods.providers.errors import (
    Declined,
    LoginRefused,
    NoCapacity,
    NotFound,
    Refused,
    Unavailable,
)
from pods.providers.http import Answer, Timeouts, VendorHttp
from pods.providers.images import image_parts
from pods.providers.pacing import MakePacer, unpaced
from pods.providers.wire import checked_id, cleaned, secrets_in

OFFER: Final = "docker"
STOP_SECONDS: Final = 10  # between SIGTERM and SIGKILL; the agent drains before a stop is sent
ENDING: Final = Timeouts(read=STOP_SECONDS + 20.0, total=STOP_SECONDS + 30.0)
# What was pulled by then stays on the host, and the next try continues from there.
PULL_SECONDS: Final = 80.0


class Docker:
    """One Docker host. A name is unique there, so two creates with one token make one container."""

    name = "docker"
    capabilities = Capabilities(
        can_stop=True,
        offers_last=timedelta(days=1),  # own prices
        registry_logins=True,
        takes_args=True,
    )

    def __init__(self, http: VendorHttp, options: Options) -> None:
        """`http` reaches the engine."""
        self._engine, self._options = Engine(http, options.socket), options
        self.capabilities = replace(Docker.capabilities, most_gpus=len(options.all_gpus))

    def __repr__(self) -> str:
        return f"Docker({self._options.host!r})"

    def offers(self, query: OfferQuery) -> Sequence[Offer]:
        """One offer, while the host has room for one more container.

        A query for one GPU, which is the default, gets as many as the account gives each pod.
        """
        mine = self._options
        count = query.gpu_count if query.gpu_count > 1 else mine.gpus_per_pod
        hourly_usd = mine.price_of(count)
        fits = (
            not query.interruptible,
            not query.gpu_types
            or any(gpus.means(wish, mine.gpu_type, mine.vram_gb) for wish in query.gpu_types),
            not query.regions,
            query.min_vram_gb is None or (mine.vram_gb or 0) >= query.min_vram_gb,
            query.max_hourly_usd is None or hourly_usd <= query.max_hourly_usd,
        )
        if not all(fits) or not self._has_room(count):
            return ()
        return (
            Offer(
                key=OFFER,
                hourly_usd=hourly_usd,
                gpu_type=gpus.named(mine.gpu_type),
                gpu_count=count,
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
        if why := mapping.unreachable_redis(spec, self._options):
            raise Refused(why)
        answer = self._create(spec, token)
        if answer.status == NOT_FOUND and "image" in text_of(answer).lower():
            self._pull(spec.image, spec.registry_login)
            answer = self._create(spec, token)
        if answer.status == CONFLICT:
            external_id = self._named(spec.name)
        elif answer.ok:
            external_id = mapping.made(answer.body)
        else:
            raise Refused(f"{answer.what}: {answer.status} {text_of(answer)}")
        if taken := self._taken_gpus(external_id):
            self.destroy(external_id)  # it does not run yet, and nothing may be left of it
            raise NoCapacity(f"another pod got {taken} at the same time")
        try:
            self._start(external_id)
        except Declined:
            self.destroy(external_id)
            raise
        return self.status(external_id)

    def _create(self, spec: PodSpec, token: str) -> Answer:
        others = [c for c in self._ours() if c.machine.name != spec.name]
        self._check_room(others)
        wanted = spec.gpu_count or self._options.gpus_per_pod
        body = mapping.container(spec, token, self._options, self._free_gpus(others, wanted))
        hide = secrets_in(spec.env.values())
        return self._engine.call(
            "POST", "/containers/create", params={"name": spec.name}, json=body, hide=hide
        )

    def _has_room(self, gpu_count: int) -> bool:
        others = self._ours()
        try:
            self._check_room(others)
            self._free_gpus(others, gpu_count)
        except NoCapacity:
            return False
        return True

    def _check_room(self, others: Sequence[Listed]) -> None:
        if sum(c.runs for c in others) >= self._options.capacity:
            raise NoCapacity(
                f"{self._options.capacity} containers run there, which is the account's capacity"
            )

    def _free_gpus(self, others: Sequence[Listed], wanted: int) -> Sequence[int]:
        """GPUs that no running container has. Those of stopped ones come last: they may start again.

        Raises:
            NoCapacity: fewer are left than a pod needs.
        """
        used = {gpu for c in others if c.runs for gpu in c.gpus}
        named = {gpu for c in others for gpu in c.gpus}
        free = [gpu for gpu in self._options.all_gpus if gpu not in used]
        if len(free) < wanted:
            raise NoCapacity(f"{len(free)} GPUs are free there, and a pod needs {wanted}")
        return sorted(sorted(free, key=lambda gpu: (gpu in named, gpu))[:wanted])

    def _taken_gpus(self, external_id: str) -> str:
        """Which of its GPUs another container of ours uses too. Empty where none, or where it runs."""
        mine: set[int] = set()
        used: set[int] = set()
        for container in self._ours():
            if container.machine.external_id != external_id:
                used.update(container.gpus if container.runs else ())
            elif container.machine.phase is not Phase.RUNNING:
                mine.update(container.gpus)
        return ", ".join(f"GPU {gpu}" for gpu in sorted(mine & used))

    def _named(self, name: str) -> str:
        """The id of the container that a former try created."""
        answer = self._engine.call("GET", f"/containers/{checked_id(name)}/json")
        if not answer.ok:
            raise Unavailable(f"{name} exists and cannot be read: {answer.status}")
        return mapping.inspected(answer.body, self._options).external_id

    def _pull(self, image: str, login: RegistryLogin | None) -> None:
        """Fetch an image that the host lacks.

        Raises:
            LoginRefused: its registry does not give it to this login, or to nobody without one.
            Refused: its registry does not have it.
            QuotaExceeded: the host's disk is full.
            Unavailable: it takes longer than one try may, or failed. The next try continues.
        """
        name, version = image_parts(image)
        limits = Timeouts(read=PULL_SECONDS, total=PULL_SECONDS)
        headers = {} if login is None else {mapping.LOGIN_HEADER: mapping.login_header(login)}
        hide = [] if login is None else [login.password, *headers.values()]
        try:
            answer = self._engine.call(
                "POST",
                "/images/create",
                params={"fromImage": name, "tag": version},
                timeouts=limits,
                stream=True,
                headers=headers,
                hide=hide,
            )
        except Unavailable as exc:
            # An engine also answers 500 with the registry's refusal.
            if isinstance(refused := pull_refusal(image, str(exc)), LoginRefused):
                raise refused from None
            # What counts is whether the image is there.
            path = quote(mapping.image_name(image), safe="/:@")
            if self._engine.call("GET", f"/images/{path}/json").ok:
                return
            raise Unavailable(f"the image {image} is not there yet: {exc}") from exc
        if why := text_of(answer) if not answer.ok else pull_error(answer.body):
            raise pull_refusal(image, cleaned(why, hide))
        if not answer.ok:
            raise Refused(f"the image {image} cannot be pulled: {answer.status}")

    def _start(self, external_id: str) -> None:
        try:
            answer = self._engine.call(
                "POST", f"/containers/{checked_id(external_id)}/start", repeatable=True
            )
        except Unavailable as exc:
            if lacks_gpu(str(exc)):
                raise NoCapacity(f"the host has no GPU to give: {exc}") from exc
            raise
        if answer.status == NOT_FOUND:
            raise NotFound(f"there is no container {external_id[:12]}")
        if not answer.ok and answer.status != NOT_MODIFIED:
            text = f"{answer.what}: {answer.status} {text_of(answer)}"
            raise NoCapacity(text) if lacks_gpu(text) else Refused(text)

    def status(self, external_id: str) -> Machine:
        """What the engine says about one container."""
        answer = self._engine.call("GET", f"/containers/{checked_id(external_id)}/json")
        if answer.status == NOT_FOUND:
            raise NotFound(f"there is no container {external_id[:12]}")
        return mapping.inspected(good(answer), self._options)

    def list_tagged(self, tag: str) -> Sequence[Machine]:
        """Our containers whose name begins with the tag; the engine lists all at once."""
        return [c.machine for c in self._ours() if has_tag(c.machine.name, tag)]

    def _ours(self) -> Sequence[Listed]:
        filters = json.dumps({"label": [mapping.LABEL]})
        answer = self._engine.call(
            "GET", "/containers/json", params={"all": "true", "filters": filters}
        )
        return mapping.listed(good(answer), self._options)

    def stop(self, external_id: str) -> None:
        """End the container's processes and keep its disk."""
        answer = self._engine.call(
            "POST",
            f"/containers/{checked_id(external_id)}/stop",
            params={"t": STOP_SECONDS},
            repeatable=True,
            timeouts=ENDING,
        )
        if answer.status == NOT_FOUND:
            raise NotFound(f"there is no container {external_id[:12]}")
        if answer.status != NOT_MODIFIED:
            good(answer)

    def start(self, external_id: str) -> None:
        """Run a stopped container again, if the host has room and nobody else has its GPUs."""
        machine = self.status(external_id)
        self._check_room([c for c in self._ours() if c.machine.name != machine.name])
        if taken := self._taken_gpus(machine.external_id):
            raise NoCapacity(f"another pod has {taken} now")
        self._start(external_id)

    def destroy(self, external_id: str) -> None:
        """Kill and remove the container and its own volumes."""
        answer = self._engine.call(
            "DELETE",
            f"/containers/{checked_id(external_id)}",
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
        answer, raw = self._engine.tail(
            f"/containers/{checked_id(external_id)}/logs",
            params={"stdout": "true", "stderr": "true", "tail": tail},
            quiet=2.0,
            total=10.0,
        )
        if answer.status == NOT_FOUND:
            raise NotFound(f"there is no container {external_id[:12]}")
        good(answer)
        return self._engine.clean(mapping.log_lines(raw))

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
    http = VendorHttp(
        base_url=parsed.base_url,
        uds=parsed.socket,
        tls=parsed.tls,
        quote_faults=True,
        pacer=pacer,
    )
    return Docker(http, parsed)
