"""The sizes of a clip and how it is cut into tokens. No torch: a configuration checks with it.

A tubelet is a stretch of frames; a patch is a square of one tubelet; each patch is one token. Token
index = tubelet * P + row * columns + column.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from vad.errors import ConfigError

CHANNELS = 3  # of a picture


@dataclass(frozen=True, kw_only=True)
class ClipGrid:
    """The sizes of a clip and how it is cut. Exactly one of the two tubelet fields is given.

    The published option `num_tubelet` is handed to a parameter that means frames per tubelet; here
    each name has one meaning.

    Args:
        height, width: pixels, multiples of `patch`.
        frames: of a clip.
        patch: side of a patch in pixels.
        tubelet_size: frames of a tubelet.
        num_tubelet: tubelets of a clip.
        channels: numbers of a pixel.

    Raises:
        ConfigError: a size is not positive or not divisible; all such fields at once.
    """

    height: int
    width: int
    frames: int = 16
    patch: int = 16
    tubelet_size: int | None = None
    num_tubelet: int | None = None
    channels: int = CHANNELS

    def __post_init__(self) -> None:
        wrong = {
            name: f"{value} is not a positive number"
            for name, value in vars(self).items()
            if value is not None and value < 1
        }
        if (self.tubelet_size is None) == (self.num_tubelet is None):
            wrong["tubelet_size"] = "give exactly one of tubelet_size and num_tubelet"
        if not wrong:
            for name, whole, part in (
                ("height", self.height, self.patch),
                ("width", self.width, self.patch),
                ("tubelet_size", self.frames, self.tubelet_size or 1),
                ("num_tubelet", self.frames, self.num_tubelet or 1),
            ):
                if whole % part:
                    what = f"{self.frames} frames" if "tubelet" in name else f"{whole} pixels"
                    wrong[name] = f"{what} cannot be cut into equal parts by {part}"
        if wrong:
            raise ConfigError(wrong, what="The clip grid")

    def averaged(self, cell: int, channels: int = CHANNELS) -> ClipGrid:
        """The grid with one frame a tubelet, and one pixel for every `cell` by `cell` of them.

        Raises:
            ConfigError: of `view_cell`, the patch cannot be cut so.
        """
        if cell < 1 or self.patch % cell:
            text = f"{self.patch} pixels of a patch cannot be cut into equal parts by {cell}"
            raise ConfigError({"view_cell": text}, what="The clip grid")
        return ClipGrid(
            height=self.height // cell,
            width=self.width // cell,
            frames=self.tubelets,
            patch=self.patch // cell,
            tubelet_size=1,
            channels=channels,
        )

    @property
    def tubelets(self) -> int:
        """Tubelets of a clip."""
        return self.num_tubelet or self.frames // cast(int, self.tubelet_size)

    @property
    def tubelet_frames(self) -> int:
        """Frames of a tubelet."""
        return self.frames // self.tubelets

    @property
    def rows(self) -> int:
        """Patches from top to bottom."""
        return self.height // self.patch

    @property
    def columns(self) -> int:
        """Patches from left to right."""
        return self.width // self.patch

    @property
    def patches(self) -> int:
        """P, patches of a tubelet."""
        return self.rows * self.columns

    @property
    def tokens(self) -> int:
        """N, patches of a clip."""
        return self.tubelets * self.patches

    @property
    def patch_values(self) -> int:
        """Numbers in a patch of a tubelet: pixels times frames times channels."""
        return self.patch**2 * self.tubelet_frames * self.channels
