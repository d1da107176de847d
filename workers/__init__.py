"""The Celery app, its tasks, and the supervisor of the child process that runs one run.

No torch, no decoder: what computes is the child, `python -m vad …`.
"""

from workers.celery import app

__all__ = ["app"]
