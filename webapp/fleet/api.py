"""The queue and the workers over HTTP."""

from __future__ import annotations

from rest_framework.response import Response
from rest_framework.views import APIView

from webapp.core.api import Request, project_of
from webapp.fleet import listing
from webapp.runs.represent import run_json


class Queue(APIView):
    """GET: what has not started, in the order in which it would, and why; `?project=`."""

    def get(self, request: Request) -> Response:
        project = project_of(request, request.GET.get("project"))
        rows = listing.waits(project)
        for row in rows:
            row.run.project = project  # known, so it is not read once a row
        return Response(
            {
                "results": [
                    {"run": run_json(row.run), "why": row.why, "place": row.place or None}
                    for row in rows
                ]
            }
        )


class Workers(APIView):
    """GET: workers with their slots; a run that the person may not see is only `busy`."""

    def get(self, request: Request) -> Response:
        return Response(
            {
                "results": [
                    {
                        "name": row.worker.name,
                        "host": row.worker.host,
                        "version": row.worker.version,
                        "alive": row.alive,
                        "seen_at": row.worker.seen_at,
                        "slots": [
                            {
                                "name": slot.name,
                                "device": slot.device,
                                "busy": slot.busy,
                                "run": slot.run.pk if slot.run else None,
                            }
                            for slot in row.slots
                        ],
                    }
                    for row in listing.workers(request.user)
                ]
            }
        )
