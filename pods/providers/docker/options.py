"""What an operator can set on an account that is a Docker host."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pods.providers.account_options import Called, WrongOption, check_names
from pods.providers.clients import Tls
from pods.providers.wire import LOOPBACK

_NETWORK: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options, checked."""

    host: Annotated[
        str, Called("Address of the engine"), "unix:///var/run/docker.sock, or tcp://HOST:2376."
    ] = "unix:///var/run/docker.sock"
    tls_ca: Annotated[
        str,
        Called("File of the engine's certificate authority"),
        "Tcp to another machine needs all three files. Empty: no TLS.",
    ] = ""
    tls_cert: Annotated[
        str, Called("File of the client's certificate"), "One of the three files for TLS."
    ] = ""
    tls_key: Annotated[
        str,
        Called("File of the key of the client's certificate"),
        "One of the three files for TLS.",
    ] = ""
    network: Annotated[
        str,
        Called("Docker network"),
        "On each network but host a container cannot reach a Redis on 127.0.0.1.",
    ] = "bridge"
    binds: Annotated[
        Sequence[str],
        Called("Folders of the host"),
        "One a line: /host/path:/container/path[:ro]. Empty: none.",
    ] = ()
    capacity: Annotated[int, Called("Most pods at once"), "Containers that run together."] = 1
    gpus_per_pod: Annotated[
        int,
        Called("GPUs of each pod"),
        "No other pod gets them. 0: pods without a GPU. A fleet that asks for more than one gets these.",
    ] = 0
    gpus: Annotated[
        int | None,
        Called("GPUs of the host"),
        "Numbered from 0. Empty: the most pods at once, times the GPUs of each.",
    ] = None
    gpu_type: Annotated[
        str, Called("Type of the GPUs"), "A name that fleets can ask for: RTX 4090. Empty: none."
    ] = ""
    vram_gb: Annotated[
        int | None, Called("VRAM of one GPU, GB"), "For fleets that ask for it. Empty: not known."
    ] = None
    hourly_usd: Annotated[
        Decimal, Called("Price of a pod, $/h"), "What an hour of a container costs its owner."
    ] = Decimal(0)

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> "Options":
        """The options of an account's row.

        Raises:
            ValueError: one is unknown or wrong. The message says what would be right.
        """
        check_names("docker", given, cls)
        values = dict(given)
        try:
            values["hourly_usd"] = Decimal(str(given.get("hourly_usd", "0")))
        except InvalidOperation as exc:
            raise WrongOption(
                "hourly_usd", f"is {given['hourly_usd']!r}; give USD per hour"
            ) from exc
        for name in ("host", "tls_ca", "tls_cert", "tls_key", "network", "gpu_type"):
            if type(values.get(name, "")) is not str:
                raise WrongOption(name, f"is {values[name]!r}; give a text")
        vram = values.get("vram_gb")
        if vram is not None and (type(vram) is not int or vram < 1):
            raise WrongOption("vram_gb", f"is {vram!r}; give whole GB, 1 or above, or leave it out")
        options = cls(**values)
        options._check_numbers()
        options._check_host()
        return options

    def _check_numbers(self) -> None:
        if not (self.hourly_usd.is_finite() and self.hourly_usd >= 0):
            raise WrongOption("hourly_usd", f"is {self.hourly_usd}; give USD per hour, 0 or above")
        for name, least in (("capacity", 0), ("gpus_per_pod", 0)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise WrongOption(name, f"is {value!r}; give a whole number, {least} or above")
        if self.gpus is not None and (type(self.gpus) is not int or self.gpus < self.gpus_per_pod):
            raise WrongOption(
                "gpus",
                f"is {self.gpus!r}; give the number of the host's GPUs, "
                f"{self.gpus_per_pod} or above, or leave it out",
            )
        if not _NETWORK.fullmatch(str(self.network)):
            raise WrongOption("network", f"is {self.network!r}; give the name of a Docker network")
        binds = self.binds
        if not isinstance(binds, list | tuple) or not all(
            isinstance(b, str) and b.startswith("/") and ":/" in b for b in binds
        ):
            raise WrongOption(
                "binds", f"is {binds!r}; give a list of /host/path:/container/path[:ro]"
            )

    def _check_host(self) -> None:
        parts = urlsplit(self.host)
        if parts.scheme == "unix" and parts.path:
            return
        if parts.scheme != "tcp" or not parts.hostname or not parts.port:
            raise WrongOption(
                "host", f"is {self.host!r}; give unix:///var/run/docker.sock or tcp://HOST:2376"
            )
        if self.tls is None and parts.hostname not in LOOPBACK:
            raise WrongOption(
                "host",
                "is tcp to another machine without TLS, so everybody who reaches it is root there; "
                "give tls_ca, tls_cert and tls_key",
            )

    @property
    def tls(self) -> Tls | None:
        """The client's certificate. None where none is given.

        Raises:
            ValueError: only a part of it is given.
        """
        given = (self.tls_ca, self.tls_cert, self.tls_key)
        if not any(given):
            return None
        if not all(given):
            raise ValueError("give all of tls_ca, tls_cert and tls_key, or none")
        return Tls(ca=self.tls_ca, cert=self.tls_cert, key=self.tls_key)

    @property
    def all_gpus(self) -> Sequence[int]:
        """The numbers of the GPUs that containers may have."""
        wanted = self.capacity * self.gpus_per_pod
        return range(wanted if self.gpus is None else self.gpus)

    def price_of(self, gpu_count: int) -> Decimal:
        """USD/h of a container with so many GPUs: the account's price is that of `gpus_per_pod`."""
        usual = self.gpus_per_pod
        return (
            self.hourly_usd if gpu_count == usual else self.hourly_usd * gpu_count / max(usual, 1)
        )

    @property
    def shares_loopback(self) -> bool:
        """Whether 127.0.0.1 of a container is 127.0.0.1 of the manager."""
        here = self.socket is not None or urlsplit(self.host).hostname in LOOPBACK
        return here and self.network == "host"

    @property
    def socket(self) -> str | None:
        """The engine's socket file. None where the engine is reached over tcp."""
        parts = urlsplit(self.host)
        return parts.path if parts.scheme == "unix" else None

    @property
    def base_url(self) -> str:
        """The URL at which httpx reaches the engine."""
        if self.socket is not None:
            return "http://localhost"
        parts = urlsplit(self.host)
        return f"{'https' if self.tls else 'http'}://{parts.netloc}"
