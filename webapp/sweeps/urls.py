"""Pages of sweeps and pipelines."""

from __future__ import annotations

from django.urls import path

from webapp.sweeps import pipeline_views, views

app_name = "sweeps"
urlpatterns = [
    path("", views.sweep_list, name="list"),
    path("new/", views.sweep_new, name="new"),
    path("pipelines/new/", pipeline_views.pipeline_new, name="pipeline-new"),
    path("<uuid:sweep_id>/", views.sweep_detail, name="detail"),
    path("<uuid:sweep_id>/figures/<slug:name>/", views.sweep_figure, name="figure"),
    path("<uuid:sweep_id>/<slug:action>/", views.sweep_act, name="act"),
]
