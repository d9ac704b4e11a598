"""Recognises a GPU by any of its usual names, and says which offers a wish means. Pure.

A vendor's name becomes the name of the catalogue where an adapter reads it. An operator's name does
where it enters. So rules compare names of the catalogue. A name that nobody knows stays as it is.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, lru_cache
from typing import Final

from pods.catalogue.gpu_table import GPU_TYPES, GpuType
from pods.catalogue.nearest import unknown

# Words that name the maker or the packaging and do not tell one type from another.
_IDLE_WORDS: Final = frozenset(
    {"nvidia", "amd", "geforce", "instinct", "tesla", "generation", "edition", "oam", "gpu"}
)
_MEMORY: Final = re.compile(r"\b(\d{1,4}) ?(?:gi?b|g)\b")
_MEMORY_KIND: Final = re.compile(r"\b(?:hbm\d?e?|gddr\d[xw]?)\b")
_SOCKET: Final = re.compile(r"sxm\d")
_MAKERS: Final = ("NVIDIA GeForce ", "NVIDIA ", "AMD ")
# What a card reports is a few per cent less than the size in its name: 23,034 MB of 24 GB.
NEAR: Final = 0.1


def named(vendors_name: str) -> str:
    """The catalogue's name for a vendor's name; an unknown one without its maker."""
    found = _type_of(vendors_name)
    if found is not None:
        return found.name
    name = " ".join(vendors_name.split())
    for maker in _MAKERS:
        name = name.removeprefix(maker)
    return name


def wished(name: str, *, seen: Iterable[str] = ()) -> str:
    """The name of a wish as it is stored: `H100`, `RTX 4090`, `A100 80GB`.

    `seen`: names that surveys have seen; they are known too.

    Raises:
        UnknownName: nobody knows it; the message has the nearest names.
    """
    as_read = read_wish(name)
    spelled = {_spaced(s).strip(): s for s in seen}
    if _type_of(as_read) is not None:
        return as_read
    if (own := spelled.get(_spaced(as_read).strip())) is not None:
        return own
    raise unknown("GPU type", name, [*(t.name for t in GPU_TYPES), *_short_names(), *seen])


def read_wish(name: str) -> str:
    """A wish as `wished` stores it; a name that nobody knows is kept, as old rows may have one."""
    found, size = _type_of(name), _size_in(name)
    if found is None:
        return named(name.replace("_", " "))  # Vast.ai's command line has underscores
    return found.name if size is None or found.vram_gb == (size,) else f"{found.name} {size}GB"


def means(wish: str, gpu_type: str, vram_gb: int | None) -> bool:
    """Whether a wish means GPUs of this type. A wish with a size means only GPUs of that size."""
    found, size = _type_of(wish), _size_in(wish)
    if found is None:
        return _spaced(wish).strip() == _spaced(gpu_type).strip()
    offered = _type_of(gpu_type)
    if offered is None or found.name not in {offered.name, offered.family}:
        return False
    if size is None or found.vram_gb == (size,):
        return True
    return vram_gb is not None and abs(vram_gb - size) <= NEAR * size


def differ(ordered: str, received: str) -> bool:
    """Whether these are two types for certain. An unknown name is never certain."""
    one, other = _type_of(ordered), _type_of(received)
    return (
        one is not None
        and other is not None
        and one.name not in {other.name, other.family}
        and other.name != one.family
    )


def spellings(wish: str) -> list[str]:
    """Every spelling that a vendor may use for what a wish means: for a vendor's filter."""
    found = _type_of(wish)
    if found is None:
        return [read_wish(wish)]
    meant = [t for t in GPU_TYPES if found.name in {t.name, t.family}]
    return list(dict.fromkeys(name for t in meant for name in (t.name, *t.spellings)))


def memory_gb(gpu_type: str) -> int | None:
    """The memory of a card of this type, if all of them have as much; None: nobody knows."""
    found = _type_of(gpu_type)
    return found.vram_gb[0] if found is not None and len(found.vram_gb) == 1 else None


def nominal_gb(gpu_type: str, reported_gb: float) -> int:
    """The size of memory in the name of the card that reports this one."""
    found = _type_of(gpu_type)
    sizes = () if found is None else found.vram_gb
    near = min(sizes, key=lambda size: abs(size - reported_gb), default=None)
    if near is not None and abs(near - reported_gb) <= NEAR * near:
        return near
    return round(reported_gb)


@lru_cache(maxsize=4096)  # a tick compares the same few names with every offer
def _type_of(name: str) -> GpuType | None:
    # A slice of a card (MIG) is found under no name of the card, and it is not that card.
    known = _known()
    return known.get(_key(name)) or known.get(_key(name, sizes=False))


def _size_in(name: str) -> int | None:
    """The GB in a name, unless they only tell the type: `H100 80GB HBM3` is the H100 SXM."""
    found = _MEMORY.search(_spaced(name))
    return int(found[1]) if found else None


def _spaced(name: str) -> str:
    return re.sub(r"[\W_]+", " ", name.casefold())


def _key(name: str, *, sizes: bool = True) -> str:
    text = _spaced(name)
    if not sizes:
        text = _MEMORY_KIND.sub(" ", _MEMORY.sub(" ", text))
    text = text.replace("instinctmi", "mi").replace("quadro", "q")
    words = [_SOCKET.sub("sxm", word) for word in text.split() if word not in _IDLE_WORDS]
    return "".join(words)


@cache
def _known() -> Mapping[str, GpuType]:
    """The types by the keys of all their names. A full name goes before a short one."""
    known: dict[str, GpuType] = {}
    for gpu in GPU_TYPES:
        for name in (gpu.name, *gpu.spellings):
            known.setdefault(_key(name), gpu)
    for gpu, short in _shortened():
        known.setdefault(_key(short), gpu)
    return known


def _shortened() -> Iterator[tuple[GpuType, str]]:
    """`4090` for RTX 4090, `A6000` for RTX A6000, `6000 Ada` for RTX 6000 Ada."""
    for gpu in GPU_TYPES:
        series, _, rest = gpu.name.partition(" ")
        if series in {"RTX", "GTX"}:
            yield gpu, rest


def _short_names() -> list[str]:
    return [short for _, short in _shortened()]
