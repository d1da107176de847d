"""All settings. The environment is read here and nowhere else; docs/settings.md explains it."""

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from webapp.settings import logs
from webapp.settings.env import (
    database,
    env_bool,
    env_choice,
    env_float,
    env_int,
    env_list,
    env_str,
    mail,
    secret_key,
)

BASE_DIR = Path(__file__).resolve().parents[2]

DATA_DIR = Path(env_str("VADLAB_DATA_DIR", str(BASE_DIR / "var"))).resolve()
try:
    DATA_DIR.mkdir(parents=True, exist_ok=True)
except OSError as exc:
    raise ImproperlyConfigured(f"VADLAB_DATA_DIR={DATA_DIR} cannot be made: {exc}.") from exc

# Folders that data sets may be read from, beside `footage` in the data folder (datasets/paths.py);
# nothing outside them is ever opened for a client.
DATA_ROOTS = [Path(p).resolve() for p in env_list("VADLAB_DATA_ROOTS", separator=os.pathsep)]
WEIGHTS_DIR = Path(env_str("VADLAB_WEIGHTS_DIR", str(DATA_DIR / "weights"))).resolve()

DEBUG = env_bool("VADLAB_DEBUG")
SECRET_KEY = secret_key(DATA_DIR)
ALLOWED_HOSTS = env_list("VADLAB_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = env_list("VADLAB_ORIGINS")

INSTALLED_APPS = [
    "webapp.core",
    "webapp.accounts",
    "webapp.datasets",
    "webapp.runs",
    "webapp.storage",
    "webapp.evaluations",
    "webapp.fleet",
    "webapp.notify",
    "webapp.compare",
    "webapp.idempotency",
    "webapp.sweeps",
    "webapp.reports",
    "webapp.interop",
    "webapp.external",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_htmx",
    "template_partials",
    "rest_framework",
    "drf_spectacular",
    "csp",
]

MIDDLEWARE = [
    "webapp.core.requestlog.RequestLogMiddleware",
    "webapp.core.middleware.BodyLengthMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "webapp.accounts.middleware.OriginMiddleware",
    "webapp.core.conditional.ConditionalMiddleware",
    "webapp.core.middleware.SignInMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "webapp.core.middleware.ProjectMiddleware",
    "webapp.core.middleware.VadErrorMiddleware",
]

ROOT_URLCONF = "webapp.urls"
WSGI_APPLICATION = "webapp.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "webapp.core.context.project",
            ],
        },
    }
]

DATABASES = {"default": database(env_str("DATABASE_URL", f"sqlite:///{DATA_DIR}/db.sqlite3"))}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "accounts.User"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "runs:list"
LOGOUT_REDIRECT_URL = "login"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"
USE_I18N = False

STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "webapp" / "static"]
STORAGES: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "webapp.core.storage.StaticStorage"},
}

# Checkpoints and scores of runs that have ended go to a bucket, where one is named; see
# webapp/storage/artifacts.py. Without keys here, boto3 looks for them as it always does.
if bucket := env_str("VADLAB_S3_BUCKET"):
    _given = {
        "endpoint_url": env_str("VADLAB_S3_ENDPOINT"),
        "region_name": env_str("VADLAB_S3_REGION"),
        "access_key": env_str("VADLAB_S3_ACCESS_KEY"),
        "secret_key": env_str("VADLAB_S3_SECRET_KEY"),
    }
    STORAGES["artifacts"] = {
        "BACKEND": "storages.backends.s3.S3Storage",
        "OPTIONS": {
            "bucket_name": bucket,
            "location": env_str("VADLAB_S3_PREFIX"),
            "file_overwrite": True,
            "max_memory_size": 64 << 20,  # of a file that is read; more goes to a temporary one
            **{name: value for name, value in _given.items() if value},
        },
    }
CACHE_DIR = Path(env_str("VADLAB_CACHE_DIR", str(DATA_DIR / "cache"))).resolve()  # what was fetched
CACHE_BYTES = round(1e9 * env_float("VADLAB_CACHE_GB", 20))

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:", "blob:"],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
CSRF_FAILURE_VIEW = "webapp.core.errors.csrf_failure"
SESSION_ENGINE = "webapp.accounts.sessions"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
TLS = env_bool("VADLAB_TLS")
# Proxies in front that add to X-Forwarded-For; an address that a client wrote itself counts not.
PROXIES = env_int("VADLAB_PROXIES", 1 if TLS else 0)
if TLS:  # behind a proxy that ends TLS and sets X-Forwarded-Proto
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = True
    SECURE_REDIRECT_EXEMPT = [
        r"^(healthz|readyz)$"
    ]  # asked on the machine itself, not over the proxy
    SECURE_HSTS_SECONDS = 31_536_000
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = True
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "webapp.accounts.tokens.TokenAuth",
        "webapp.core.rest.SessionAuth",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["webapp.core.rest.StrictRenderer"],
    "DEFAULT_PARSER_CLASSES": ["webapp.core.rest.StrictParser"],
    "EXCEPTION_HANDLER": "webapp.core.api.exception_handler",
    "DEFAULT_SCHEMA_CLASS": "webapp.core.schema.Schema",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "VADLab",
    "DESCRIPTION": "Experiments in weakly supervised video anomaly detection: data sets, runs, "
    "evaluations, comparisons.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.1",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SORT_OPERATIONS": False,
    "PREPROCESSING_HOOKS": ["webapp.core.schema.ours"],
    "POSTPROCESSING_HOOKS": ["webapp.core.schema.complete"],
}

# The broker only carries doorbells; stack and settings of the worker are in workers/celery.py.
CELERY_BROKER_URL = env_str("CELERY_BROKER_URL", "filesystem://localhost")
CELERY_BROKER_DIR = DATA_DIR / "broker"  # of the filesystem transport

RUN_BEAT_S = env_float("VADLAB_BEAT_S", 3)  # executor's heartbeat
RUN_LOST_AFTER_S = env_float("VADLAB_LOST_AFTER_S", 30)  # without a beat, a run is taken back
RUN_GRACE_S = env_float("VADLAB_GRACE_S", 30)  # from SIGTERM to SIGKILL of a child
RUN_MAX_ATTEMPTS = env_int("VADLAB_MAX_ATTEMPTS", 5, least=1)
RUN_RETRY_S = env_int("VADLAB_RETRY_S", 5)  # before the second retry; then doubled
# Runs that are trained elsewhere (webapp/external): without a word for so long they are shown as
# silent, and are failed, if ever.
EXTERNAL_SILENT_S = env_float("VADLAB_EXTERNAL_SILENT_S", 900)
EXTERNAL_FAIL_S = 3600 * env_int("VADLAB_EXTERNAL_FAIL_H", 0)  # 0: never
UPLOAD_FILE_BYTES = env_int("VADLAB_UPLOAD_FILE_MB", 10_000, least=1) << 20  # the largest file
UPLOAD_PERSON_BYTES = env_int("VADLAB_UPLOAD_PERSON_MB", 100_000, least=1) << 20  # of one person
UPLOAD_ABANDONED_S = 3600 * env_int("VADLAB_UPLOAD_ABANDONED_H", 24, least=1)
# Whose run is next; see webapp/runs/scheduling.py and docs/queue.md.
QUEUE_HALF_LIFE_S = 3600 * env_float("VADLAB_USE_HALF_LIFE_H", 24)  # of what a person used
QUEUE_LIFT_S = 3600 * env_float("VADLAB_LIFT_H", 6)  # without a start: one level of priority
QUEUE_RESERVE_S = env_float("VADLAB_RESERVE_S", 600)  # then GPUs are kept for a run of several
QUEUE_PREEMPTS = env_bool("VADLAB_PREEMPT")  # a run of higher priority may ask a lower one to leave
KEEP_BEST = env_int("VADLAB_KEEP_BEST", 1)  # checkpoints, where a project has no rule of its own
TIDY_EVERY_S = env_float("VADLAB_TIDY_S", 600)  # the rule for all runs, unfinished removals
SWEEP_EVERY_S = env_float("VADLAB_SWEEP_S", 10)
WORKER_NAME = env_str("VADLAB_WORKER_NAME")  # default: the host's name
WORKER_CPU_SLOTS = env_int("VADLAB_CPU_SLOTS", 1)
WORKER_GPU_SLOTS = env_str("VADLAB_GPU_SLOTS", "auto")  # "auto": one a GPU found, or a number
WORKER_CUDA_DEVICES = os.environ.get("CUDA_VISIBLE_DEVICES")  # None: all; "": no GPU at all
# Prints reports to PDF (webapp/reports/pdf.py); empty: there is none, and the page says what to do.
CHROMIUM = env_str("VADLAB_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "google-chrome"))), None
)
# The command line that runs a run; what it may do is in vad/commands/.
CHILD_COMMAND = shlex.split(env_str("VADLAB_CHILD_COMMAND")) or [sys.executable, "-m", "vad"]

# Notifications; see docs/notifications.md.
PUBLIC_URL = env_str("VADLAB_URL").rstrip("/")  # of this server, for links in messages
if PUBLIC_URL and not PUBLIC_URL.startswith(("http://", "https://")):
    raise ImproperlyConfigured(f"VADLAB_URL={PUBLIC_URL} must begin with https:// or http://.")
WEBHOOK_ALLOW = [text.lower() for text in env_list("VADLAB_WEBHOOK_ALLOW")]  # hosts inside
MAIL_FROM = env_str("VADLAB_MAIL_FROM")  # without it no mail is sent
_mail_url = env_str("VADLAB_MAIL_URL")
if bool(_mail_url) != bool(MAIL_FROM):
    raise ImproperlyConfigured("VADLAB_MAIL_URL and VADLAB_MAIL_FROM are given together, or not.")
if _mail_url:
    globals().update(mail(_mail_url))  # EMAIL_HOST and its kin
EMAIL_TIMEOUT = 10

METRICS_KEY = env_str("VADLAB_METRICS_KEY")  # opens /metrics; without it there is no such page
if METRICS_KEY and len(METRICS_KEY) < 16:
    raise ImproperlyConfigured("VADLAB_METRICS_KEY is too short: at least 16 characters.")

LOG_LEVEL = env_choice(
    "VADLAB_LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
)
LOG_FORMAT = env_choice(
    "VADLAB_LOG_FORMAT", logs.TEXT if DEBUG or sys.stderr.isatty() else logs.JSON,
    (logs.JSON, logs.TEXT),
)  # fmt: skip
LOGGING = logs.configure(level=LOG_LEVEL, style=LOG_FORMAT)
