"""What a pod's machine printed, as its provider hands it out."""

import re
from typing import Final

from pods.accounts import connecting
from pods.accounts.connecting import Connect
from pods.models import Pod

TAIL: Final = 300  # lines
# Colours and other orders to a terminal, and control characters but for tabs and line ends.
CONTROL: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[^\S\n\t ]|[\x00-\x08\x0b-\x1f\x7f]")


def logs_of(pod: Pod, *, tail: int = TAIL, connect: Connect = connecting.connect) -> str:
    """The last lines, without control characters; asks the vendor, which may take seconds.

    Raises:
        ProviderError: the vendor does not hand them out, or not now.
        CannotConnect: the account cannot be used as it is.
        LookupError: the pod has no machine.
    """
    if pod.external_id is None:
        raise LookupError("it has no machine yet")
    return CONTROL.sub("", connect(pod.account).logs(pod.external_id, tail=tail))
