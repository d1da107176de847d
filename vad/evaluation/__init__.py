"""Metrics, their uncertainty and where they come from. numpy only: the web process uses it."""
