"""A made-up surveillance data set, for the demo and the tests: no download, no licence, no person.

Fixed cameras over a plaza, a street, a hall and a park, with people walking, standing and meeting,
light that changes, a camera that now and then shakes, and five kinds of anomaly: somebody runs, two
people fight, a vehicle drives on the walkway, something burns, a bag is left behind. Busy ordinary
clips move more than most anomalies, so the amount of motion alone does not tell them apart.

The folder that `make` writes:

    synthetic.json      generator version, preset, seed
    labels.csv          key, file, split, label, class: all that training may know
    truth-test.json     intervals and boxes of the test videos; none is written for training videos
    videos/KEY.mp4      H.264, constant frame rate
"""

from vad.data.synthetic.maker import PRESETS, Preset, make, plans

__all__ = ["PRESETS", "Preset", "make", "plans"]
