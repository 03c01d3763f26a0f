"""Arguments of `hyperpose ecl`."""

from __future__ import annotations

import argparse
from pathlib import Path

from hyperpose_core.choices import ECL_ENGINES
from hyperpose_core.cli.arguments.common import add_dataset_arguments, add_device_argument


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb's parser."""
    parser = subparsers.add_parser(
        "ecl",
        description="Variants of test frames in other light and season, as in the paper's Extended Cambridge "
        "Landmarks (ECL).",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    generate = actions.add_parser(
        "generate",
        help="make the variants of a dataset's frames",
        description="Make variants of a dataset's frames that keep poses and time stamps. Of a Cambridge "
        "Landmarks folder, they lie as the Extended Cambridge Landmarks do; of any other data, beside one "
        "label CSV that holds the original frames, too. An interrupted run resumes with the same command. "
        "ecl_settings.json documents how every image was made.",
    )
    add_dataset_arguments(generate, split="test")
    generate.add_argument("--output", type=Path, required=True, help="folder of the variants")
    generate.add_argument(
        "--engine",
        choices=ECL_ENGINES,
        required=True,
        help="diffusers: InstructPix2Pix, as in the paper (needs its weights, and a GPU to be quick); "
        "classical: photometric augmentations of kornia, offline and fast, which are a stand-in and not the "
        "paper's images",
    )
    generate.add_argument(
        "--weights",
        metavar="NAME_OR_PATH",
        help="for --engine diffusers: an InstructPix2Pix pipeline's name on the Hugging Face hub, or its "
        "folder (default: timbrooks/instruct-pix2pix); safetensors only",
    )
    generate.add_argument(
        "--conditions",
        nargs="+",
        metavar="NAME",
        help="which conditions to make (default: all of the prompts' file: evening, winter and summer)",
    )
    generate.add_argument(
        "--prompts",
        type=Path,
        metavar="FILE",
        help="for --engine diffusers: a YAML file of prompts and settings in place of the shipped one",
    )
    generate.add_argument(
        "--seed", type=int, default=0, help="each image's seed follows from it (default: %(default)s)"
    )
    add_device_argument(generate)
    generate.set_defaults(function="run_generate")
