"""Pages of evaluations."""

from __future__ import annotations

from django.urls import path

from webapp.evaluations import views

app_name = "evaluations"
urlpatterns = [
    path("", views.evaluation_list, name="list"),
    path("viewer/", views.viewer_page, name="viewer"),
    path("viewer/timeline/", views.viewer_timeline, name="viewer-timeline"),
    path("<uuid:run_id>/", views.evaluation_detail, name="detail"),
    path("<uuid:run_id>/figures/<slug:name>/", views.evaluation_figure, name="figure"),
]
