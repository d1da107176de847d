"""Settings of the test suite: a private data folder, fast passwords, plain static files."""

import os
import tempfile

_folder = tempfile.mkdtemp(prefix="vadlab-test-")
os.environ["VADLAB_DATA_DIR"] = _folder
os.environ.setdefault("DATABASE_URL", f"sqlite:///{_folder}/db.sqlite3")

from webapp.settings.base import *  # noqa: E402, F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
