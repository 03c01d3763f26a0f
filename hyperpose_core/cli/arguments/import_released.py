"""Arguments of `hyperpose import`."""

from __future__ import annotations

import argparse
from pathlib import Path

from hyperpose_core.choices import MODEL_NAMES, ORIENTATION_CONVENTIONS
from hyperpose_core.released.presets import DATASET_PRESETS, RESIZE


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
        help=f"side of the centred square cut out of images resized to {RESIZE} (default: %(default)s; "
        "the first AtLoc release takes 256)",
    )
    parser.add_argument("--output", type=Path, required=True, help="the .safetensors checkpoint to write")
