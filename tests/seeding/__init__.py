"""A project with something on every page: real files, real scores, every state of a run.

All numbers are computed by the code under test from scores drawn from a seed; none is made up.
"""

from seeding.around import (
    add_checkpoint_files,
    add_external,
    add_notifications,
    add_people,
    add_sweep,
    add_usage,
    add_version,
)
from seeding.making import Seeded
from seeding.pictures import add_bags, add_footage, add_maps
from seeding.project import PASSWORD, people, seed

__all__ = [
    "PASSWORD", "Seeded", "add_bags", "add_checkpoint_files", "add_external", "add_footage",
    "add_maps", "add_notifications", "add_people", "add_sweep", "add_usage", "add_version",
    "people", "seed",
]  # fmt: skip
