"""RunPod, over its REST API v2."""

from pods.providers.runpod.provider import RunPod, connect

__all__ = ["RunPod", "connect"]
