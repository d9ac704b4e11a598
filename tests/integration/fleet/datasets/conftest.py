"""A real Redis for the ranges of a fleet."""

from tests.support.fixtures import client as client
