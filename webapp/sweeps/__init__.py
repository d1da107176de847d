"""Sweeps: trainings of one kind that search a space of settings; pages of pipelines."""
