"""The addresses of the web pages."""

from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

from config.health import alive, ready
from config.metrics import metrics
from config.signin import oidc_views, own_factor, password_views
from config.signin.password_views import SignIn
from fleet import views
from fleet.admin.alert_answers import answer, take_back
from fleet.admin.audit import audit_log
from fleet.admin.failed_items import failed_items
from fleet.admin.market import market
from fleet.api.application import api, docs
from fleet.api.openai_application import openai_api

admin.autodiscover()
page = admin.site.admin_view
urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/now/", views.now, name="dashboard-now"),
    path("admin/chart/", views.chart, name="dashboard-chart"),
    path("admin/fleets/<int:fleet_id>/mode/", page(views.set_mode), name="fleet-mode"),
    path("admin/fleets/<int:fleet_id>/next/", page(views.next_tick), name="fleet-next"),
    path("admin/stop/", page(views.stop_everything), name="stop-everything"),
    path("admin/failed/", page(failed_items), name="failed_items"),
    path("admin/first/", page(views.try_here), name="first-fleet"),
    path("admin/find/", page(views.find), name="find"),
    path("admin/audit/", page(audit_log), name="audit-log"),
    path("admin/market/", page(market), name="market"),
    path("admin/money/", page(views.money), name="money"),
    path("admin/alerts/<int:alert_id>/acknowledge/", page(views.acknowledge), name="alert-ack"),
    path("admin/alerts/<int:alert_id>/answer/", page(answer), name="alert-answer"),
    path("admin/alerts/<int:alert_id>/take-back/", page(take_back), name="alert-take-back"),
    path("admin/alerts/<int:alert_id>/answer/<int:hours>/", page(answer), name="alert-snooze"),
    path("admin/login/", SignIn.as_view(), name="sign-in"),
    path("admin/login/code/", password_views.code, name="sign-in-code"),
    path("admin/login/set-up/", password_views.set_up, name="sign-in-set-up"),
    path("admin/login/link/<str:token>/", password_views.by_link, name="sign-in-link"),
    path("admin/login/oidc/", oidc_views.begin, name="oidc"),
    path("admin/login/oidc/callback/", oidc_views.callback, name="oidc-callback"),
    path("admin/second-factor/", page(own_factor.own_page), name="second-factor"),
    path("admin/", admin.site.urls),
    path("api/v1/docs", docs, name="api-docs"),
    path("api/v1/", api.urls),
    path("openai/", openai_api.urls),
    path("healthz", alive),
    path("readyz", ready),
    path("metrics", metrics),
]
handler400, handler403, handler404, handler500 = (
    "config.errors.not_understood", "config.errors.refused", "config.errors.not_found",
    "config.errors.failed",
)  # fmt: skip
