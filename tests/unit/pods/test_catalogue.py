"""What GPUs and places are called: the same names for all vendors."""

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.env import ROOT
from pods.catalogue import gpus, regions
from pods.catalogue.gpu_table import GPU_TYPES
from pods.catalogue.nearest import UnknownName
from pods.catalogue.wish_words import wish_text
from tests.support.vendor_documents import vendor_document

# The GPUs of RunPod's documents (REST v1, 2026-08).
RUNPOD = {
    "NVIDIA GeForce RTX 4090": "RTX 4090",
    "NVIDIA H100 80GB HBM3": "H100 SXM",
    "NVIDIA H100 PCIe": "H100 PCIe",
    "NVIDIA A100-SXM4-80GB": "A100 SXM",
    "NVIDIA A100-SXM4-40GB": "A100 SXM",
    "NVIDIA A100 80GB PCIe": "A100 PCIe",
    "NVIDIA RTX 6000 Ada Generation": "RTX 6000 Ada",
    "NVIDIA A5000 Ada": "RTX 5000 Ada",
    "NVIDIA GeForce RTX 3080TI": "RTX 3080 Ti",
    "NVIDIA  RTX A4500": "RTX A4500",
    "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition": "RTX PRO 6000 Max-Q",
    "AMD Instinct MI300X OAM": "MI300X",
    "Tesla V100-FHHL-16GB": "V100 FHHL",
    "NVIDIA GeForce RTX 4080 SUPER": "RTX 4080 Super",
}
# As Vast.ai's client 1.9.1 spells them (vastai/data/query.py).
VASTAI = {
    "RTX 4090": "RTX 4090",
    "RTX 4090D": "RTX 4090 D",
    "H100 SXM": "H100 SXM",
    "H100 PCIE": "H100 PCIe",
    "H100 NVL": "H100 NVL",
    "A100 SXM4": "A100 SXM",
    "A10g": "A10G",
    "Tesla V100": "V100",
    "Tesla T4": "T4",
    "RTX 6000Ada": "RTX 6000 Ada",
    "Q RTX 6000": "Quadro RTX 6000",
    "RTX 2080S": "RTX 2080 Super",
    "RTX 4070S Ti": "RTX 4070 Ti Super",
    "GTX 1660 S": "GTX 1660 Super",
    "RTX PRO 6000 WS": "RTX PRO 6000 Workstation",
    "RTX PRO 6000 S": "RTX PRO 6000 Server",
    "InstinctMI100": "MI100",
    "GH200 SXM": "GH200",
}
WISHES = {
    "H100": "H100",
    "h100": "H100",
    "h100_sxm": "H100 SXM",
    "H100-SXM5-80GB": "H100 SXM",
    "h100 80 GB": "H100 80GB",
    "nvidia h100 pci-e": "H100 PCIe",
    "4090": "RTX 4090",
    "rtx_4090": "RTX 4090",
    "RTX4090": "RTX 4090",
    "GeForce RTX 4090 24GB": "RTX 4090",
    "A6000": "RTX A6000",
    "6000 ada": "RTX 6000 Ada",
    "a100-80g": "A100 80GB",
    "l40s": "L40S",
    "RTX 2080 Ti 22GB": "RTX 2080 Ti 22GB",
}


@pytest.mark.parametrize(("spelled", "name"), [*RUNPOD.items(), *VASTAI.items()])
def test_a_vendors_name_becomes_the_name_of_the_catalogue(spelled: str, name: str) -> None:
    assert gpus.named(spelled) == name


@pytest.mark.parametrize(("said", "stored"), WISHES.items())
def test_a_gpu_is_recognised_by_each_of_its_usual_names(said: str, stored: str) -> None:
    assert gpus.wished(said) == stored
    assert gpus.wished(stored) == stored


def test_every_gpu_of_the_vendors_document_is_in_the_catalogue() -> None:
    if (document := vendor_document("runpod-rest-v1-openapi.json")) is None:
        pytest.skip(
            "no copy of runpod-rest-v1-openapi.json in PODFLEET_SPECS or beside the checkout"
        )
    found = set(_names(json.loads(document.read_text(encoding="utf-8"))))
    known = {t.name for t in GPU_TYPES}
    assert len(found) > 30
    assert {name for name in found if gpus.named(name) not in known} == set()


def _names(value: object) -> list[str]:
    if isinstance(value, dict):
        own = [
            v for v in value.get("enum") or () if str(v).startswith(("NVIDIA ", "Tesla ", "AMD "))
        ]
        return [*own, *(name for part in value.values() for name in _names(part))]
    return [name for part in value for name in _names(part)] if isinstance(value, list) else []


def test_no_name_of_the_catalogue_means_two_types() -> None:
    for gpu in GPU_TYPES:
        assert [gpus.named(name) for name in (gpu.name, *gpu.spellings)] == [gpu.name] * (
            1 + len(gpu.spellings)
        )


def test_the_page_of_names_has_every_type() -> None:
    page = " ".join((ROOT / "docs/reference/names.md").read_text(encoding="utf-8").split())
    assert [t.name for t in GPU_TYPES if f"`{t.name}`" not in page] == []


@pytest.mark.parametrize(
    ("name", "nearest"), [("H1000", "H100"), ("RTX 4099", "RTX 4090"), ("A600", "A6000")]
)
def test_an_unknown_name_is_refused_with_the_nearest_ones(name: str, nearest: str) -> None:
    with pytest.raises(UnknownName, match=nearest):
        gpus.wished(name)


def test_a_name_that_a_survey_has_seen_is_known() -> None:
    with pytest.raises(UnknownName):
        gpus.wished("cmp 170hx")
    assert gpus.wished("cmp 170hx", seen=["CMP 170HX"]) == "CMP 170HX"
    assert gpus.wished("cmp_170hx", seen=["CMP 170HX"]) == "CMP 170HX"
    assert gpus.named("NVIDIA CMP 170HX") == "CMP 170HX"
    assert gpus.means("CMP_170HX", "CMP 170HX", None)  # an old row may have it
    assert gpus.spellings("CMP_170HX") == ["CMP 170HX"]


def test_a_family_means_all_its_types_and_a_type_only_itself() -> None:
    meant = {t.name for t in GPU_TYPES if gpus.means("H100", t.name, 80)}
    assert meant == {"H100", "H100 SXM", "H100 PCIe", "H100 NVL"}
    assert {t.name for t in GPU_TYPES if gpus.means("L40", t.name, 48)} == {"L40"}
    assert {t.name for t in GPU_TYPES if gpus.means("RTX 3090", t.name, 24)} == {"RTX 3090"}
    assert not gpus.means("H100 SXM", "H100", 80)  # it may be another one


def test_a_wish_with_a_size_means_cards_of_that_size() -> None:
    assert gpus.means("A100 80GB", "A100 SXM", 80)
    assert not gpus.means("A100 80GB", "A100 SXM", 40)
    assert not gpus.means("A100 80GB", "A100 SXM", None)

    assert gpus.means("L4 24GB", "L4", None)  # there is no other size


def test_an_unknown_name_means_only_itself() -> None:
    assert not gpus.means("CMP 170HX", "Odd 1", None)
    assert not gpus.means("CMP 170HX", "H100", 80)


def test_the_memory_of_a_type_is_known_where_all_its_cards_have_as_much() -> None:
    assert [gpus.memory_gb(name) for name in ("L4", "A100", "CMP 170HX")] == [24, None, None]


def test_only_consumer_and_workstation_cards_are_called_by_their_number_alone() -> None:
    assert {"4090", "A6000", "1080 Ti"} <= set(gpus._short_names())
    assert not {"PCIe", "NVL"} & set(gpus._short_names())


def test_a_name_that_looks_like_no_other_is_refused_without_advice() -> None:
    with pytest.raises(UnknownName, match=r"'%%%%' is not a known GPU type$"):
        gpus.wished("%%%%")


def test_a_slice_of_a_card_is_not_that_card() -> None:
    sliced = gpus.named("NVIDIA RTX PRO 6000 Blackwell Server Edition MIG 1g.24gb")
    assert not gpus.means("RTX PRO 6000", sliced, 24)
    assert not gpus.differ("RTX PRO 6000 Server", sliced)  # an unknown name is never certain


@pytest.mark.parametrize(
    ("name", "reported", "size"),
    [("L4", 22.49, 24), ("A40", 44.99, 48), ("H100 SXM", 79.6, 80), ("H200", 140.4, 141),
     ("A100 SXM4", 39.6, 40), ("A100 SXM4", 80.0, 80), ("RTX 4090", 47.9, 48), ("CMP", 9.8, 10)],
)  # fmt: skip
def test_the_memory_of_a_card_is_the_size_in_its_name(
    name: str, reported: float, size: int
) -> None:
    assert gpus.nominal_gb(name, reported) == size


def test_only_two_known_types_differ() -> None:
    assert gpus.differ("H100 SXM", "RTX 4090")
    assert not gpus.differ("H100 SXM", "H100 SXM5 80GB")
    assert not gpus.differ("H100", "H100 SXM")
    assert not gpus.differ("H100 SXM", "H100")
    assert not gpus.differ("H100 SXM", "")
    assert not gpus.differ("", "H100 SXM")


@given(st.text(max_size=60))
def test_no_text_breaks_the_recognition(text: str) -> None:
    assert gpus.read_wish(gpus.read_wish(text)) == gpus.read_wish(text)
    assert isinstance(gpus.means(text, gpus.named(text), None), bool)
    assert isinstance(regions.within(text, text), bool)
    assert isinstance(regions.country_of(text), str)


PLACES = {
    "us": "US",
    "USA": "US",
    "United States": "US",
    "uk": "GB",
    "Canada": "CA",
    "ca": "CA",
    "south korea": "KR",
    "EU": "Europe",
    "europe": "Europe",
    "north america": "North America",
    "eu-ro-1": "EU-RO-1",
    "US-TX": "US-TX",
}


@pytest.mark.parametrize(("said", "stored"), PLACES.items())
def test_a_place_is_recognised_by_name_code_and_data_center(said: str, stored: str) -> None:
    assert regions.wished(said) == stored
    assert regions.wished(stored) == stored


@pytest.mark.parametrize(
    ("region", "wishes"),
    [
        ("EU-RO-1", {"EU-RO-1", "EU-RO", "RO", "Europe"}),
        ("EUR-IS-1", {"IS", "Europe"}),
        ("US-CA-2", {"US", "North America", "America"}),
        ("CA-MTL-1", {"CA", "North America", "America"}),
        ("AP-JP-1", {"JP", "Asia", "Asia-Pacific"}),
        ("OC-AU-1", {"Oceania", "Asia-Pacific"}),
        ("CA", {"CA", "North America", "America"}),
        ("", set()),
        ("Atlantis", set()),
    ],
)
def test_what_lies_in_a_place(region: str, wishes: set[str]) -> None:
    asked = {"EU-RO-1", "EU-RO", "RO", "Europe", "IS", "US", "CA", "JP", "Asia", "Oceania"}
    asked |= {"North America", "South America", "America", "Asia-Pacific", "Africa"}
    assert {wish for wish in asked if regions.within(region, wish)} == wishes


def test_an_unknown_place_is_refused_with_the_nearest_ones() -> None:
    with pytest.raises(UnknownName, match="Germany"):
        regions.wished("Germny")
    with pytest.raises(UnknownName):
        regions.wished("XX-YY-9")
    assert regions.wished("xx-yy-9", seen=["XX-YY-9"]) == "XX-YY-9"
    assert regions.wished("xx-yy", seen=["XX-YY-9"]) == "XX-YY"
    assert regions.wished("quebec, ca", seen=["Quebec, CA"]) == "Quebec, CA"
    with pytest.raises(UnknownName):
        regions.wished("xx", seen=["XX-YY-9"])  # no data center is called by a country alone


def test_an_unknown_place_stays_as_it_is_written_and_lies_in_itself_alone() -> None:
    assert [regions.read_wish(name) for name in ("Atlantis", "", "()")] == ["Atlantis", "", "()"]
    assert regions.within("Atlantis", "atlantis")
    assert not regions.within("Atlantis", "Utopia")
    assert not regions.within("", "")


def test_only_a_name_with_two_codes_is_a_data_center() -> None:
    asked = ("EU-RO-1", "eu-ro", "US", "Europe", "Atlantis")
    assert [name for name in asked if regions.is_center(name)] == ["EU-RO-1", "eu-ro"]


def test_names_and_continents_are_those_of_the_tables() -> None:
    names = regions._names.__wrapped__()  # they are read once, and kept
    assert (names["canada"], names["britain"]) == ("CA", "GB")
    assert "" not in names
    found = regions._continents.__wrapped__()
    assert [found[code] for code in ("BR", "US", "IS", "NO", "KE", "AU", "MV")] == [
        *("South America", "North America", "Europe", "Europe", "Africa", "Oceania", "Asia"),
    ]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("interruptible", True, "Pods that a vendor may take away yes"),
        ("interruptible", False, "Pods that a vendor may take away no"),
        ("min_remaining", timedelta(hours=2), "Can be rented for at least 2 h"),
        ("min_remaining", 7200.0, "Can be rented for at least 2 h"),
        ("max_hourly_usd", "0.5", "Top price of a pod $0.50/h"),
        ("disk_gb", 40, "Disk 40 GB"),
        ("gpu_types", ["H100", "A100"], "GPU H100 or A100"),
        ("min_reliability", "0.9", "Min. reliability 0.9"),
        ("gpu_count", 2, "GPUs of a pod 2"),
        ("of_a_newer_version", 1, "of_a_newer_version 1"),
    ],
)
def test_a_wish_is_said_in_words(name: str, value: Any, text: str) -> None:
    assert wish_text(name, value) == text


def test_every_country_lies_in_one_continent() -> None:
    codes = [regions.countries(name) for name in regions.CONTINENTS]
    assert sum(map(len, codes)) == len(frozenset().union(*codes)) > 240
