"""Which handlers below `pods.agent.handlers` are known, and which are refused with the right names."""

import pytest

from fleet.code import ready
from fleet.code.dependencies import BadCode


@pytest.mark.parametrize("name", ready.NAMES)
def test_each_ready_handler_is_known(name: str) -> None:
    ready.check(f"{ready.PACKAGE}.{name}")


@pytest.mark.parametrize(
    ("handler", "says"),
    [
        (
            "pods.agent.handlers.embed:embed",
            "no module pods.agent.handlers.embed; below pods.agent.handlers it has clip:",
        ),
        (
            "pods.agent.handlers.onnx:nothing",
            "module pods.agent.handlers.onnx has no nothing; below",
        ),
        ("pods.agent.handlers:embed", "module pods.agent.handlers has no embed"),
    ],
)
def test_a_handler_that_the_agent_does_not_have_is_refused(handler: str, says: str) -> None:
    with pytest.raises(BadCode, match=says):
        ready.check(handler)


def test_a_handler_of_another_package_is_not_looked_at() -> None:
    ready.check("pods_of_mine:handle")
    ready.check("embed:handle")
