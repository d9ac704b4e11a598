"""Which handlers the agent of this version has. Its files are read, nothing is imported."""

from pathlib import Path
from typing import Final

from fleet.code import inspecting
from fleet.code.dependencies import BadCode

PACKAGE: Final = "pods.agent.handlers"
FOLDER: Final = Path(inspecting.__file__).parents[2] / "pods" / "agent" / "handlers"
# Those that a fleet may name as they are; docs/reference/ready-handlers.md says what they need.
NAMES: Final = (
    *("clip:Embedder", "onnx:Embedder", "openai_server:OpenAIServer"),
    *("sentence_transformers:Embedder", "whisper:Transcriber", "wordllama:embed"),
    *("pace:sleep", "pace:nothing", "pace:each_batch", "pace:each_item"),
)


def is_own(handler: str) -> bool:
    """Whether a handler is to be one of the agent's own package."""
    return handler.startswith((f"{PACKAGE}.", f"{PACKAGE}:"))


def check(handler: str) -> None:
    """Check that the agent of this version has this handler; others are not looked at.

    Raises:
        BadCode: it has not; the message names those that it has.
    """
    if not is_own(handler):
        return
    module, _, attribute = handler.partition(":")
    inside = module.removeprefix(PACKAGE).removeprefix(".")
    file = FOLDER / f"{inside.replace('.', '/') or '__init__'}.py"
    known = f"below {PACKAGE} it has {', '.join(NAMES)}"
    if not file.is_file():
        raise BadCode(f"the agent has no module {module}; {known}")
    if attribute.partition(".")[0] not in inspecting.names_of(file.name, file.read_bytes()):
        raise BadCode(f"the agent's module {module} has no {attribute}; {known}")
