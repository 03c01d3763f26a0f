"""From verified matches to poses and points.

All images at once (Pan et al., Global structure-from-motion revisited, ECCV 2024); where that leaves many
images out, one after the other (Schoenberger and Frahm, Structure-from-motion revisited, CVPR 2016).
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import pycolmap
from tqdm import tqdm

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.reconstruction.continuity import jumps
from hyperpose_core.reconstruction.frames import FrameSet
from hyperpose_core.reconstruction.model import model_of

Mapper = Literal["auto", "global", "incremental"]

_FINISHED = "finished"
_SEED = 0
_ENOUGH = 0.9  # of the images: with so many in one model, and no jump, no other way is tried


def map_images(
    database: Path, image_folder: Path, output: Path, frames: FrameSet, mapper: Mapper
) -> list[Path]:
    """Reconstruct, and keep every model that comes out, the one with the most images first.

    Models share no image that could join them: a cut, two places, or a stretch that could not be followed.
    A finished reconstruction in `output` is taken as it is.

    Args:
        database: features and verified matches.
        image_folder: the images, for the points' colours.
        output: gets a folder a model, `0` for the largest.
        frames: whose exactly known cameras are kept as they are.
        mapper: "auto" takes the global one, and the incremental one where that leaves many images out or
            makes a video's camera jump.

    Raises:
        HyperPoseError: no two images could be joined.
    """
    if not (output / _FINISHED).exists():
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir(parents=True)
        models: list[pycolmap.Reconstruction] = []
        if mapper in ("auto", "global"):
            models = _map_globally(database, image_folder, output, frames)
        if mapper == "incremental" or (mapper == "auto" and not _is_sound(models, frames)):
            others = _map_incrementally(database, image_folder, output, frames)
            models = max(models, others, key=lambda some: _worth(some, frames))
        _write(models, output)
    folders = sorted((folder for folder in output.iterdir() if folder.is_dir()), key=lambda f: int(f.name))
    if not folders:
        raise HyperPoseError(
            "no images could be joined: they share too little, or the camera only turned on the spot; "
            "walk sideways, in good light, past things with texture"
        )
    return folders


def _map_globally(
    database: Path, image_folder: Path, output: Path, frames: FrameSet
) -> list[pycolmap.Reconstruction]:
    options = pycolmap.GlobalPipelineOptions()
    options.random_seed = _SEED
    is_exact = all(guess.is_exact for guess in frames.cameras.values())
    options.mapper.bundle_adjustment.refine_focal_length = not is_exact
    options.mapper.bundle_adjustment.refine_extra_params = not is_exact
    with tqdm(total=1, desc="mapping all images at once", unit="run") as progress:
        models = pycolmap.global_mapping(database, image_folder, output, options)
        progress.update()
    return _by_size(models)


def _map_incrementally(
    database: Path, image_folder: Path, output: Path, frames: FrameSet
) -> list[pycolmap.Reconstruction]:
    options = pycolmap.IncrementalPipelineOptions()
    options.random_seed = _SEED
    options.min_model_size = max(3, min(10, len(frames.frames) // 10))
    options.constant_cameras = {
        number for number, guess in enumerate(frames.cameras.values(), start=1) if guess.is_exact
    }
    with tqdm(total=len(frames.frames), desc="mapping one by one", unit="image") as progress:

        def advance(count: int) -> None:
            progress.update(min(count, len(frames.frames) - progress.n))

        models = pycolmap.incremental_mapping(
            database,
            image_folder,
            output,
            options,
            initial_image_pair_callback=lambda: advance(2),
            next_image_callback=lambda: advance(1),
        )
    return _by_size(models)


def _by_size(models: dict[int, pycolmap.Reconstruction]) -> list[pycolmap.Reconstruction]:
    return sorted(models.values(), key=lambda model: -model.num_reg_images())


def _is_sound(models: list[pycolmap.Reconstruction], frames: FrameSet) -> bool:
    return _worth(models, frames) >= _ENOUGH * len(frames.frames)


def _worth(models: list[pycolmap.Reconstruction], frames: FrameSet) -> float:
    """Return how many images the largest model has, less a tenth of all for each jump of a camera."""
    if not models:
        return -float("inf")
    poses = model_of(models[0]).poses
    return len(poses) - 0.1 * len(frames.frames) * len(jumps(poses, frames))


def _write(models: list[pycolmap.Reconstruction], output: Path) -> None:
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    for number, model in enumerate(model for model in models if model.num_reg_images() >= 2):
        folder = output / str(number)
        folder.mkdir()
        model.write(folder)
    (output / _FINISHED).touch()
