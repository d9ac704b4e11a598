"""The output of a pod's machine, from its provider."""

import re
from typing import Final

from pods.accounts import connecting
from pods.accounts.connecting import Connect
from pods.masking import without_passwords
from pods.models import Pod

TAIL: Final = 300  # lines
# Colours and other terminal sequences, control characters except tabs and line ends, and halves of
# surrogate pairs, which no page can show.
CONTROL: Final = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|[^\S\n\t ]|[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]"
)


def logs_of(pod: Pod, *, tail: int = TAIL, connect: Connect = connecting.connect) -> str:
    """The last lines of the output, without control characters and passwords in addresses.

    The call may take seconds.

    Raises:
        ProviderError: the vendor does not provide logs, or not now.
        CannotConnect: the account cannot be used as it is.
        LookupError: the pod has no machine.
    """
    if pod.external_id is None:
        raise LookupError("the pod has no machine yet")
    return without_passwords(CONTROL.sub("", connect(pod.account).logs(pod.external_id, tail=tail)))
