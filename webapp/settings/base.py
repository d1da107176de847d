"""All settings. The environment is read here and nowhere else; README.md lists the variables."""

import os
import shlex
import sys
from pathlib import Path

from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from webapp.settings.env import (
    database,
    env_bool,
    env_float,
    env_int,
    env_list,
    env_str,
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
    "webapp.evaluations",
    "webapp.fleet",
    "webapp.compare",
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
    "csp",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "webapp.accounts.middleware.OriginMiddleware",
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
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "webapp.core.storage.StaticStorage"},
}

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
    SECURE_REDIRECT_EXEMPT = [r"^healthz$"]  # asked on the machine itself, not over the proxy
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
SWEEP_EVERY_S = env_float("VADLAB_SWEEP_S", 10)
WORKER_NAME = env_str("VADLAB_WORKER_NAME")  # default: the host's name
WORKER_CPU_SLOTS = env_int("VADLAB_CPU_SLOTS", 1)
WORKER_GPU_SLOTS = env_str("VADLAB_GPU_SLOTS", "auto")  # "auto": one a GPU found, or a number
WORKER_CUDA_DEVICES = os.environ.get("CUDA_VISIBLE_DEVICES")  # None: all; "": no GPU at all
# The command line that runs a run; what it may do is in vad/cli.py.
CHILD_COMMAND = shlex.split(env_str("VADLAB_CHILD_COMMAND")) or [sys.executable, "-m", "vad"]

LOG_LEVEL = env_str("VADLAB_LOG_LEVEL", "INFO")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
}
