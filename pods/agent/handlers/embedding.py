"""What ready handlers of embeddings share: the inputs of a batch, and a vector for each as a result."""

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Union

from pods.agent.handlers import Item, Result
from pods.agent.handlers.inputs import found_in, text_of
from pods.agent.handlers.options import WrongOption, option
from pods.agent.protocol import DATASET

OUTPUTS = ("json", "bytes")
# float32 has seven digits. More of them only make the JSON longer.
DIGITS = 7
COLUMN = "embedding"


class Embedding(ABC):
    """Items in, a float32 vector for each out: as a column, as JSON, or as its bytes.

    An input that cannot be read fails alone.
    """

    fields: Sequence[str] = ("payload", "text")  # the first one that is there: inputs.py

    def __init__(
        self,
        *,
        batch_size: "int | None",
        batch_cost: "float | None",
        input_field: "str | None",
        output: "str | None",
    ) -> None:
        self.batch_size = option("batch_size", batch_size, 64)
        self.batch_cost = option("batch_cost", batch_cost, 0.0)
        field = option("input_field", input_field, "")
        self.fields = [field] if field else self.fields
        self._output = option("output", output, OUTPUTS[0])
        if self._output not in OUTPUTS:
            raise WrongOption(f"output is {self._output!r}; give {' or '.join(OUTPUTS)}")
        # the parts of a dataset have a column of vectors
        self._columns = os.environ.get("PODFLEET_KIND") == DATASET

    def __call__(self, batch: Sequence[Item]) -> Sequence[Result]:
        """The vector of each item, or why it has none."""
        results = self._read_all(batch)
        good = [n for n, found in enumerate(results) if not isinstance(found, Exception)]
        if good:
            vectors = self.vectors([results[n] for n in good])
            for place, result in zip(good, self._results(vectors), strict=True):
                results[place] = result
        return results

    @abstractmethod
    def input_of(self, item: Item) -> Any:
        """What the model gets of an item. Raises whatever fails that item."""

    @abstractmethod
    def vectors(self, inputs: Sequence[Any]) -> Any:
        """An array of float32 with a row for each input."""

    def _read_all(self, batch: Sequence[Item]) -> "list[Result]":
        return [self._read(item) for item in batch]

    def _read(self, item: Item) -> Union[Any, Exception]:
        try:
            return self.input_of(item)
        except Exception as exc:  # noqa: BLE001 - a broken image may raise anything; it is recorded
            return exc

    def _results(self, vectors: Any) -> Sequence[Result]:
        numpy = import_module("numpy")
        right = numpy.isfinite(vectors).all(axis=1).tolist()
        made = self._written(numpy, vectors)
        return [
            result if good else ValueError("the vector has NaN or infinity; try another dtype")
            for result, good in zip(made, right, strict=True)
        ]

    def _written(self, numpy: Any, vectors: Any) -> Sequence[Result]:
        if self._columns:
            return [{COLUMN: vector} for vector in vectors]
        if self._output == "bytes":
            return [vector.tobytes() for vector in vectors.astype("<f4")]
        rounded = numpy.round(vectors.astype("float64"), DIGITS).tolist()
        return [{COLUMN: vector} for vector in rounded]


class TextEmbedding(Embedding):
    """Embeds texts, which are sorted by length before they are divided into calls."""

    def cost(self, item: Item) -> float:
        """The bytes of the text: about four for a token of English."""
        found = found_in(item, self.fields)
        return float(len(found[1]) if found else 0)

    def input_of(self, item: Item) -> Any:
        """The text."""
        return text_of(item, self.fields)
