"""The settings of a server behind TLS, read by a fresh interpreter as gunicorn would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from webapp.settings import env

ROOT = Path(__file__).parents[3]
TLS = {
    "VADLAB_TLS": "1",
    "VADLAB_HOSTS": "lab.example.org",
    "VADLAB_ORIGINS": "https://lab.example.org",
}
NAMES = (
    "DEBUG", "SESSION_COOKIE_SECURE", "SESSION_COOKIE_HTTPONLY", "SESSION_COOKIE_SAMESITE",
    "CSRF_COOKIE_SECURE", "CSRF_COOKIE_SAMESITE", "SECURE_SSL_REDIRECT", "SECURE_HSTS_SECONDS",
    "SECURE_CONTENT_TYPE_NOSNIFF", "X_FRAME_OPTIONS", "PROXIES",
)  # fmt: skip


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("VADLAB_", "DJANGO_"))}
    given = {**kept, "VADLAB_DATA_DIR": str(folder), "DJANGO_SETTINGS_MODULE": "webapp.settings"}
    given.pop("DATABASE_URL", None)
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env={**given, **environment}, text=True,
        capture_output=True, check=False,
    )  # fmt: skip


def values(folder: Path, **environment: str) -> dict[str, object]:
    code = (
        "import json, django; from django.conf import settings; django.setup()\n"
        f"print(json.dumps({{n: getattr(settings, n) for n in {NAMES!r}}}))"
    )
    done = run(folder, "-c", code, **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_djangos_deployment_check_finds_nothing(tmp_path):
    done = run(tmp_path, "manage.py", "check", "--deploy", "--fail-level", "WARNING", **TLS)

    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout + done.stderr


def test_the_check_would_find_something(tmp_path):
    """Without TLS it does, so the test above can fail."""
    done = run(tmp_path, "manage.py", "check", "--deploy", "--fail-level", "WARNING")

    assert done.returncode != 0
    assert "security.W012" in done.stderr


def test_behind_tls_cookies_are_secure_and_browsers_are_told_to_stay_there(tmp_path):
    found = values(tmp_path, **TLS)

    assert found == {
        "DEBUG": False, "SESSION_COOKIE_SECURE": True, "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax", "CSRF_COOKIE_SECURE": True,
        "CSRF_COOKIE_SAMESITE": "Lax", "SECURE_SSL_REDIRECT": True,
        "SECURE_HSTS_SECONDS": 31_536_000, "SECURE_CONTENT_TYPE_NOSNIFF": True,
        "X_FRAME_OPTIONS": "DENY", "PROXIES": 1,
    }  # fmt: skip


def test_without_tls_people_can_sign_in_over_http_and_no_proxy_is_believed(tmp_path):
    found = values(tmp_path)

    assert found["SESSION_COOKIE_SECURE"] is False
    assert found["SECURE_SSL_REDIRECT"] is False
    assert found["PROXIES"] == 0


def test_health_answers_without_tls_for_the_machine_itself(client, settings):
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz)$"]

    assert client.get("/healthz").status_code == 200
    assert client.get("/runs/").status_code == 301


@pytest.mark.parametrize(
    ("url", "port", "tls"),
    [
        ("smtp://mail.lab", 25, (False, False)),
        ("smtp+tls://me:p%40ss@mail.lab", 587, (True, False)),
        ("smtps://mail.lab:4465", 4465, (False, True)),
    ],
)
def test_mail_is_set_up_by_one_address(url, port, tls):
    found = env.mail(url)

    assert (found["EMAIL_HOST"], found["EMAIL_PORT"]) == ("mail.lab", port)
    assert (found["EMAIL_USE_TLS"], found["EMAIL_USE_SSL"]) == tls
    assert found["EMAIL_HOST_PASSWORD"] == ("p@ss" if "@mail" in url else "")


def test_half_a_setting_of_mail_stops_the_start(tmp_path):
    done = run(tmp_path, "manage.py", "check", VADLAB_MAIL_URL="smtp://mail.lab")

    assert done.returncode != 0
    assert "given together" in done.stderr
    with pytest.raises(ImproperlyConfigured, match="pop3"):
        env.mail("pop3://mail.lab")
