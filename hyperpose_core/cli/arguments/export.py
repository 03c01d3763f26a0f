"""Arguments of `hyperpose export`."""

from __future__ import annotations

import argparse
from pathlib import Path

from hyperpose_core.choices import LARGEST_EXPORT_DIFFERENCE
from hyperpose_core.cli.arguments.common import add_dataset_arguments


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb's parser."""
    parser = subparsers.add_parser(
        "export",
        help="write a checkpoint as an ONNX file for a faster runtime",
        description="Write an ONNX file that holds the network and the checkpoint's metadata. Its outputs "
        "are first compared with the network's; the differences are printed and stored in the "
        "file. Every command and the localizer take the file in place of the checkpoint and "
        "run it with OpenVINO.",
    )
    parser.add_argument("checkpoint", type=Path, help="a .safetensors checkpoint")
    parser.add_argument("--output", type=Path, required=True, help="the .onnx file to write")
    parser.add_argument("--force", action="store_true", help="overwrite an existing file")
    parser.add_argument(
        "--map",
        type=Path,
        nargs="?",
        const=Path(),
        metavar="FILE",
        help="copy the landmark map of the checkpoint (or FILE) beside the exported file, where the "
        "localizer and the commands find it: all that a robot needs",
    )
    parser.add_argument(
        "--size",
        metavar="HEIGHTxWIDTH",
        help="size of the network's input in pixels, if the checkpoint lacks it or other cameras "
        "are used than in training",
    )
    parser.add_argument(
        "--images",
        type=int,
        default=8,
        help="number of images to compare the file with the network on (default: %(default)s)",
    )
    parser.add_argument(
        "--largest-difference",
        type=float,
        default=LARGEST_EXPORT_DIFFERENCE,
        help="of an output in float32, as a part of the largest such output; a file that differs by more is "
        "not written (default: %(default)s)",
    )
    add_dataset_arguments(parser, split="test", required=False)
