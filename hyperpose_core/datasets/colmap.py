"""Adapter for COLMAP models: how poses of one's own photos are usually got.

A sparse model (`cameras`, `images`, text or binary) beside a folder `images/`. COLMAP writes world-to-camera;
its world has no scale unless the model was aligned, so the option `scale` says how long its unit is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hyperpose_core.datasets.colmap_model import ColmapImage, model_files, read_cameras, read_images
from hyperpose_core.datasets.findings import Findings, natural_order
from hyperpose_core.datasets.options import parse_number
from hyperpose_core.datasets.records import PosedImage, PosedImageSet
from hyperpose_core.datasets.splits import SplitPolicy
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.poses import Pose
from hyperpose_core.geometry.world import World

_MODEL_PLACES = (".", "sparse", "sparse/*", "colmap/sparse", "colmap/sparse/*")
_IMAGE_FOLDER = "images"


def looks_like_colmap(path: Path) -> bool:
    """Tell whether a folder is a COLMAP model, or holds one where COLMAP puts it."""
    return path.is_dir() and bool(_models(path))


def open_colmap(
    path: Path,
    split: str | None = None,
    images: Path | str | None = None,
    scale: str | float | None = None,
    scene: str | None = None,
    block: str | int | None = None,
    test_every: str | int | None = None,
    test_fraction: str | float | None = None,
    test_sequences: str | Sequence[str] | None = None,
    split_file: Path | str | None = None,
) -> PosedImageSet:
    """Read a COLMAP model.

    The images' sub-folders are the sequences, ordered by name. COLMAP knows no splits: see
    `splits.SplitPolicy` for how frames are divided.

    Args:
        path: a model's folder, or the folder above `sparse/`. Of several models, which share no frame, the
            one with the most images is taken.
        split: "train", "test", or None for all.
        images: the folder that image names start from; by default `images` beside or above the model.
        scale: metres a COLMAP unit; 1 says that the model is in metres, as one that was aligned. By default
            the unit counts as unknown.
        scene: the scene's name; the folder's by default.
        block: consecutive frames a block.
        test_every: of so many blocks, one is for testing.
        test_fraction: the last fraction of every sequence is for testing instead.
        test_sequences: these sequences are for testing instead, separated by commas.
        split_file: the images that this text file names are for testing instead.

    Raises:
        HyperPoseError: there is no model, no folder of images, a file is damaged, or an option is wrong.
    """
    policy = SplitPolicy.from_options(block, test_every, test_fraction, test_sequences, split_file)
    metres = 1.0 if scale is None else parse_number("scale", scale, above=0.0)
    findings = Findings()
    folder, entries = _largest_model(path, findings)
    cameras = read_cameras(folder / f"cameras{_suffix(folder)}")
    root = Path(images) if images else _image_folder(path, folder)
    entries = sorted(entries, key=lambda entry: natural_order(entry.name))
    pinholes = {number: camera.pinhole() for number, camera in cameras.items()}
    records = [
        PosedImage(
            path=root / entry.name,
            pose=pose,
            scene=scene or path.absolute().name,
            sequence=entry.name.rpartition("/")[0],
            camera=pinholes.get(entry.camera_id),
        )
        for entry in entries
        if (pose := _camera_to_world(entry, metres, findings)) is not None
    ]
    records = findings.without_far_positions(records)
    if not records:
        raise HyperPoseError(f"{folder}: no usable image in the model; left out: {findings.dropped}")
    used = {pinholes.get(entry.camera_id) for entry in entries}
    unit = "scale unknown" if scale is None else f"{metres:g} m a unit"
    names = [record.path.relative_to(root).as_posix() for record in records]
    return PosedImageSet(
        name=path.absolute().name if split is None else f"{path.absolute().name} {split}",
        images=policy.select(records, split, names),
        world=World(description=f"COLMAP model {path.absolute().name} ({unit})", is_metric=scale is not None),
        camera=used.pop() if len(used) == 1 else None,
        dropped=findings.dropped,
        faults=findings.faults,
    )


def _models(path: Path) -> list[Path]:
    for place in _MODEL_PLACES:
        # Path.glob(".") finds nothing, so the folder itself is looked at apart.
        folders = [path] if place == "." else sorted(path.glob(place))
        if models := [folder for folder in folders if model_files(folder)]:
            return models
    return []


def _suffix(folder: Path) -> str:
    files = model_files(folder)
    return files[0].suffix if files else ""


def _largest_model(path: Path, findings: Findings) -> tuple[Path, list[ColmapImage]]:
    models = {folder: read_images(folder / f"images{_suffix(folder)}") for folder in _models(path)}
    if not models:
        raise HyperPoseError(
            f"{path}: no COLMAP model in it (cameras.bin and images.bin, or .txt; looked in it, sparse/, "
            "sparse/0/, colmap/sparse/0/)"
        )
    largest = max(models, key=lambda folder: len(models[folder]))
    for folder, entries in models.items():
        for entry in entries if folder != largest else ():
            findings.leave_out(f"in another model of the folder, {folder.name}", entry.name)
    return largest, models[largest]


def _image_folder(path: Path, model: Path) -> Path:
    candidates = [folder / _IMAGE_FOLDER for folder in (path, model, *model.absolute().parents[:3])]
    found = next((folder for folder in candidates if folder.is_dir()), None)
    if found is None:
        raise HyperPoseError(f"{path}: no folder {_IMAGE_FOLDER}/ near the model; give option images")
    return found


def _camera_to_world(entry: ColmapImage, metres: float, findings: Findings) -> Pose | None:
    world_to_camera = findings.pose(entry.translation * metres, entry.quaternion, entry.name)
    return None if world_to_camera is None else world_to_camera.inverse()
