"""Hosts with a Docker engine: a machine is a container."""

from pods.providers.docker.provider import Docker, connect

__all__ = ["Docker", "connect"]
