"""Arguments of `hyperpose train`."""

from __future__ import annotations

import argparse
from pathlib import Path

from hyperpose_core.choices import AUTO, FEWEST_MAP_IMAGES, MOST_MAP_IMAGES
from hyperpose_core.cli.arguments.common import add_dataset_arguments, add_device_argument


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb's parser."""
    parser = subparsers.add_parser(
        "train",
        description="Train a network. The run's folder gets best.safetensors, last.safetensors, history.csv, "
        "TensorBoard scalars and the state for --resume; and if the camera's intrinsics are known and there "
        f"are {FEWEST_MAP_IMAGES} images or more, best.map, the landmark map that refines the network's "
        "poses.",
    )
    add_dataset_arguments(parser, split="train")
    parser.add_argument("--output", type=Path, required=True, help="folder of the run")
    parser.add_argument(
        "--recipe",
        default="small_data",
        help=f"a shipped recipe's name, a YAML file, or {AUTO}, which chooses by what the data is like "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        help="training time, by the speed measured at the start, instead of the recipe's epochs",
    )
    overrides = parser.add_argument_group("overrides of the recipe")
    overrides.add_argument("--model", help="the architecture, such as hyperpose or posenet")
    overrides.add_argument("--backbone", help="efficientnet_b0, efficientnet_lite0 or resnet34")
    overrides.add_argument("--epochs", type=int, help="passes over the training images")
    overrides.add_argument("--batch-size", type=int, help="images a step")
    overrides.add_argument("--learning-rate", type=float, help="at the schedule's peak")
    overrides.add_argument(
        "--no-pretrained",
        action="store_true",
        help="start the backbone from random instead of ImageNet weights",
    )
    overrides.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any key, such as augmentation.brightness=0.3 or stages.0.epochs=5; repeatable",
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: %(default)s)")
    parser.add_argument("--resume", action="store_true", help="resume an interrupted run in --output")
    parser.add_argument("--no-map", action="store_true", help="build no landmark map")
    parser.add_argument(
        "--map-images",
        type=int,
        default=MOST_MAP_IMAGES,
        metavar="N",
        help="maximum number of images in the map, evenly spread (default: %(default)s)",
    )
    parser.add_argument(
        "--unchecked",
        action="store_true",
        help="train even if a sample of the images contradicts their poses or camera",
    )
    add_device_argument(parser)
