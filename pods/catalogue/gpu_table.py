"""The table of GPU types: their names, their memory and how vendors spell them. Pure.

The spellings are those of RunPod's REST v1 document (`gpuTypeIds`, 2026-08), of Vast.ai's client
1.9.1 (`data/query.py`) and of `nvidia-smi`. gpuhunt 0.1.34 was looked at: it is a price list that
is fetched over the network, and its names leave out what tells an H100 SXM from an H100 PCIe.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuType:
    """One type of GPU. A type of a family is also meant by the name of the family."""

    name: str
    vram_gb: tuple[int, ...]  # the sizes in which it is sold
    spellings: tuple[str, ...] = ()  # other names of the same type
    family: str = ""


def _gpu(name: str, *vram_gb: int, also: tuple[str, ...] = (), family: str = "") -> GpuType:
    return GpuType(name=name, vram_gb=vram_gb, spellings=also, family=family)


def _ada(number: str, vram_gb: int, *also: str) -> GpuType:
    spellings = (f"RTX {number}Ada", f"NVIDIA RTX {number} Ada Generation", *also)
    return _gpu(f"RTX {number} Ada", vram_gb, also=spellings)


DATA_CENTER: Final = (
    _gpu("GB200", 186, 192),
    _gpu("B300", 288, also=("B300 SXM", "NVIDIA B300 SXM6 AC")),
    _gpu("B200", 180, 192, also=("B200 SXM", "NVIDIA B200")),
    _gpu("GH200", 96, 144, also=("GH200 SXM", "NVIDIA GH200 480GB")),
    _gpu("H200 NVL", 141, also=("NVIDIA H200 NVL",)),
    _gpu("H200", 141, also=("H200 SXM", "NVIDIA H200")),
    _gpu("H100", 80, 94),
    _gpu("H100 SXM", 80, also=("H100 80GB HBM3", "NVIDIA H100 80GB HBM3"), family="H100"),
    _gpu("H100 PCIe", 80, also=("H100 PCIE", "NVIDIA H100 PCIe"), family="H100"),
    _gpu("H100 NVL", 94, also=("NVIDIA H100 NVL",), family="H100"),
    _gpu("H800", 80),
    _gpu("A800 PCIe", 80, also=("A800 PCIE",)),
    _gpu("A100X", 80),
    _gpu("A100", 40, 80),
    _gpu("A100 SXM", 40, 80, also=("A100 SXM4", "NVIDIA A100-SXM4-80GB"), family="A100"),
    _gpu("A100 PCIe", 40, 80, also=("A100 PCIE", "NVIDIA A100 80GB PCIe"), family="A100"),
    _gpu("L40S", 48, also=("NVIDIA L40S",)),
    _gpu("L40", 48, also=("NVIDIA L40",)),
    _gpu("L4", 24, also=("NVIDIA L4",)),
    _gpu("A40", 48, also=("NVIDIA A40",)),
    _gpu("A30", 24, also=("NVIDIA A30", "NVIDIA RTX A30")),
    _gpu("A16", 16),
    _gpu("A10G", 24, also=("A10g",)),
    _gpu("A10", 24),
    _gpu("A2", 16),
    _gpu("V100", 16, 32, also=("Tesla V100",)),
    _gpu("V100 SXM", 16, 32, also=("Tesla V100-SXM2-16GB", "Tesla V100 SXM2"), family="V100"),
    _gpu("V100 PCIe", 16, 32, also=("Tesla V100-PCIE-16GB", "Tesla V100 PCIE"), family="V100"),
    _gpu("V100 FHHL", 16, also=("Tesla V100-FHHL-16GB",), family="V100"),
    _gpu("T4", 16, also=("Tesla T4",)),
    _gpu("P100", 12, 16, also=("Tesla P100", "Tesla P100-PCIE-16GB")),
    _gpu("P40", 24, also=("Tesla P40",)),
    _gpu("P4", 8, also=("Tesla P4",)),
    _gpu("M40", 12, 24, also=("Tesla M40",)),
    _gpu("K80", 12, also=("Tesla K80",)),
    _gpu("MI355X", 288, also=("AMD Instinct MI355X OAM",)),
    _gpu("MI325X", 256, also=("AMD Instinct MI325X OAM",)),
    _gpu("MI300X", 192, also=("AMD Instinct MI300X OAM", "InstinctMI300X")),
    _gpu("MI250X", 128, also=("InstinctMI250X",)),
    _gpu("MI210", 64, also=("InstinctMI210",)),
    _gpu("MI100", 32, also=("InstinctMI100",)),
)
WORKSTATION: Final = (
    _gpu("RTX PRO 6000", 96, also=("RTX PRO 6000 Blackwell",)),
    _gpu(
        "RTX PRO 6000 Server",
        96,
        also=("RTX PRO 6000 S", "NVIDIA RTX PRO 6000 Blackwell Server Edition"),
        family="RTX PRO 6000",
    ),
    _gpu(
        "RTX PRO 6000 Workstation",
        96,
        also=("RTX PRO 6000 WS", "NVIDIA RTX PRO 6000 Blackwell Workstation Edition"),
        family="RTX PRO 6000",
    ),
    _gpu(
        "RTX PRO 6000 Max-Q",
        96,
        also=("NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition",),
        family="RTX PRO 6000",
    ),
    _gpu("RTX PRO 5000", 48, 72, also=("NVIDIA RTX PRO 5000 Blackwell",)),
    _gpu("RTX PRO 4500", 32, also=("NVIDIA RTX PRO 4500 Blackwell",)),
    _gpu("RTX PRO 4000", 24, also=("NVIDIA RTX PRO 4000 Blackwell",)),
    _ada("6000", 48),
    _ada("5880", 48),
    _ada("5000", 32, "NVIDIA A5000 Ada"),
    _ada("4500", 24),
    _ada("4000", 20),
    _gpu("RTX 4000 SFF Ada", 20, also=("NVIDIA RTX 4000 SFF Ada Generation",)),
    _ada("2000", 16),
    _gpu("RTX A6000", 48, also=("NVIDIA RTX A6000",)),
    _gpu("RTX A5000", 24, also=("NVIDIA RTX A5000",)),
    _gpu("RTX A4500", 20, also=("NVIDIA RTX A4500",)),
    _gpu("RTX A4000", 16, also=("NVIDIA RTX A4000",)),
    _gpu("RTX A2000", 6, 12, also=("NVIDIA RTX A2000",)),
    _gpu("Quadro RTX 8000", 48, also=("Q RTX 8000", "RTX 8000")),
    _gpu("Quadro RTX 6000", 24, also=("Q RTX 6000", "RTX 6000")),
    _gpu("Quadro RTX 5000", 16, also=("Q RTX 5000", "RTX 5000")),
    _gpu("Quadro RTX 4000", 8, also=("Q RTX 4000", "RTX 4000")),
    _gpu("Titan RTX", 24),
    _gpu("Titan V", 12),
    _gpu("Titan Xp", 12),
)


def _geforce(series: str, number: str, *vram_gb: int, also: tuple[str, ...] = ()) -> GpuType:
    return _gpu(
        f"{series} {number}",
        *vram_gb,
        also=(f"NVIDIA GeForce {series} {number}", *also),
    )


def _super(series: str, number: str, vram_gb: int) -> GpuType:
    """A SUPER, which Vast.ai spells `RTX 4080S` and `RTX 4070S Ti`."""
    short = f"{series} {number[:4]}S{number[4:]}"
    also = (short, f"{series} {number[:4]} S{number[4:]}", f"{series} {number} SUPER")
    return _geforce(series, f"{number} Super", vram_gb, also=also)


CONSUMER: Final = (
    _geforce("RTX", "5090", 32),
    _geforce("RTX", "5080", 16),
    _geforce("RTX", "5070 Ti", 16),
    _geforce("RTX", "5070", 12),
    _geforce("RTX", "5060 Ti", 8, 16),
    _geforce("RTX", "5060", 8),
    _geforce("RTX", "4090 D", 24, also=("RTX 4090D",)),
    _geforce("RTX", "4090", 24),
    _super("RTX", "4080", 16),
    _geforce("RTX", "4080", 16),
    _super("RTX", "4070 Ti", 16),
    _geforce("RTX", "4070 Ti", 12),
    _super("RTX", "4070", 12),
    _geforce("RTX", "4070", 12),
    _geforce("RTX", "4060 Ti", 8, 16),
    _geforce("RTX", "4060", 8),
    _geforce("RTX", "3090 Ti", 24),
    _geforce("RTX", "3090", 24),
    _geforce("RTX", "3080 Ti", 12, also=("NVIDIA GeForce RTX 3080TI",)),
    _geforce("RTX", "3080", 10, 12),
    _geforce("RTX", "3070 Ti", 8),
    _geforce("RTX", "3070", 8),
    _geforce("RTX", "3060 Ti", 8),
    _geforce("RTX", "3060", 8, 12),
    _geforce("RTX", "3050", 6, 8),
    _geforce("RTX", "2080 Ti", 11, 22),
    _super("RTX", "2080", 8),
    _geforce("RTX", "2080", 8),
    _super("RTX", "2070", 8),
    _geforce("RTX", "2070", 8),
    _super("RTX", "2060", 8),
    _geforce("RTX", "2060", 6, 12),
    _geforce("GTX", "1660 Ti", 6),
    _super("GTX", "1660", 6),
    _geforce("GTX", "1660", 6),
    _super("GTX", "1650", 4),
    _geforce("GTX", "1650", 4),
    _geforce("GTX", "1080 Ti", 11),
    _geforce("GTX", "1080", 8),
    _geforce("GTX", "1070 Ti", 8),
    _geforce("GTX", "1070", 8),
    _geforce("GTX", "1060", 3, 6),
)
GPU_TYPES: Final = (*DATA_CENTER, *WORKSTATION, *CONSUMER)
