"""Hosts with a Docker engine, where a machine is a container."""

from pods.providers.docker.provider import Docker, connect

__all__ = ["Docker", "connect"]
