"""An identity provider for the tests of the sign-in."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.identity_provider import IdentityProvider, identity_provider


@pytest.fixture(scope="session")
def running_provider() -> Iterator[IdentityProvider]:
    """One process for all tests; each test knows people of its own."""
    with identity_provider() as found:
        yield found


@pytest.fixture
def provider(running_provider: IdentityProvider, settings: Any) -> IdentityProvider:
    """The provider, which this installation trusts."""
    settings.OIDC = running_provider.settings()
    return running_provider
