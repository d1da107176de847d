"""Pages of a project's settings; MLflow's own addresses are in mlflow_urls.py."""

from __future__ import annotations

from django.urls import path

from webapp.interop import views

app_name = "interop"
urlpatterns = [
    path("projects/<slug:slug>/export/", views.export_page, name="export"),
    path("projects/<slug:slug>/export/download/", views.export_file, name="export-file"),
]
