"""`hyperpose import`: weights released with the paper in, a checkpoint out."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

from hyperpose_core import __version__
from hyperpose_core.checkpoint.file import Checkpoint, save_checkpoint
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.world import World
from hyperpose_core.images import Preprocessing
from hyperpose_core.models.registry import default_normalisation
from hyperpose_core.released.importer import MULTI_SCENE_MODELS, import_released
from hyperpose_core.released.presets import DATASET_PRESETS, RESIZE, DatasetPreset


def run(arguments: argparse.Namespace) -> int:
    """Import as the arguments say.

    Raises:
        HyperPoseError: the file cannot be read or does not fit, or the scenes are missing.
    """
    preset = DATASET_PRESETS.get(arguments.dataset)
    scenes = _scenes(arguments.scenes, arguments.model, preset)
    if not 32 <= arguments.crop <= RESIZE:
        raise HyperPoseError(f"--crop {arguments.crop}: expected 32 to {RESIZE}")
    network = import_released(arguments.released, arguments.model, scenes)
    mean, std = default_normalisation(arguments.model, network.options)
    convention = arguments.convention or (preset.orientation_convention if preset else "camera_to_world")
    checkpoint = Checkpoint(
        architecture=network.architecture,
        options=network.options,
        state=network.state_dict(),
        preprocessing=Preprocessing(resize=RESIZE, crop=arguments.crop, mean=mean, std=std),
        scenes=scenes,
        world=World(description=" ".join(filter(None, [preset.title if preset else "", ", ".join(scenes)]))),
        orientation_convention=convention,
        training={
            "imported_from": arguments.released.name,
            "sha256": _digest(arguments.released),
            "dataset": preset.title if preset else "not told",
            "version": __version__,
        },
    )
    save_checkpoint(arguments.output, checkpoint)
    print(f"{arguments.output}: {arguments.model}, scenes {', '.join(scenes) or 'not named'}, {convention}")
    return 0


def _scenes(named: str | None, model: str, preset: DatasetPreset | None) -> tuple[str, ...]:
    if named is not None:
        scenes = tuple(scene.strip() for scene in named.split(","))
        if not all(scenes):
            raise HyperPoseError(f"--scenes {named!r}: expected names separated by commas")
        return scenes
    return preset.scenes if preset and model in MULTI_SCENE_MODELS else ()


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
