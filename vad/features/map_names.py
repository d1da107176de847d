"""The maps of motion: what each says of a cell of the picture, and its scale. No torch."""

from __future__ import annotations

CELL_MAPS = (
    "moving",  # share of pixels that differ from the frame before
    "change",  # mean difference to the frame before, in units of the noise
    "speed",  # flow of the moving pixels, pixels per frame
    "speed_peak",  # its greatest value of the snippet's frames
    "pace",  # flow divided by the foreground's height: body heights per frame
    "pace_peak",
    "jerk",  # change of flow from frame to frame, in body heights
    "turmoil",  # pace that goes in no direction on average
    "still",  # share of pixels that differ from the background and do not move
    "wide",  # width of the moving foreground divided by its height
    "wide_pace",  # that times pace: a vehicle is both wide and fast
    "agitation",  # jerk of all pixels of a body's surroundings
    "mass",  # pace of the surroundings as a whole, times how full of foreground they are
    "bulk",  # foreground in the surroundings that moves
    "flicker_slow",  # temporal Fourier power, lower half of the spectrum without the mean
    "flicker_quick",  # and upper half
    "burning",  # redder and lighter than the background, and flickering, at the same place
    "colour",  # any change of colour against the background
    "sustained",  # agitation that goes on at its place from one snippet to the next
    "left",  # stands still and differs from how the video began
    "left_long",  # the same, where it does so for long: before or after this snippet
)
# Speeds keep their proportions: running is three times walking, and should look so.
LINEAR_MAPS = ("speed", "speed_peak", "pace", "pace_peak", "jerk", "turmoil", "mass")
# The first ones need no more than some frames and a picture of the background.
CLIP_MAPS = CELL_MAPS[: CELL_MAPS.index("sustained")]
# What brings each map's usual values near 1.
SCALES = {
    "moving": 4.0, "change": 0.5, "speed": 0.5, "speed_peak": 0.5, "pace": 9.0,
    "pace_peak": 9.0, "jerk": 12.0, "turmoil": 12.0, "still": 4.0, "wide": 1.0,
    "wide_pace": 8.0, "agitation": 120.0, "mass": 33.0, "bulk": 4.0, "flicker_slow": 0.05,
    "flicker_quick": 0.1, "burning": 2.0, "colour": 2.0,
    "sustained": 120.0, "left": 3.0, "left_long": 6.0,
}  # fmt: skip
