from __future__ import annotations

from django.urls import path

from webapp.notify import views

app_name = "notify"
urlpatterns = [
    path("", views.mine, name="mine"),
    path("projects/<slug:slug>/", views.of_project, name="project"),
    path("channels/<int:channel_id>/<slug:action>/", views.channel, name="channel"),
    path("rules/<int:rule_id>/<slug:action>/", views.rule, name="rule"),
    path("deliveries/<uuid:delivery_id>/again/", views.delivery_again, name="again"),
]
