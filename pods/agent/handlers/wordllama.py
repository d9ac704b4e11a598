"""A handler that embeds texts with WordLlama: 256 floats per text, on a CPU, without a network."""

import os
from collections.abc import Sequence
from pathlib import Path

# The imports below read these variables. Many pods share one machine, and a thread per core and pod
# would slow all of them down.
for variable in ("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import wordllama  # noqa: E402 - the thread limits come first
from wordllama import WordLlama  # noqa: E402 - the thread limits come first

from pods.agent.handlers import Item, MissingField, Result  # noqa: E402 - the thread limits come first
from pods.agent.handlers.pace import Pace  # noqa: E402 - the thread limits come first


class Embed:
    """Text in, JSON `{"embedding": [...]}` out. A payload that is not UTF-8 fails alone."""

    def setup(self) -> None:
        """Load the weights and the tokenizer, which are inside the package's own folder."""
        folder = Path(wordllama.__file__).parent
        rate = os.environ.get("PACE_RATE")  # items/s, to watch a fleet or to spare a machine
        self._pace = Pace(float(rate)) if rate else None
        self._model = WordLlama.load(cache_dir=folder, disable_download=True)

    def __call__(self, batch: Sequence[Item]) -> Sequence[Result]:
        """Embed the texts of a batch in one call of the model."""
        if self._pace is not None:
            self._pace(batch)
        results: list[Result] = [text_of(item) for item in batch]
        texts = {place: text for place, text in enumerate(results) if isinstance(text, str)}
        if texts:
            vectors = self._model.embed(list(texts.values()))
            for place, vector in zip(texts, vectors, strict=True):
                results[place] = {"embedding": [round(float(x), 6) for x in vector]}
        return results


def text_of(item: Item) -> str | UnicodeDecodeError | MissingField:
    """The item's text, or the error why it has none."""
    try:
        return item.text
    except (UnicodeDecodeError, MissingField) as exc:
        return exc


embed = Embed()
