"""Deleting a project, beside its other settings."""

from __future__ import annotations

from django.urls import path

from webapp.storage import project_views

app_name = "projects"
urlpatterns = [path("projects/<slug:slug>/delete/", project_views.delete, name="delete")]
