"""A ready handler that turns speech into text with faster-whisper."""

import io
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import import_module
from typing import Any, Union

from pods.agent.handlers import BadItem, Item, Result
from pods.agent.handlers.inputs import file_of
from pods.agent.handlers.options import option, required

# Audio is downloaded and decoded by so many threads while the model works.
READERS = 4
RATE = 16_000  # samples a second, as the model takes them
DIGITS = 3


class Transcriber:
    """Audio in, text out: `handle = Transcriber("large-v3-turbo")`.

    model: a name that faster-whisper knows, or a folder. device: cuda, cpu, auto. compute_type: such as
    float16, int8_float16, int8. language: of all items; by default it is found for each. beam_size: 1 is
    fastest. chunks: parts of one recording that are worked on at once, which is quicker on a GPU for
    recordings of minutes; 0: one after the other. skip_silence: leave out what is not speech. Audio is
    its bytes, in a format that FFmpeg knows, or an address (http, https).
    """

    def __init__(
        self,
        model: "str | None" = None,
        *,
        device: "str | None" = None,
        compute_type: "str | None" = None,
        language: "str | None" = None,
        beam_size: "int | None" = None,
        chunks: "int | None" = None,
        skip_silence: "bool | None" = None,
        threads: "int | None" = None,
        batch_size: "int | None" = None,
        input_field: "str | None" = None,
    ) -> None:
        self._name = required("model", model, "large-v3-turbo")
        self._device = option("device", device, "auto")
        self._compute_type = option("compute_type", compute_type, "default")
        self._language = option("language", language, "")
        self._beam_size = option("beam_size", beam_size, 5)
        self._chunks = option("chunks", chunks, 0)
        self._skip_silence = option("skip_silence", skip_silence, False)
        self._cpu_threads = option("threads", threads, 0)
        self.batch_size = option("batch_size", batch_size, 8)
        field = option("input_field", input_field, "")
        self._fields = [field] if field else ["audio", "payload"]

    def setup(self) -> None:
        """Load the model."""
        library = import_module("faster_whisper")
        model = library.WhisperModel(
            self._name,
            device=self._device,
            compute_type=self._compute_type,
            cpu_threads=self._cpu_threads,
        )
        self._decoded = library.decode_audio
        self._told: "dict[str, Any]" = {
            "language": self._language or None,
            "beam_size": self._beam_size,
            "vad_filter": self._skip_silence,
        }
        self._transcribe = model.transcribe
        if self._chunks:
            self._transcribe = library.BatchedInferencePipeline(model).transcribe
            self._told |= {"batch_size": self._chunks, "vad_filter": True}
        self._readers = ThreadPoolExecutor(READERS)

    def teardown(self) -> None:
        """End the threads."""
        self._readers.shutdown()

    def __call__(self, batch: Sequence[Item]) -> Sequence[Result]:
        """The text of each recording, or why it has none."""
        return [
            self._heard(audio) for audio in [self._readers.submit(self._read, i) for i in batch]
        ]

    def _read(self, item: Item) -> Any:
        body = file_of(item, self._fields)
        try:
            return self._decoded(io.BytesIO(body), sampling_rate=RATE)
        except Exception as exc:
            raise BadItem(f"the audio cannot be read: {exc}") from exc

    def _heard(self, audio: "Future[Any]") -> Union["dict[str, Any]", Exception]:
        try:
            samples = audio.result()
        except Exception as exc:  # noqa: BLE001 - this item alone fails
            return exc
        found, told = self._transcribe(samples, **self._told)
        parts = [
            {"start": round(s.start, DIGITS), "end": round(s.end, DIGITS), "text": s.text.strip()}
            for s in found
        ]
        return {
            "text": " ".join(part["text"] for part in parts),
            "language": told.language,
            "duration": round(told.duration, DIGITS),
            "segments": parts,
        }
