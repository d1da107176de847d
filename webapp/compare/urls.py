"""The comparison page."""

from __future__ import annotations

from django.urls import path

from webapp.compare import views

app_name = "compare"
urlpatterns = [
    path("", views.compare, name="index"),
    path("figures/<slug:name>/", views.compare_figure, name="figure"),
    path("tables/<slug:name>/", views.compare_table, name="table"),
]
