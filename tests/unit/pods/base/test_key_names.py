"""Which names streams may have, so that a pod's rights end where they should."""

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pods.agent.protocol import Keys, dead_stream, result_stream
from pods.base.key_names import CELERYS, RefusedName, check_names, patterns

ODD = [
    '"*"',
    "a'b",
    'x"victim"',
    "'victim'",
    "team a",
    "a\tb",
    "a\n",
    "a(b",
    "a)",
    "a*",
    "a?",
    "[a]",
]
ODD += ["a\\b", "a^b", "~*", "%R~*", "a,b", "", " ", "a\u00a0b", "a\u2028b"]
PODFLEETS = ["podfleet", "podfleet:victim:lease", "podfleet:victim:pod:x:fence", "podfleet:"]
QUEUES = ["control", "vendor", "notify", "unacked", "_kombu.binding.control"]
KEYS = Keys("victim")
NEVER = [KEYS.lease, KEYS.pod("p"), KEYS.fence("p"), KEYS.command("p"), *CELERYS, *QUEUES]


@pytest.mark.parametrize(
    "name", ["po", "tasks", "tasks:2026/a+b", "{shard}.tasks", "Tâches", "a@b=c#d-e_f"]
)
def test_a_usual_name_is_allowed(name: str) -> None:
    check_names(stream=name)
    check_names(stream="work", results=name, reply_to=f"{name}, {name}:*")


@pytest.mark.parametrize("name", [*ODD, *PODFLEETS, *QUEUES])
def test_a_name_that_gives_other_rights_is_refused(name: str) -> None:
    with pytest.raises(RefusedName) as caught:
        check_names(stream=name)
    assert caught.value.field == "stream"
    if name:
        with pytest.raises(RefusedName) as caught:
            check_names(stream="work", results=name)
        assert caught.value.field == "results"


@pytest.mark.parametrize(
    ("stream", "results"),
    [
        ("work", "work"),
        ("work", "work:dead"),
        ("work", "other:dead"),
        ("app:work", "app"),
        ("app:work:1", "app:work"),
    ],
)
def test_results_never_go_to_items_or_dead_letters(stream: str, results: str) -> None:
    with pytest.raises(RefusedName) as caught:
        check_names(stream=stream, results=results)
    assert caught.value.field == "results"


@pytest.mark.parametrize(
    "pattern",
    [
        *("*", "*:results", "p*", "pod*", "podfleet*", "podfleet:*", "podfleet:emb:*", "podfleet"),
        *("_*", "c*", "cont*", "notify", "unacked*", "_kombu.binding.control"),
        *("work", "w*", "work:*", "work:dead", "other:dead"),
        *('"a"', "a b", "a[b]", "a\\*"),
    ],
)
def test_a_pattern_that_could_be_another_kind_of_key_is_refused(pattern: str) -> None:
    with pytest.raises(RefusedName) as caught:
        check_names(stream="work", reply_to=f"fine:*, {pattern}")
    assert caught.value.field == "reply_to"


PIECES = [
    "podfleet",
    "p",
    ":",
    ":",
    "*",
    "work",
    "dead",
    "control",
    "_kombu.",
    "results",
    "a",
    "'",
    " ",
]
TEXT = st.lists(st.sampled_from(PIECES), max_size=5).map("".join)


@given(stream=TEXT, results=TEXT, reply_to=TEXT)
def test_the_names_that_pass_let_a_pod_write_nothing_but_results(
    stream: str, results: str, reply_to: str
) -> None:
    try:
        check_names(stream=stream, results=results, reply_to=reply_to)
    except RefusedName:
        return
    wanted = results or result_stream(stream)
    may_write = [wanted, f"{wanted}:*", *patterns(reply_to)]
    for key in (*NEVER, stream, dead_stream(stream)):
        assert not any(fnmatchcase(key, pattern) for pattern in may_write), key
