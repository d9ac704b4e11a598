"""What was received is compared with what was ordered, for every vendor by one function."""

import pytest

from pods.received import Ordered, Received, shortfall

ORDER = Ordered(gpu_type="H100 SXM", gpu_count=2, disk_gb=100)


@pytest.mark.parametrize(
    ("received", "lacks"),
    [
        (Received(), ""),
        (Received(gpu_type="NVIDIA H100 80GB HBM3", gpu_count=2, disk_gb=100), ""),
        (Received(gpu_count=3, disk_gb=200), ""),
        (Received(disk_gb=93), ""),  # 100 GB are 93.1 GiB
        (Received(gpu_type="a card that nobody knows"), ""),
        (Received(gpu_count=0), "0 GPUs instead of 2 GPUs"),
        (Received(gpu_count=1), "1 GPU instead of 2 GPUs"),
        (Received(gpu_type="RTX 4090"), "RTX 4090 instead of H100 SXM"),
        (Received(disk_gb=20), "20 GB of disk instead of 100 GB"),
    ],
)
def test_a_machine_is_compared_with_its_order(received: Received, lacks: str) -> None:
    assert shortfall(ORDER, received) == lacks


def test_an_order_that_names_nothing_is_met_by_everything() -> None:
    assert shortfall(Ordered(), Received(gpu_type="L4", gpu_count=0, disk_gb=0)) == ""
