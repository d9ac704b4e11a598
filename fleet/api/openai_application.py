"""Files and batches of a fleet as the OpenAI API has them, for clients of that API."""

from typing import Final

from ninja.errors import HttpError
from ninja.errors import ValidationError as NotAsDescribed

from fleet.api import openai_batches, openai_files
from fleet.api.application import Application, StrictParser, tell_words
from fleet.api.openai_errors import handled


class OpenAi(Application):
    """The API with the errors of the OpenAI API."""

    def set_default_exception_handlers(self) -> None:
        """Answer every error in its shape."""
        for kind in (Exception, HttpError, NotAsDescribed):
            self.add_exception_handler(kind, handled)  # type: ignore[arg-type]


def make() -> OpenAi:
    """The API with all of its operations. It has no description of its own: OpenAI has one."""
    api = OpenAi(
        title="Batches", urls_namespace="openai", parser=StrictParser(), docs_url=None,
        openapi_url=None,
    )  # fmt: skip
    for module in (openai_files, openai_batches):
        api.add_router("", module.router)
    tell_words(api)
    return api


openai_api: Final = make()
