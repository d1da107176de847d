"""Settings of the test suite: a private data folder, fast passwords, plain static files."""

import atexit
import os
import shutil
import tempfile

_folder = tempfile.mkdtemp(prefix="vadlab-test-")
atexit.register(shutil.rmtree, _folder, ignore_errors=True)
os.environ["VADLAB_DATA_DIR"] = _folder
os.environ.setdefault("DATABASE_URL", f"sqlite:///{_folder}/db.sqlite3")

from webapp.settings.base import *  # noqa: E402, F403

if DATABASES["default"]["ENGINE"].endswith("sqlite3"):  # noqa: F405
    # a file, as in use: several connections then meet the same locks as there
    DATABASES["default"]["TEST"] = {"NAME": f"{_folder}/test.sqlite3"}  # noqa: F405

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
STATIC_ROOT.mkdir()  # noqa: F405
