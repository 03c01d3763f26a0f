"""`hyperpose ecl`: test frames in other light and season, as in the Extended Cambridge Landmarks."""

from __future__ import annotations

import argparse
from pathlib import Path

from hyperpose_core.cli.common import add_dataset_arguments, add_device_argument, open_dataset_from
from hyperpose_core.datasets import dataset_format
from hyperpose_core.ecl.conditions import load_conditions
from hyperpose_core.ecl.generation import Generated, generate_variants
from hyperpose_core.ecl.open_engine import ENGINES, open_engine
from hyperpose_core.errors import HyperPoseError


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
        "label CSV that holds the original frames, too. Interrupted, the same command goes on where it was. "
        "ecl_settings.json says how every image was made.",
    )
    add_dataset_arguments(generate, split="test")
    generate.add_argument("--output", type=Path, required=True, help="folder of the variants")
    generate.add_argument(
        "--engine",
        choices=ENGINES,
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
    generate.set_defaults(run=run_generate)


def run_generate(arguments: argparse.Namespace) -> int:
    """Make the variants that the arguments describe.

    Raises:
        HyperPoseError: the data, the prompts, the weights, the folder or another argument is wrong.
    """
    if arguments.prompts is not None and arguments.engine == "classical":
        raise HyperPoseError("--prompts goes with --engine diffusers; the classical engine reads none")
    conditions = load_conditions(arguments.prompts).chosen(arguments.conditions)
    data = open_dataset_from(arguments)
    engine = open_engine(arguments.engine, conditions, arguments.weights, arguments.device)
    is_cambridge = dataset_format(arguments.data, arguments.format) == "cambridge"
    print(
        f"{data.name}: {len(data.images)} frames in {', '.join(conditions.conditions)}; "
        f"{engine.settings['images_are']}"
    )
    generated = generate_variants(
        data,
        arguments.output,
        engine,
        conditions,
        seed=arguments.seed,
        cambridge=is_cambridge,
        split=arguments.split,
    )
    print(f"{generated.made} images made, {generated.kept} were there already")
    print(
        f"score a checkpoint on them: hyperpose evaluate CHECKPOINT {_data_arguments(arguments, generated)}"
    )
    return 0


def _data_arguments(arguments: argparse.Namespace, generated: Generated) -> str:
    if generated.labels is not None:
        return f"--data {generated.labels} --split {arguments.split}"
    return f"--data {arguments.data} --data-option extended={arguments.output} --data-option conditions=all"
