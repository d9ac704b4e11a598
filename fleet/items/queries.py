"""Reads the rows of a SQL query as items, in the order of a unique column and in pages."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import stamina

from fleet.items.databases import Away, Database, database
from fleet.items.rows import item_of, payload_column, unused_columns
from fleet.items.source import BadInput, BadItem, Fields, LeftOut, Position

# Each page is a new query for keys above the last one. Between two pages no transaction and no cursor
# is open, so feeding may take weeks, and the database may restart meanwhile.
FIRST_PAGE: Final = 100  # small, as the size of a row is not known
LARGEST_PAGE: Final = 10_000
PAGE_BYTES: Final = 8 * 2**20
# The command ends if the database does not answer within this time; the next call continues.
PATIENCE: Final = timedelta(minutes=1)
ADVICE: Final = "name a column that is unique and never null with --key"
Key = int | str
Row = tuple[Any, ...]


class ItemQuery:
    """One query of one database; reading continues where it last ended. Offsets count rows."""

    path: None = None
    name = ""  # a row's key is its id

    def __init__(
        self, sql: str, *, url: str, key: str = "id", patience: timedelta = PATIENCE
    ) -> None:
        """`key`: the unique column of the query; rows are read in its order.

        Raises:
            BadInput: the query is empty, or the address is not that of a database.
        """
        self._sql, self._key, self._patience = sql.strip().removesuffix(";").rstrip(), key, patience
        if not self._sql:
            raise BadInput("the query is empty; give a SELECT with a unique column")
        self._database: Database = database(url)
        self.label = f"the query of {self._database.label}"
        known = json.dumps([self._database.identity, self._sql, key])
        self.known_as = "sql:" + hashlib.blake2b(known.encode(), digest_size=16).hexdigest()
        self._rows, self._items, self._left = 0, 0, 0
        self.left_out: LeftOut | None = None
        self.unused: set[str] = set()
        self._after: Key | None = None
        self._names: list[str] = []

    @property
    def position(self) -> Position:
        """The end of the last row that was read."""
        return Position(offset=self._rows, lines=self._rows, items=self._items, after=self._after)

    def go_to(self, position: Position) -> bool:
        """Continue at `position`; the rows before it are not read again."""
        self._rows, self._items = position.offset, position.items
        self._after = position.after
        return True

    def check(self) -> None:
        """Check the query, its key and its first row, and count the rows; `position` stays the same.

        Raises:
            BadInput: the database refuses the query; its key is missing, null, not unique, or of a
                type that reading cannot continue from; or the first row is not an item.
            Away: the database does not answer.
        """
        try:
            self._check()
        finally:
            self._database.close()

    def _check(self) -> None:
        self._describe()
        key, (behind, values) = self._quoted, self._behind()
        if self._answer("1", f"WHERE {key} IS NULL LIMIT 1"):
            raise BadInput(f"{self.label}: {self._key} is null in some rows; {ADVICE}")
        twice = f"{behind} GROUP BY {key} HAVING count(*) > 1 LIMIT 1"
        for (found,) in self._answer(key, twice, *values):
            raise self._not_unique(found)
        [(self._left,)] = self._answer("count(*)", behind, *values)
        if self.left_out is None:
            for row in self._answer("*", f"{behind} ORDER BY {key} LIMIT 1", *values):
                self._item(row, self._key_of(row))

    def count_left(self) -> int:
        """How many rows were left at the last `check`, less those read since."""
        return self._left

    def total(self) -> int:
        """How many rows there are: those already read, and those left."""
        return self._rows + self._left

    def __iter__(self) -> Iterator[Fields]:
        """Yield the items that are left. `position` moves with each."""
        if not self._names:
            self._describe()
        size, limit = 0, FIRST_PAGE
        try:
            while page := self._patient_page(limit):
                size = 0
                for row in page:
                    key = self._key_of(row)
                    item = self._item(row, key)
                    self._rows, self._after = self._rows + 1, key
                    self._left = max(0, self._left - 1)
                    if item is not None:
                        size += sum(map(len, item.values()))
                        self._items += 1
                        yield item
                fitting = PAGE_BYTES * len(page) // max(size, 1)
                limit = max(1, min(LARGEST_PAGE, 4 * limit, fitting))
        finally:
            self._database.close()

    def _patient_page(self, limit: int) -> list[Row]:
        for attempt in stamina.retry_context(
            on=Away, attempts=None, timeout=self._patience, wait_initial=0.2, wait_max=5.0
        ):
            with attempt:
                return self._page(limit)
        raise AssertionError("unreachable: the last attempt raises")

    def _page(self, limit: int) -> list[Row]:
        """Return the next rows; look at one more, as it may have the same key as the last one."""
        behind, values = self._behind()
        select = self._select("*", f"{behind} ORDER BY {self._quoted} LIMIT {limit + 1}")
        page: list[Row] = []
        last, size = self._after, 0
        at_once = max(1, limit // FIRST_PAGE)
        with closing(self._database.rows(select, *values, at_once=at_once)) as rows:
            for row in rows:
                key = self._key_of(row)
                if key == last:
                    raise self._not_unique(key)
                if len(page) == limit or size > PAGE_BYTES:
                    break
                page.append(row)
                last, size = key, size + sum(len(v) for v in row if isinstance(v, (str, bytes)))
        return page

    def _describe(self) -> None:
        self._names = self._database.columns(self._select("*", "LIMIT $1"), 0)
        self._payload = payload_column(self._names, where=self.label)
        if self._key not in self._names:
            raise BadInput(
                f"{self.label} has no column {self._key!r}; it has {', '.join(self._names)}; {ADVICE}"
            )
        self.unused = unused_columns(self._names, self._payload) - {self._key}
        self._place = self._names.index(self._key)

    def _select(self, what: str, rest: str) -> str:
        # The operator's own SQL, run read-only: the database decides what this user may read.
        return f"SELECT {what} FROM (\n{self._sql}\n) AS podfleet_rows {rest}"  # noqa: S608

    def _answer(self, what: str, rest: str, *values: Key) -> list[Row]:
        return list(self._database.rows(self._select(what, rest), *values))

    @property
    def _quoted(self) -> str:
        return 'podfleet_rows."' + self._key.replace('"', '""') + '"'

    def _behind(self) -> tuple[str, list[Key]]:
        return ("", []) if self._after is None else (f"WHERE {self._quoted} > $1", [self._after])

    def _not_unique(self, key: object) -> BadInput:
        return BadInput(f"{self.label}: {self._key} {key!r} is in more than one row; {ADVICE}")

    def _key_of(self, row: Row) -> Key:
        """A row's key, in a form that can be stored and compared again without loss."""
        key = row[self._place]
        if isinstance(key, (UUID, Decimal)):
            return str(key)
        if isinstance(key, bool) or not isinstance(key, (int, str)):
            raise BadInput(
                f"{self.label}: {self._key} is {type(key).__name__}; name a unique column of whole "
                "numbers, text or UUIDs with --key"
            )
        if isinstance(key, str) and not _is_text(key):
            raise BadInput(f"{self.label}: {self._key} {key!r} is not UTF-8; {ADVICE}")
        return key

    def _item(self, row: Row, key: Key) -> Fields | None:
        """The item of a row; None if the row is bad and was left out."""
        where = f"{self.label}, {self._key} {key!r}"
        own_id = str(key).encode()
        named = dict(zip(self._names, row, strict=True))
        try:
            return item_of(named, payload=self._payload, own_id=own_id, where=where)
        except BadItem as exc:
            if self.left_out is None:
                raise
            self.left_out.add(exc)
            return None


def _is_text(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True
