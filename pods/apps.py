"""The Django app of the supply side: pods and their providers."""

from django.apps import AppConfig


class PodsConfig(AppConfig):
    """The app of pod rows, their life cycle and the providers."""

    name = "pods"
