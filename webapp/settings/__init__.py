"""Settings of a server. Everything that differs between machines comes from the environment."""

import os

# Another module of this package (test.py) may set the environment before base.py reads it.
if os.environ.get("DJANGO_SETTINGS_MODULE", __name__) == __name__:
    from webapp.settings.base import *  # noqa: F403
