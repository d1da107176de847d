"""What the network of stage 2 sees of a clip. No torch: a configuration checks with it.

`rgb` is the clip itself, as published; `energy` how much each tubelet moves; `speed` how fast
each of its patches does; `motion` what the motion descriptor says of each patch, which needs a
picture of the video's background.
"""

from __future__ import annotations

from vad.errors import ConfigError
from vad.features.map_names import CLIP_MAPS
from vad.models.grid import ClipGrid

VIEWS = ("rgb", "energy", "speed", "motion")
CELL = 8  # pixels of a clip that a map of the descriptor has one value for
LEAST_SIDE = 32  # of a clip in which speeds are measured, down to a quarter of its size


def seen_grid(grid: ClipGrid, view: str, cell: int) -> ClipGrid:
    """How what the network sees is cut; patches and tubelets are those of `grid`.

    Args:
        grid: of the clips.
        view: of `VIEWS`.
        cell: pixels that an energy is averaged over.

    Raises:
        ConfigError: the patch cannot be cut so, or a tubelet has too few frames to move in.
    """
    if view == "rgb":
        return grid
    if view == "energy":
        return grid.averaged(cell)
    if view == "speed":
        for name, side in (("height", grid.height), ("width", grid.width)):
            if side < LEAST_SIDE:
                text = f"'speed' needs clips of {LEAST_SIDE} pixels a side or more, not of {side}"
                raise ConfigError({name: text}, what="The clip grid")
        return grid.averaged(grid.patch, channels=1)
    if grid.patch % CELL:
        text = f"'motion' looks at cells of {CELL} pixels, and {grid.patch} is no multiple of it"
        raise ConfigError({"patch": text}, what="The clip grid")
    if grid.tubelet_frames < 4:
        text = f"'motion' needs tubelets of 4 frames or more, not of {grid.tubelet_frames}"
        raise ConfigError({"num_tubelet": text}, what="The clip grid")
    return grid.averaged(grid.patch, channels=len(CLIP_MAPS))
