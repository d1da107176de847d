"""Pages of external runs beside those that all runs have."""

from __future__ import annotations

from django.urls import path

from webapp.external import views

app_name = "external"
urlpatterns = [
    path("<uuid:run_id>/files/<uuid:file_id>/", views.file, name="file"),
]
