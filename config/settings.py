"""The Django settings, all from the environment (config/env.py)."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import dj_database_url
from csp.constants import NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE
from django.templatetags.static import static
from kombu import Queue

from config import embedded
from config.databases import with_limits
from config.env import FIELD_KEY_FILE, ROOT, env
from config.logs import logging_config
from config.secrets import kept_secret
from pods.base import redis_address

ENV = env()
BASE_DIR = ROOT
VAR_DIR: Path = ENV.var_dir

SECRET_KEY = ENV.secret_key.get_secret_value() or kept_secret(VAR_DIR / "secret-key")
FIELD_KEYS = tuple(k.get_secret_value() for k in ENV.field_keys) or (
    kept_secret(VAR_DIR / FIELD_KEY_FILE),
)
DEBUG = ENV.debug
ALLOWED_HOSTS = list(ENV.allowed_hosts)
CSRF_TRUSTED_ORIGINS = list(ENV.csrf_trusted_origins)

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "unfold.contrib.simple_history",
    "config.apps.LateAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "simple_history",
    "django_celery_beat",
    "axes",
    # Always, so that deleting a user also deletes what the identity provider knows it by.
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "csp",
    "ninja",  # the assets of its page
    "pods",
    "fleet",
    "config",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "fleet.api.problems.in_problems",
    "fleet.api.openai_errors.in_errors",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "simple_history.middleware.HistoryRequestMiddleware",
    "config.zones.operators_zone",
    "csp.middleware.CSPMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "config.signin.guard.present_rules",
    "axes.middleware.AxesMiddleware",
]
# After ten wrong passwords for a name from one address, logins are refused for 15 minutes.
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_VERBOSE = False
# Sign-in with an identity provider (config/signin). Of allauth's pages there is none: its only way in
# is the provider's answer.
OIDC = ENV.oidc()
PASSWORD_SIGN_IN = ENV.password_sign_in
REQUIRE_TOTP = ENV.require_totp
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
ACCOUNT_ADAPTER = "config.signin.adapter.NoLocalAccounts"
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_UNIQUE_EMAIL = False  # config/signin/adapter.py decides about addresses that are in use
SOCIALACCOUNT_ADAPTER = "config.signin.adapter.People"
SOCIALACCOUNT_STORE_TOKENS = False
SOCIALACCOUNT_QUERY_EMAIL = False
SOCIALACCOUNT_REQUESTS_TIMEOUT = 5  # seconds
# A page may load from this host and send to this host only. The theme has inline styles and
# handlers, and Alpine evaluates its attributes; our own code needs neither.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF, UNSAFE_INLINE, UNSAFE_EVAL],
        "style-src": [SELF, UNSAFE_INLINE],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "DIRS": [BASE_DIR / "config" / "templates"],  # searched before the theme's templates
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = ENV.https
SECURE_HSTS_SECONDS = 31_536_000 if ENV.https else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = ENV.https
# Prometheus and the health checks of a container ask the process itself, behind the proxy.
SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz|metrics)$"]
if ENV.behind_proxy:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
X_FRAME_OPTIONS = "DENY"
CSRF_FAILURE_VIEW = "config.errors.outdated"

DATABASE: dict[str, Any] = (
    dict(
        dj_database_url.parse(
            ENV.database_url.get_secret_value(), conn_max_age=60, conn_health_checks=True
        )
    )
    if ENV.database_url.get_secret_value()
    else {"ENGINE": "django.db.backends.sqlite3", "NAME": str(VAR_DIR / "podfleet.sqlite3")}
)
if DATABASE["ENGINE"].endswith("sqlite3"):
    # IMMEDIATE: a transaction that reads and then writes takes its lock at once and waits for it,
    # instead of failing in the middle.
    DATABASE["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
    if not ENV.database_url.get_secret_value():
        VAR_DIR.mkdir(parents=True, exist_ok=True, mode=0o700)
DATABASES = {"default": with_limits(DATABASE)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

EMBEDDED_REDIS = not ENV.redis_url.get_secret_value()
REDIS_URL = embedded.url(VAR_DIR) if EMBEDDED_REDIS else ENV.redis_url.get_secret_value()
# Where pods elsewhere reach that server; "": at the same address.
PODS_REDIS_URL = ENV.pods_redis_url
# The authority of that server, which the two addresses name as `ssl_ca_certs`.
REDIS_CA = ENV.redis_ca

USE_TZ = True
TIME_ZONE = ENV.time_zone
LANGUAGE_CODE = "en-us"
USE_I18N = False
FORMAT_MODULE_PATH = "config.formats"
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "static"
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

# Celery. Every task is idempotent, so late acknowledgement and redelivery are harmless.
# A task that must not be late (a tick) is sent with `expires`.
CELERY_BROKER_URL, CELERY_BROKER_USE_SSL = redis_address.for_celery(REDIS_URL)
CELERY_TASK_IGNORE_RESULT = True
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SERIALIZER = "json"
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_SOFT_TIME_LIMIT = 90
CELERY_TASK_TIME_LIMIT = 120
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_CONCURRENCY = ENV.worker_concurrency
CELERY_WORKER_MAX_TASKS_PER_CHILD = 500
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 10
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_WORKER_SEND_TASK_EVENTS = CELERY_TASK_SEND_SENT_EVENT = CELERY_TASK_TRACK_STARTED = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    # Longer than any hard time limit and any countdown; otherwise a running task is delivered again.
    "visibility_timeout": 600,
    "unacked_restore_interval": 10,
    "unacked_restore_throttle": 1,
    # A publish to a broker that hangs must end within a tick's time limit.
    "socket_timeout": 5,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
}
# One try: the next nudge, sweep or tick sends an unsent task again.
CELERY_TASK_PUBLISH_RETRY = False
CELERY_TASK_DEFAULT_QUEUE = "control"
CELERY_TASK_QUEUES = [Queue("control"), Queue("vendor"), Queue("notify")]
CELERY_TASK_ROUTES = {
    "fleet.read_balances": {"queue": "control"},
    "fleet.read_balance": {"queue": "vendor"},
    "fleet.forecast": {"queue": "notify"},
    "fleet.shadow": {"queue": "notify"},
    "fleet.issue_keys": {"queue": "notify"},
    "fleet.*": {"queue": "control"},
    "pods.sweep": {"queue": "control"},
    "pods.nudge": {"queue": "control"},
    "pods.*": {"queue": "vendor"},
    "notify.*": {"queue": "notify"},
}
CELERY_TIMEZONE = "UTC"
# No CELERY_BEAT_SCHEDULE: it would overwrite operators' edits at every start of beat. Migrations
# and `fleet create` make the rows.
CELERY_BEAT_SCHEDULER = "config.beat:Scheduler"
CELERY_BEAT_MAX_LOOP_INTERVAL = 2
DJANGO_CELERY_BEAT_TZ_AWARE = True

# Celery and Flower see only these settings: they show what they have, so a password in any other
# would be on Flower's pages.
CELERY = {
    name.removeprefix("CELERY_").lower(): value
    for name, value in dict(globals()).items()
    if name.startswith("CELERY_")
}

LOGGING = logging_config(json=ENV.log_json, level=ENV.log_level)
# Whether spans go to an OpenTelemetry collector (config/traces.py); needs the extra `otel`.
TRACES = ENV.traces
LOGGING_CONFIG = "logging.config.dictConfig"

CLAIM_LEASE = timedelta(seconds=150)  # above the hard time limit: the holder is dead by then

# For how many days rows are kept (fleet/retention.py). Samples by grain: tick, five minutes, hour.
RETENTION_DAYS = {
    "samples_0": 2,
    "samples_1": 14,
    "samples_2": 400,
    "ticks": ENV.keep_ticks_days,
    "events": ENV.keep_events_days,
    "alerts": 180,
    "balances": 400,
    "market": 30,
}
# Whether alerts may be sent to hosts of private networks. Off by default, so that an operator
# cannot reach hosts that only this machine can reach.
ALLOW_PRIVATE_WEBHOOKS = ENV.allow_private_webhooks
# Where operators' browsers find Flower; "": the menu does not lead there.
FLOWER_URL = ENV.flower_url
# Who sends it may read /metrics; "": nobody may.
METRICS_TOKEN = ENV.metrics_token.get_secret_value()
# The REST API: requests of a token and failed ones of an address, a minute; bytes of a body.
API_REQUESTS_PER_MINUTE = ENV.api_requests_per_minute
API_FAILURES_PER_MINUTE = ENV.api_failures_per_minute
API_LARGEST_BODY = ENV.api_largest_body_mb * 2**20
BATCH_FILE_BYTES = ENV.batch_file_mb * 2**20
BEHIND_PROXY = ENV.behind_proxy
# Whether each pod gets its own Redis user (pods/agent_redis/redis_users.py).
REDIS_USERS = ENV.redis_users

UNFOLD = {
    "SITE_TITLE": "Podfleet",
    "SITE_HEADER": "Podfleet",
    "SITE_SYMBOL": "dns",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda _: static("podfleet/icon.svg")}
    ],
    "DASHBOARD_CALLBACK": "fleet.views.dashboard_context",
    "SIDEBAR": {"show_search": True, "navigation": "config.navigation.navigation"},
    "STYLES": [
        lambda _: static("podfleet/tokens.css"),
        lambda _: static("podfleet/podfleet.css"),
        lambda _: static("podfleet/pods.css"),
        lambda _: static("podfleet/fleets.css"),
        lambda _: static("podfleet/forms.css"),
        lambda _: static("podfleet/access.css"),
        lambda _: static("podfleet/signin.css"),
    ],
    "SCRIPTS": [
        lambda _: static("podfleet/vendor/idiomorph-ext-0.8.0.min.js"),
        lambda _: static("podfleet/keys.js"),
        lambda _: static("podfleet/renewal.js"),
        lambda _: static("podfleet/forms.js"),
        lambda _: static("podfleet/podfleet.js"),
        lambda _: static("podfleet/pods.js"),
    ],
}
