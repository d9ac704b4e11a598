"""The fixture of a client for the backlog."""

from tests.support.fixtures import client as client
