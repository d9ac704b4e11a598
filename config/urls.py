"""The addresses of the web pages."""

from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

from config.health import alive, ready

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("healthz", alive),
    path("readyz", ready),
]
