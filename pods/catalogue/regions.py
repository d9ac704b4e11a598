"""Recognises places by country, code, continent or data center, and says what lies in them. Pure.

Names of countries are those of the time zone database (`tzdata`, which is always installed), and so
are their continents: `Europe/Oslo` is in Europe. pycountry was looked at: it knows no continents.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from importlib.resources import files
from typing import Final

from pods.catalogue.nearest import unknown

# RunPod's data centers (REST v1 document, 2026-08). A center that a survey has seen is known too.
DATA_CENTERS: Final = (
    *("AP-JP-1", "CA-MTL-1", "CA-MTL-2", "CA-MTL-3", "EU-CZ-1", "EU-FR-1", "EU-NL-1", "EU-RO-1"),
    *("EU-SE-1", "EUR-IS-1", "EUR-IS-2", "EUR-IS-3", "EUR-NO-1", "OC-AU-1", "US-CA-2", "US-DE-1"),
    *("US-GA-1", "US-GA-2", "US-IL-1", "US-KS-2", "US-KS-3", "US-NC-1", "US-TX-1", "US-TX-3"),
    *("US-TX-4", "US-WA-1"),
)
CONTINENTS: Final = (
    *("Africa", "Antarctica", "Asia", "Europe", "North America", "Oceania", "South America"),
)
# Names of more than one continent.
AREAS: Final[Mapping[str, frozenset[str]]] = {
    **{name: frozenset({name}) for name in CONTINENTS},
    "America": frozenset({"North America", "South America"}),
    "Asia-Pacific": frozenset({"Asia", "Oceania"}),
}
_AREA_ALIASES: Final = {
    **{"eu": "Europe", "eur": "Europe", "ap": "Asia-Pacific", "apac": "Asia-Pacific"},
    **{"asiapacific": "Asia-Pacific", "oc": "Oceania", "australasia": "Oceania"},
    **{"americas": "America", "latinamerica": "South America"},
}
_COUNTRY_ALIASES: Final = {
    **{"usa": "US", "unitedstatesofamerica": "US", "uk": "GB", "unitedkingdom": "GB"},
    **{"greatbritain": "GB", "england": "GB", "scotland": "GB", "czechia": "CZ"},
    **{"southkorea": "KR", "republicofkorea": "KR", "korea": "KR", "holland": "NL"},
    **{"uae": "AE", "vietnam": "VN", "turkiye": "TR", "russianfederation": "RU"},
    **{"thenetherlands": "NL", "ivorycoast": "CI", "macedonia": "MK"},
}
# Where the area of the time zone is an ocean or the whole double continent.
_SOUTH_AMERICA: Final = frozenset(
    ("AR", "BO", "BR", "CL", "CO", "EC", "FK", "GF", "GS", "GY", "PE", "PY", "SR", "UY", "VE")
)
_IN_AN_OCEAN: Final = {
    **{"IS": "Europe", "FO": "Europe", "SJ": "Europe", "BM": "North America", "MV": "Asia"},
    **{"CC": "Asia", "CX": "Asia", "IO": "Asia"},
}
_OF_AREA: Final = {
    **{"Atlantic": "Africa", "Indian": "Africa", "Arctic": "Europe"},
    **{"Australia": "Oceania", "Pacific": "Oceania", "America": "North America"},
}
_CENTER: Final = re.compile(r"([A-Z]{2,4})-([A-Z]{2,4})(?:-\d{1,3})?")


def wished(name: str, *, seen: Iterable[str] = ()) -> str:
    """The name of a wish as it is stored: `US`, `Europe`, `EU-RO-1`.

    `seen`: regions that surveys have seen; they are known too.

    Raises:
        UnknownName: nobody knows it; the message has the nearest names.
    """
    as_read, seen = read_wish(name), list(seen)
    if as_read in AREAS or as_read in _countries():
        return as_read
    own = next((s for s in seen if s.casefold() == as_read.casefold()), None)
    if own is not None:
        return own
    if any(_is_of_center(center, as_read) for center in (*DATA_CENTERS, *seen)):
        return as_read
    known = [*_countries().values(), *AREAS, *DATA_CENTERS, *seen]
    raise unknown("region", name, known)


@lru_cache(maxsize=4096)  # a tick compares the same few names with every offer
def read_wish(name: str) -> str:
    """A wish as `wished` stores it; a name that nobody knows is kept, as old rows may have one."""
    text = " ".join(name.split())
    key = _key(text)
    if text.upper() in _countries():
        return text.upper()
    if (area := _areas().get(key)) is not None:
        return area
    if (country := _names().get(key)) is not None:
        return country
    return text.upper() if _CENTER.fullmatch(text.upper()) else text


def within(region: str, wish: str) -> bool:
    """Whether an offer's region lies in a wished one. An unknown region lies nowhere."""
    if not region:
        return False
    wanted = read_wish(wish)
    if _is_of_center(region, wanted) or region.casefold() == wanted.casefold():
        return True
    return country_of(region) in countries(wanted)


def countries(wish: str) -> frozenset[str]:
    """The codes of the countries of a wish; none for a data center, or for an unknown name."""
    wanted = read_wish(wish)
    if wanted in _countries():
        return frozenset({wanted})
    inside = AREAS.get(wanted, frozenset())
    return frozenset(code for code, where in _continents().items() if where in inside)


def country_of(region: str) -> str:
    """The code of the country in which a vendor's region lies; "" where that is not known.

    `CA` · `Quebec, CA` · `EU-RO-1` (Romania) · `US-TX-3` · `Canada`.
    """
    text = region.rpartition(",")[2].strip()
    read = read_wish(text)
    if read in _countries():
        return read
    center = _CENTER.fullmatch(text.upper())
    parts = center.groups() if center else ()
    return next((part for part in parts if part in _countries()), "")


def is_center(wish: str) -> bool:
    """Whether this is the name of a data center, or the beginning of one: `EU-RO-1`, `EU-RO`."""
    return _CENTER.fullmatch(read_wish(wish)) is not None


def _is_of_center(region: str, wanted: str) -> bool:
    """EU-RO-1 is of EU-RO-1 and of EU-RO."""
    if not _CENTER.fullmatch(wanted):
        return False
    return f"{region}-".casefold().startswith(f"{wanted}-".casefold())


def _key(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())


@cache
def _areas() -> Mapping[str, str]:
    return {**{_key(name): name for name in AREAS}, **_AREA_ALIASES}


def _rows(table: str) -> list[list[str]]:
    text = (files("tzdata.zoneinfo") / table).read_text(encoding="utf-8")
    return [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]


@cache
def _countries() -> Mapping[str, str]:
    """The countries' English names by their codes (ISO 3166)."""
    return {code: name for code, name, *_ in _rows("iso3166.tab")}


@cache
def _names() -> Mapping[str, str]:
    """The codes by the keys of names; `Britain (UK)` is found by both of its names."""
    names: dict[str, str] = {}
    for code, name in _countries().items():
        for part in (name, *re.split(r"[()]", name)):
            if len(_key(part)) > 2:
                names.setdefault(_key(part), code)
    return {**names, **_COUNTRY_ALIASES}


@cache
def _continents() -> Mapping[str, str]:
    """The continents of the countries, by the first time zone of each."""
    found: dict[str, str] = {}
    for code, _, zone, *_ in _rows("zone.tab"):
        area = zone.partition("/")[0]
        own = "South America" if code in _SOUTH_AMERICA else _IN_AN_OCEAN.get(code)
        found.setdefault(code, own or _OF_AREA.get(area, area))
    return found
