"""Dataset adapters: files in, `PosedImageSet` out. One small file an adapter."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path

from hyperpose_core.datasets.label_csv import open_label_csv
from hyperpose_core.datasets.records import CameraModel, PosedImage, PosedImageSet, World
from hyperpose_core.datasets.robotcar import looks_like_robotcar, open_robotcar
from hyperpose_core.datasets.seven_scenes import looks_like_seven_scenes, open_seven_scenes
from hyperpose_core.errors import HyperPoseError

__all__ = ["DATASET_FORMATS", "CameraModel", "PosedImage", "PosedImageSet", "World", "open_dataset"]

DATASET_FORMATS: Mapping[str, Callable[..., PosedImageSet]] = {
    "csv": open_label_csv,
    "7scenes": open_seven_scenes,
    "robotcar": open_robotcar,
}


def open_dataset(
    path: Path | str, format: str = "auto", split: str | None = None, **options: str
) -> PosedImageSet:
    """Open a dataset through its adapter.

    Args:
        path: a label CSV or a dataset's folder.
        format: a name of `DATASET_FORMATS`, or "auto" to tell from the layout.
        split: which part, by the dataset's own names; None for all of it.
        **options: what else the adapter takes, as text (see each adapter).

    Raises:
        HyperPoseError: the path, the format, the layout or an option is wrong.
    """
    path = Path(path)
    if not path.exists():
        raise HyperPoseError(f"{path}: no such file or folder")
    name = _detect_format(path) if format == "auto" else format
    if name not in DATASET_FORMATS:
        raise HyperPoseError(f"dataset format {name!r} is unknown; use one of auto, {', '.join(DATASET_FORMATS)}")
    adapter = DATASET_FORMATS[name]
    known = [option for option in inspect.signature(adapter).parameters if option not in ("path", "split")]
    for option in options:
        if option not in known:
            raise HyperPoseError(f"the {name} adapter has no option {option!r}; it has: {', '.join(known)}")
    return adapter(path, split=split, **options)


def _detect_format(path: Path) -> str:
    if path.is_file():
        return "csv"
    if looks_like_robotcar(path):
        return "robotcar"
    if looks_like_seven_scenes(path):
        return "7scenes"
    raise HyperPoseError(
        f"{path}: layout not recognised; expected a label CSV, a 7Scenes folder (<scene>/seq-01/...) or a "
        "RobotCar folder (<date>/stereo.timestamps)"
    )
