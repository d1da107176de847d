"""The Storage pages, under Settings."""

from __future__ import annotations

from django.urls import path

from webapp.storage import views

app_name = "storage"
urlpatterns = [
    path("", views.storage, name="storage"),
    path("measure/", views.measure, name="measure"),
    path("rule/", views.rule, name="rule"),
    path("orphans/", views.orphans, name="orphans"),
]
