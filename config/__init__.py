"""The Django project: settings, Celery, addresses; nothing of the domain."""

from config.celery import app as celery_app

__all__ = ("celery_app",)
