"""`hyperpose import`: weights released with the paper in, a checkpoint out."""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import dataclass
from pathlib import Path

from hyperpose_core import __version__
from hyperpose_core.checkpoint.file import ORIENTATION_CONVENTIONS, Checkpoint, save_checkpoint
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.world import World
from hyperpose_core.images import Preprocessing
from hyperpose_core.models.registry import MODEL_NAMES, default_normalisation
from hyperpose_core.released.importer import MULTI_SCENE_MODELS, import_released


@dataclass(frozen=True)
class DatasetPreset:
    """What the weights released for a dataset have in common.

    Attributes:
        title: the dataset's name, for people.
        scenes: names of all scenes, in the order of their ids.
        orientation_convention: what the predicted quaternion rotates.
    """

    title: str
    scenes: tuple[str, ...]
    orientation_convention: str


DATASET_PRESETS = {
    "7scenes": DatasetPreset(
        "7Scenes",
        ("chess", "fire", "heads", "office", "pumpkin", "redkitchen", "stairs"),
        "camera_to_world",
    ),
    "cambridge": DatasetPreset(
        "Cambridge Landmarks",
        ("KingsCollege", "OldHospital", "ShopFacade", "StMarysChurch"),
        "world_to_camera",
    ),
}

_RESIZE = 256


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb's parser."""
    parser = subparsers.add_parser(
        "import",
        description="Read a released state dict (no code in it is run), check every key and shape, and write "
        "a self-describing checkpoint. The covariance of its poses is unknown until it is measured.",
        epilog="example: hyperpose import mshyperpose_7scenes.pth --model mshyperpose --dataset 7scenes "
        "--output mshyperpose_7scenes.safetensors",
    )
    parser.add_argument("released", type=Path, metavar="RELEASED.pth", help="the released file")
    parser.add_argument("--model", required=True, choices=MODEL_NAMES, help="the architecture in the file")
    parser.add_argument(
        "--dataset",
        choices=tuple(DATASET_PRESETS),
        help="the dataset it was trained on: fills in scene names and the quaternion's convention",
    )
    parser.add_argument(
        "--scenes",
        metavar="A,B,...",
        help="scene names in the order of their ids (default for multi-scene networks: all of --dataset's)",
    )
    parser.add_argument(
        "--convention",
        choices=ORIENTATION_CONVENTIONS,
        help="what the predicted quaternion rotates (default: --dataset's, or camera_to_world)",
    )
    parser.add_argument(
        "--crop",
        type=int,
        default=224,
        help=f"side of the centred square cut out of images resized to {_RESIZE} (default: %(default)s; "
        "the first AtLoc release takes 256)",
    )
    parser.add_argument("--output", type=Path, required=True, help="the .safetensors checkpoint to write")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Import as the arguments say.

    Raises:
        HyperPoseError: the file cannot be read or does not fit, or the scenes are missing.
    """
    preset = DATASET_PRESETS.get(arguments.dataset)
    scenes = _scenes(arguments.scenes, arguments.model, preset)
    if not 32 <= arguments.crop <= _RESIZE:
        raise HyperPoseError(f"--crop {arguments.crop}: expected 32 to {_RESIZE}")
    network = import_released(arguments.released, arguments.model, scenes)
    mean, std = default_normalisation(arguments.model, network.options)
    convention = arguments.convention or (preset.orientation_convention if preset else "camera_to_world")
    checkpoint = Checkpoint(
        architecture=network.architecture,
        options=network.options,
        state=network.state_dict(),
        preprocessing=Preprocessing(resize=_RESIZE, crop=arguments.crop, mean=mean, std=std),
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
