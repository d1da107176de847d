"""manage.py worker_health, which a container's health check asks."""

from __future__ import annotations

import io
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from webapp.fleet.models import Worker


@pytest.mark.parametrize(
    ("fields", "healthy"),
    [
        ({}, True),
        ({"drained_at": timezone.now()}, True),
        ({"refused": "It is of another version."}, False),
        ({"stopped_at": timezone.now()}, False),
        ({"seen_at": timezone.now() - timedelta(minutes=5)}, False),
        ({"name": "another"}, False),
    ],
)
def test_a_worker_is_healthy_while_it_lives_and_may_work(worker, settings, fields, healthy):
    settings.WORKER_NAME = worker.name
    Worker.objects.filter(pk=worker.pk).update(**{"seen_at": timezone.now(), **fields})
    out = io.StringIO()

    if healthy:
        call_command("worker_health", stdout=out)
        assert worker.name in out.getvalue()
    else:
        with pytest.raises(CommandError):
            call_command("worker_health", stdout=out)
