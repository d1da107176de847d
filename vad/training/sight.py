"""What stage 2 sees of the clips of a step, while it trains.

Shapes: B clips, F frames, H W pixels; h w, t and C as the encoder's grid has them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from vad.data.backgrounds import Backgrounds
from vad.data.clips import Clips, Wanted
from vad.models.two_stage import TwoStage
from vad.patch_scoring import to_device

KEPT_BYTES = 2**28


class Sight:
    """Has clips decoded, and turns them into the model's view of them.

    Views of motion and of speed are dear to make (20 ms and more a clip of 128 pixels) and small,
    and a run comes back to the same snippets, so each is kept; its frames are not decoded again.
    They are made clip by clip, which is why a resumed run, that makes other views at a time, sees
    the same numbers.

    Args:
        model: on its device.
        clips: at the size of the model's grid.
        kept_bytes: of views; those that come later are made each time.
    """

    def __init__(
        self, model: TwoStage, clips: Clips, device: torch.device, kept_bytes: int = KEPT_BYTES
    ) -> None:
        self.backgrounds = Backgrounds(clips)
        self._model, self._clips, self._device = model, clips, device
        self._kept: dict[tuple[str, bytes], Tensor] = {}
        self._room_bytes = kept_bytes

    def ask(self, wanted: Wanted) -> Callable[[], Tensor]:
        """Have clips decoded; what is returned waits for them and gives [B, C, t, h, w] float32."""
        if not self._model.keeps_views:
            frames = self._clips.ask(wanted)
            return lambda: self._model.view(to_device(frames.result(), self._device))
        names = [(key, np.asarray(numbers).tobytes()) for key, numbers in wanted]
        missing = [at for at, name in enumerate(names) if name not in self._kept]
        asked = self._clips.ask([wanted[at] for at in missing]) if missing else None

        def see() -> Tensor:
            views = [self._kept.get(name) for name in names]
            if asked is not None:
                pictures = [asked.result()]
                if self._model.needs_backgrounds:
                    pictures.append(self.backgrounds.of([names[at][0] for at in missing]))
                made = self._model.view(*(to_device(each, self._device) for each in pictures))
                for at, view in zip(missing, made, strict=True):
                    views[at] = view
                    self._keep(names[at], view)
            return torch.stack([view for view in views if view is not None])

        return see

    def _keep(self, name: tuple[str, bytes], view: Tensor) -> None:
        size = view.numel() * view.element_size()
        if size <= self._room_bytes and name not in self._kept:
            self._kept[name] = view
            self._room_bytes -= size
