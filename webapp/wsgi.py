"""The WSGI application that gunicorn serves."""

import os

import structlog
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.settings")
application = get_wsgi_application()


def _introduce() -> None:
    """Tell the workers who the server is. A database that is away now learns it the next time."""
    from django.conf import settings
    from django.db import DatabaseError, connection

    import vad
    from webapp.fleet import identity

    try:
        identity.introduce(version=vad.__version__, data_dir=settings.DATA_DIR)
    except (DatabaseError, OSError) as exc:
        structlog.get_logger(__name__).warning("server.not_introduced", cause=exc)
    finally:
        connection.close()


_introduce()
