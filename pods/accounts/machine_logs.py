"""The output of a pod's machine, from its provider."""

import re
from typing import Final

import structlog

from pods.accounts import connecting, registry_logins
from pods.accounts.connecting import CannotConnect, Connect
from pods.base import sealing
from pods.base.clock import utcnow
from pods.masking import SECRET_NAME
from pods.models import Pod
from pods.providers.errors import ProviderError
from pods.providers.wire import cleaned, secrets_in
from pods.rules import TAKEN_RULES, PodRule

log = structlog.get_logger(__name__)

TAIL: Final = 300  # lines
KEPT_LINES: Final = 60
LONGEST_LINE: Final = 200  # of a reason
KEPT_BYTES: Final = 8_192  # of UTF-8
# Colours and other terminal sequences, control characters except tabs and line ends, and halves of
# surrogate pairs, which no page can show.
CONTROL: Final = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|[^\S\n\t ]|[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]"
)


def logs_of(pod: Pod, *, tail: int = TAIL, connect: Connect = connecting.connect) -> str:
    """The last lines of the output, without control characters, and without passwords.

    The call may take seconds.

    Raises:
        ProviderError: the vendor does not provide logs, or not now.
        CannotConnect: the account cannot be used as it is.
        LookupError: the pod has no machine.
    """
    if pod.external_id is None:
        raise LookupError("the pod has no machine yet")
    said = CONTROL.sub("", connect(pod.account).logs(pod.external_id, tail=tail))
    return cleaned(said, _secrets(pod))


def _secrets(pod: Pod) -> list[str]:
    """The passwords that its agent was given, and the variables whose names call them secret."""
    named = [str(value) for name, value in pod.handler_env.items() if SECRET_NAME.search(name)]
    in_addresses = secrets_in([connecting.redis_url(pod)])[1:]
    return [*connecting.redis_passwords(pod), *in_addresses, *named, *_of_registry(pod)]


def _of_registry(pod: Pod) -> list[str]:
    """The password of its image's registry, if it has one: a host may print how it logs in."""
    try:
        login = registry_logins.login_for(pod.account, pod.image)
    except sealing.WrongKey:  # then no machine got it since
        return []
    return [] if login is None else [login.password]


def keep_last_output(pod: Pod, *, connect: Connect = connecting.connect) -> None:
    """Keep the end of a failed pod's output with its row, before its machine is destroyed.

    It is asked for once, and nothing depends on the answer: a vendor without an answer, or a process
    that is killed meanwhile, must not keep the machine alive. Values of `handler_env` are hidden.
    """
    if pod.external_id is None or pod.output_asked_at is not None or not _tells_why(pod):
        return
    pod.output_asked_at = utcnow()
    row = Pod.objects.filter(pk=pod.pk)
    row.update(output_asked_at=pod.output_asked_at)
    try:
        text = logs_of(pod, tail=KEPT_LINES, connect=connect)
    except (ProviderError, CannotConnect) as exc:
        log.info("last_output_unknown", pod=pod.pk, because=str(exc))
        return
    pod.last_output = last_of(cleaned(text, secrets_in(map(str, pod.handler_env.values()))))
    row.update(last_output=pod.last_output)


def last_line(pod: Pod, *, connect: Connect = connecting.connect) -> str:
    """The last line that the machine printed, without secrets; "" if nobody can say it now."""
    try:
        text = logs_of(pod, tail=KEPT_LINES, connect=connect)
    except (ProviderError, CannotConnect, LookupError) as exc:
        log.info("last_output_unknown", pod=pod.pk, because=str(exc))
        return ""
    hidden = last_of(cleaned(text, secrets_in(map(str, pod.handler_env.values()))))
    return hidden.rpartition("\n")[2].strip()[-LONGEST_LINE:]


def _tells_why(pod: Pod) -> bool:
    """Whether its output may say why it failed: it did nothing, or gave up, and nobody took it away."""
    taken = pod.interruptible and pod.retire_rule in TAKEN_RULES
    gave_up = pod.retire_rule == PodRule.AGENT_FAILED
    return pod.failed_at is not None and not taken and (gave_up or not pod.done)


def last_of(text: str) -> str:
    """The last lines of a text, in at most KEPT_BYTES; of a longer line its end."""
    lines = "\n".join(text.rstrip().splitlines()[-KEPT_LINES:])
    return lines.encode()[-KEPT_BYTES:].decode(errors="ignore")
