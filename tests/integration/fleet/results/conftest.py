"""A client of the backlog."""

from tests.support.fixtures import client as client
