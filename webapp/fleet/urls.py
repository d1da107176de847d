"""The queue page."""

from __future__ import annotations

from django.urls import path

from webapp.fleet import views

app_name = "fleet"
urlpatterns = [path("", views.queue, name="queue")]
