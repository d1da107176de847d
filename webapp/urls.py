"""All addresses. Pages by app; the API under /api/v1/."""

from django.urls import include, path
from django.views.generic import RedirectView

from webapp.accounts.entry import SignIn, SignOut, join
from webapp.core.views import healthz
from webapp.interop.tracking.views import version

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="runs:list"), name="home"),
    path("healthz", healthz, name="healthz"),
    path("login/", SignIn.as_view(), name="login"),
    path("logout/", SignOut.as_view(), name="logout"),
    path("join/<str:secret>/", join, name="join"),
    path("settings/", include("webapp.accounts.urls")),
    path("settings/", include("webapp.interop.urls")),
    path("runs/", include("webapp.runs.urls")),
    path("datasets/", include("webapp.datasets.urls")),
    path("evaluations/", include("webapp.evaluations.urls")),
    path("compare/", include("webapp.compare.urls")),
    path("external/", include("webapp.external.urls")),
    path("queue/", include("webapp.fleet.urls")),
    path("api/v1/", include("webapp.api_urls")),
    path("api/", include("webapp.interop.tracking.urls")),
    path("version", version, name="version"),
]

handler400 = "webapp.core.errors.bad_request"
handler403 = "webapp.core.errors.forbidden"
handler404 = "webapp.core.errors.not_found"
handler500 = "webapp.core.errors.server_error"
