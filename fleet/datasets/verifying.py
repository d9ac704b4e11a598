"""Proves from the files of a dataset that each input row has one output row or one error row."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from fleet.datasets import counting, ids, parts, sinks
from fleet.datasets.access import with_secrets
from fleet.datasets.counting import Wanted
from fleet.datasets.coverage import Bounds, bounds, missing
from fleet.datasets.cutting import CountedFile, unit_of
from fleet.datasets.ids import Repeated
from fleet.datasets.listing import BadDataset, source_format
from fleet.datasets.parts import Counted
from fleet.datasets.sinks import Contents
from fleet.models import Dataset, DatasetFile
from pods.agent.dataset import stores
from pods.agent.dataset.rows import BadInput
from pods.agent.dataset.stores import Missing
from pods.agent.ranges import PartName, Source, Unit
from pods.plural import plural

SHOWN_IDS: Final = 3


@dataclass(slots=True, kw_only=True)
class Proof:
    """What was counted, and what is wrong."""

    files: int = 0
    parts: int = 0
    rows: int = 0  # of the input
    done: int = 0
    failed: int = 0
    complete: bool = False  # the sink has `_SUCCESS`
    wrong: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what is right, and may surprise


@with_secrets
def verify(
    dataset: Dataset, *, deep: bool = False, told: Callable[[int, int], None] = lambda _n, _of: None
) -> Proof:
    """Count the rows of the input and of the parts anew. `deep`: also compare their ids.

    Raises:
        StoreError: a store refuses, or does not answer.
    """
    there = sinks.contents(dataset.sink)
    files = list(dataset.files.order_by("url"))
    proof = Proof(files=len(files), parts=len(there.parts), complete=there.success)
    counted = parts.count_parts(dataset.sink, there, there.parts.values())
    of_file = there.by_file()
    repeated = Repeated()
    for number, file in enumerate(files, start=1):
        its = of_file.pop(file.key, [])
        checked = _Checked(dataset, file, its, counted, there, proof, repeated)
        checked.check(deep=deep)
        told(number, len(files))
    for strays in of_file.values():
        for part in strays:
            proof.wrong.append(f"{part} belongs to no input file of this fleet")
    _check_errors(there, proof)
    _check_manifest(dataset, there, counted, proof)
    if deep and (again := repeated.count()):
        proof.notes.append(
            f"{plural(again, 'row')} of the input have the id of a row before; each has its own "
            "result, and `fleet collect` keeps one row of each id"
        )
    return proof


@dataclass(frozen=True, slots=True)
class _Checked:
    """One input file and its parts."""

    dataset: Dataset
    file: DatasetFile
    its: Sequence[PartName]
    counted: dict[str, Counted | BadDataset]
    there: Contents
    proof: Proof
    repeated: Repeated

    def check(self, *, deep: bool) -> None:
        """Compare the rows of the file with those of its parts."""
        source = self.file.source
        try:
            whole, expected, rows = self._expected(source)
        except BadDataset as exc:
            self.proof.wrong.append(str(exc))
            return
        self.proof.rows += rows
        self._check_bounds(source, whole)
        good = [self._check_part(part, expected[span_of(part)]) for part in self.its]
        if deep:
            for part, is_good in zip(self.its, good, strict=True):
                if is_good:
                    self._check_ids(part)

    def _expected(self, source: Source) -> tuple[Bounds, dict[Bounds, int], int]:
        """The bounds of the file, the rows within the bounds of each part, and all its rows."""
        place = stores.place(source.url)
        try:
            now = place.head()
        except Missing as exc:
            raise BadDataset(
                f"the input {source.url} is gone, so nothing proves its rows{self._way_out(source)}"
            ) from exc
        if now.etag != source.etag or now.size != source.size:
            raise BadDataset(
                f"the input {source.url} has changed since it was planned{self._way_out(source)}"
            )
        spans = [span_of(part) for part in self.its]
        if unit_of(source) is Unit.ROWS:
            file = counting.count_one(source, Wanted())
            within = {s: max(0, min(s[1], file.rows) - s[0]) for s in spans}
            return file.whole, within, file.rows
        whole = CountedFile(source=source, rows=1).whole
        starts = sorted({bound for span in spans for bound in span})
        counts = [0] * (len(starts) + 1)  # rows between each two bounds
        rows = 0
        try:
            for at in source_format(source.format).starts(place, source):
                counts[bisect_right(starts, at)] += 1
                rows += 1
        except BadInput as exc:
            raise BadDataset(str(exc)) from exc
        number = {bound: n for n, bound in enumerate(starts, start=1)}
        within = {s: sum(counts[number[s[0]] : number[s[1]]]) for s in spans}
        if not rows:
            whole = (0, 0)
        return whole, within, rows

    def _way_out(self, source: Source) -> str:
        return (
            "; put it back as it was, or give it up with "
            f"`fleet forget {self.dataset.fleet.name} {source.url}`"
        )

    def _check_bounds(self, source: Source, whole: Bounds) -> None:
        kind = unit_of(source)
        unit = "bytes" if kind is Unit.BYTES else "rows"
        ordered = sorted(self.its, key=span_of)
        for start, end in missing(whole, [span_of(part) for part in ordered]):
            last = "the end" if end >= whole[1] and kind is not Unit.ROWS else f"{end:,}"
            self.proof.wrong.append(f"{source.url}: {unit} {start:,} to {last} have no part")
        reached: PartName | None = None
        for part in ordered:
            if reached is not None and span_of(part)[0] < span_of(reached)[1]:
                self.proof.wrong.append(
                    f"{source.url}: {reached} and {part} have {unit} in common, from {part.start:,} on"
                )
            if reached is None or span_of(part)[1] > span_of(reached)[1]:
                reached = part

    def _check_part(self, part: PartName, expected: int) -> bool:
        found = self.counted[str(part)]
        if isinstance(found, BadDataset):
            self.proof.wrong.append(str(found))
            return False
        self.proof.done += found.done
        self.proof.failed += found.failed
        if found.done + found.failed != expected:
            self.proof.wrong.append(
                f"{part} has {found.done:,} rows and {found.failed:,} failed ones; its range has "
                f"{expected:,} rows"
            )
            return False
        return True

    def _check_ids(self, part: PartName) -> None:
        folder = stores.place(self.dataset.sink)
        try:
            wanted = Counter(self.repeated.heard(ids.of_input(self.file, part)))
            found = Counter(ids.of_file(folder.at(str(part)), part.format))
            if part.errors_name:
                found.update(ids.of_file(folder.at(part.errors_name), part.format))
        except BadDataset as exc:
            self.proof.wrong.append(str(exc))
            return
        for which, left in (
            ("lacks", wanted - found),
            ("has, and its range does not", found - wanted),
        ):
            if left:
                some = ", ".join(sorted(left)[:SHOWN_IDS])
                self.proof.wrong.append(f"{part} {which}: {left.total():,} ids, such as {some}")


def span_of(part: PartName) -> Bounds:
    """The bounds of a part."""
    return bounds(part.start, part.end)


def _check_errors(there: Contents, proof: Proof) -> None:
    for name in sorted(there.errors):
        if name not in there.parts:
            proof.wrong.append(f"errors/{name} belongs to no part")


def _check_manifest(
    dataset: Dataset, there: Contents, counted: dict[str, Counted | BadDataset], proof: Proof
) -> None:
    """Compare the manifest with the parts, if the sink says that it is complete."""
    if not there.manifest:
        if there.success:
            proof.wrong.append("the sink has _SUCCESS and no manifest")
        return
    try:
        listed = {entry.part: entry for entry in parts.manifest(dataset.sink)}
    except BadDataset as exc:
        proof.wrong.append(str(exc))
        return
    for name in sorted(listed.keys() - there.parts.keys()):
        proof.wrong.append(f"the manifest names {name}, which is not in the sink")
    for name in sorted(there.parts.keys() - listed.keys()):
        proof.wrong.append(f"{name} is in the sink, and the manifest lacks it")
    for name in sorted(listed.keys() & there.parts.keys()):
        entry, part, found = listed[name], there.parts[name], counted[name]
        if isinstance(found, BadDataset):
            continue
        if (entry.rows, entry.failed) != (found.done, found.failed):
            proof.wrong.append(f"the manifest counts the rows of {name} differently")
        if (entry.bytes, entry.etag) != (part.size, part.etag):
            proof.wrong.append(f"{name} is not the file that the manifest names")
