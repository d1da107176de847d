"""All addresses. Pages by app; the API under /api/v1/."""

from django.urls import include, path
from django.views.generic import RedirectView

from webapp.accounts.entry import SignIn, SignOut, forgotten, join, password
from webapp.core.schema_views import api_docs, api_operation
from webapp.interop.tracking.views import version
from webapp.monitor.views import healthz, metrics, readyz
from webapp.reports.shared import shared

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="runs:list"), name="home"),
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
    path("login/", SignIn.as_view(), name="login"),
    path("login/forgotten/", forgotten, name="forgotten"),
    path("password/<str:secret>/", password, name="password"),
    path("logout/", SignOut.as_view(), name="logout"),
    path("join/<str:secret>/", join, name="join"),
    path("settings/notifications/", include("webapp.notify.urls")),
    path("settings/storage/", include("webapp.storage.urls")),
    path("settings/", include("webapp.accounts.urls")),
    path("settings/", include("webapp.interop.urls")),
    path("settings/", include("webapp.storage.project_urls")),
    path("runs/", include("webapp.runs.urls")),
    path("datasets/", include("webapp.datasets.urls")),
    path("evaluations/", include("webapp.evaluations.urls")),
    path("compare/", include("webapp.compare.urls")),
    path("reports/", include("webapp.reports.urls")),
    path("s/<str:secret>/", shared, name="shared"),
    path("external/", include("webapp.external.urls")),
    path("queue/", include("webapp.fleet.urls")),
    path("api/v1/docs/", api_docs, name="api-docs"),
    path("api/v1/docs/<slug:operation_id>/", api_operation, name="api-operation"),
    path("sweeps/", include("webapp.sweeps.urls")),
    path("api/v1/", include("webapp.api_urls")),
    path("api/", include("webapp.interop.tracking.urls")),
    path("version", version, name="version"),
]

handler400 = "webapp.core.errors.bad_request"
handler403 = "webapp.core.errors.forbidden"
handler404 = "webapp.core.errors.not_found"
handler500 = "webapp.core.errors.server_error"
