"""ShanghaiTech Campus in the weakly supervised split of Zhong et al. 2019, and its frame masks.

Names tell the two recordings apart: `01_0014` (four digits) is of the original test set, whose
videos all hold an anomaly, `01_001` (three) of the original training set, which is normal. The
original folders say nothing about the weak split, so it takes list files. Below the root:

    training/videos/01_001.avi …, testing/frames/01_0014/000.jpg …; or features NAME(_i3d).npy
    testing/test_frame_mask/01_0014.npy      one array [F] of 0 and 1 per abnormal video
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from vad.data.formats.common import Dataset, Format, Option, Problems, Progress, count_all
from vad.data.formats.lists import Splits, find_media, in_order, video_name
from vad.data.manifest import Manifest, Truth, Video
from vad.timeline import mask_intervals

CLASS = "Anomaly"  # the masks do not say of which kind
MASK_FOLDER = "test_frame_mask"
PIXEL_MASK_FOLDER = "test_pixel_mask"
FPS = 24.0  # of the frame folders, which do not say; the training videos do
SNIPPET_FRAMES = 16
_NAME = re.compile(r"\d{2}_(\d{3,4})")
_MAX_MASK_BYTES = 64 * 1024 * 1024
PUBLISHED_COUNTS = {
    "train": {"normal": 175, "abnormal": 63},
    "test": {"normal": 155, "abnormal": 44},
}


def label_of(name: str) -> int | None:
    """1 for the original test recordings, 0 for the training ones, None for other names."""
    match = _NAME.fullmatch(name)
    return int(len(match[1]) == 4) if match else None


def read_mask(path: Path) -> np.ndarray:
    """A frame mask, [F] bool.

    Raises:
        ValueError: with the reason as a sentence's end.
    """
    try:
        if path.stat().st_size > _MAX_MASK_BYTES:
            raise ValueError(f"has {path.stat().st_size / 1e6:.0f} MB, which no frame mask has")
        mask = np.load(path, allow_pickle=False)
    except OSError as exc:
        raise ValueError(f"cannot be read: {exc.strerror or 'no .npy file'}") from exc
    except ValueError as exc:
        known = str(exc).startswith("has ")
        raise ValueError(str(exc) if known else "is no .npy file of numbers") from exc
    if not isinstance(mask, np.ndarray) or mask.dtype.kind not in "biuf":
        raise ValueError("is no .npy file of numbers")
    if mask.ndim == 0 or mask.size != max(mask.shape) or not mask.size:
        raise ValueError(f"has shape {list(mask.shape)}, expected one number a frame")
    flat = mask.reshape(-1)
    if not np.isin(flat, (0, 1)).all():
        raise ValueError("holds other values than 0 and 1")
    return flat.astype(bool)


def read(
    root: Path,
    *,
    test_list: Path,
    train_list: Path | None = None,
    masks: Path | None = None,
    on_progress: Progress | None = None,
) -> Dataset:
    """Read ShanghaiTech from a folder of features (.npy), or of videos and frame folders.

    Args:
        root: has files named as the videos, in any subfolders.
        test_list, train_list: name the videos of a split. Without a training list, all others
            train.
        masks: the folder of frame masks; by default the one named test_frame_mask below the root.
    """
    problems = Problems(root)
    lists = Splits.read(train_list, test_list, problems)
    folder = masks or next((p for p in sorted(root.rglob(MASK_FOLDER)) if p.is_dir()), None)
    if folder is None:
        problems.add(root, f"holds no folder {MASK_FOLDER}; name the folder of the frame masks")
    named = {p for name in (MASK_FOLDER, PIXEL_MASK_FOLDER) for p in root.rglob(name)}
    media = find_media(
        root,
        problems,
        is_folder_video=lambda name: label_of(name) is not None,
        no_features=named | ({folder} if folder else set()),
    )
    splits = lists.place(media.files, root, problems, folders_count=False)
    filled: dict[str, np.ndarray] = {}
    for path in sorted(folder.glob("*.npy")) if folder else ():
        try:
            filled[video_name(path.name)] = read_mask(path)
        except ValueError as exc:
            problems.add(path, str(exc))
    for name, split in splits.items():
        label = label_of(name)
        if label is None:
            problems.add(media.files[name], "is not named like 01_001 or 01_0014")
        elif name in filled and bool(filled[name].any()) != bool(label):
            says = "holds an anomaly" if filled[name].any() else "is empty"
            problems.add(media.files[name], f"by its name label {label}, but its mask {says}")
        elif label and split == "test" and name not in filled and folder:
            problems.add(folder, f"{name} is an abnormal test video without a mask")
    problems.raise_if_any()
    wanted = [(n, media.videos[n]) for n in splits if n in media.videos]
    infos = count_all(wanted, problems, on_progress)
    videos, truth = [], {}
    adjusted: dict[str, int] = {}
    for name, split in splits.items():
        info, label = infos.get(name), label_of(name) or 0
        mask = filled.get(name)
        frames = info.num_frames if info else len(mask) if mask is not None else 0
        videos.append(
            Video(
                key=name,
                split=split,
                label=label,
                classes=(CLASS,) if label else (),
                path=media.videos[name].relative_to(root).as_posix() if info else "",
                num_frames=frames,
                fps=(info.fps or FPS) if info else 0.0,
                width=info.width if info else 0,
                height=info.height if info else 0,
            )
        )
        if mask is not None and len(mask) != frames:
            if abs(len(mask) - frames) >= SNIPPET_FRAMES:
                text = f"the mask of {name} has {len(mask)} frames, the video {frames}"
                problems.add(folder or root, text)
                continue
            adjusted[name] = len(mask)
            mask = np.pad(mask[:frames], (0, max(0, frames - len(mask))), mode="edge")
        if split == "test" or mask is not None:
            truth[name] = Truth(intervals=mask_intervals(mask) if mask is not None else ())
    problems.raise_if_any()
    rules: dict[str, Any] = {
        "frames": "decoded" if media.videos else "mask length",
        "intervals": "frames with mask 1",
        "published_counts": PUBLISHED_COUNTS,
        **lists.rules(splits, media.files),
    }
    if adjusted:  # the last value is repeated, or what is too much cut off
        rules["mask_frames"] = dict(sorted(adjusted.items()))
    manifest = Manifest(
        name="ShanghaiTech",
        format="shanghaitech",
        videos=in_order(videos),
        media_root=str(root),
        rules=rules,
    )
    return manifest, truth


FORMAT = Format(
    name="shanghaitech",
    title="ShanghaiTech",
    help="Features (.npy), or videos and frame folders, with one mask of 0 and 1 per video.",
    read=read,
    options=(
        Option(name="test_list", help="List of the test videos.", kind="file", required=True),
        Option(name="train_list", help="List of the training videos.", kind="file"),
        Option(
            name="masks",
            help="Folder of frame masks; default: test_frame_mask below the folder.",
            kind="folder",
        ),
    ),
)
