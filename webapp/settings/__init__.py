"""Settings of a server. Everything that differs between machines comes from the environment."""

from webapp.settings.base import *  # noqa: F403
