"""Who is asking, over HTTP."""

from __future__ import annotations

from rest_framework.response import Response
from rest_framework.views import APIView

from webapp.accounts.models import Membership
from webapp.core.api import Request


class Me(APIView):
    """GET: the person, their projects and roles."""

    def get(self, request: Request) -> Response:
        rows = Membership.objects.filter(user=request.user).select_related("project")
        return Response(
            {
                "username": request.user.username,
                "projects": [
                    {"slug": m.project.slug, "name": m.project.name, "role": m.role}
                    for m in rows.order_by("project__name")
                ],
            }
        )
