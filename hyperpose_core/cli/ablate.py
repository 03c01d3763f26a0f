"""`hyperpose ablate`: the same training with and without hypernetwork, over several seeds."""

from __future__ import annotations

import argparse
from pathlib import Path

from hyperpose_core.cli.common import add_dataset_arguments, add_device_argument, open_dataset_from
from hyperpose_core.cli.experiment_arguments import (
    add_recipe_override_arguments,
    add_test_data_arguments,
    open_test_data_from,
    recipe_overrides_from,
)
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.evaluation.statistics import Bootstrap
from hyperpose_core.experiments.ablation import PAIRS, run_ablation
from hyperpose_core.experiments.ablation_report import format_ablation, write_ablation
from hyperpose_core.training.recipe import load_recipe


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb's parser."""
    parser = subparsers.add_parser(
        "ablate",
        description="Train a network with and without its hypernetwork from the same seeds, score all on the "
        "test data, and say by how much the median errors differ, with confidence intervals. Interrupted, "
        "the same command goes on where it was; finished runs are not made again. Writes results.md, "
        "results.json and ablation.png.",
    )
    add_dataset_arguments(parser, split="train")
    add_test_data_arguments(parser)
    parser.add_argument(
        "--recipe", default="small_data", help="a shipped recipe's name or a YAML file (default: %(default)s)"
    )
    parser.add_argument(
        "--pair",
        choices=list(PAIRS),
        help="the network with hypernetwork (default: told from the recipe's model); without it, it is "
        + ", ".join(f"{without} for {name}" for name, without in PAIRS.items()),
    )
    add_recipe_override_arguments(parser)
    parser.add_argument("--seeds", type=int, default=3, help="pairs of runs (default: %(default)s)")
    parser.add_argument(
        "--confidence", type=float, default=0.95, help="of the intervals (default: %(default)s)"
    )
    parser.add_argument(
        "--block",
        type=int,
        help="consecutive test frames that are drawn together (default: told from how errors hang together)",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the runs and the results")
    add_device_argument(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Make the ablation that the arguments describe.

    Raises:
        HyperPoseError: the recipe, the data, the device or another argument is wrong.
    """
    if arguments.seeds < 1:
        raise HyperPoseError(f"--seeds is {arguments.seeds}; it must be at least 1")
    if not 0 < arguments.confidence < 1:
        raise HyperPoseError(f"--confidence is {arguments.confidence}; give a number between 0 and 1")
    if arguments.block is not None and arguments.block < 1:
        raise HyperPoseError(f"--block is {arguments.block}; it must be at least 1")
    ablation = run_ablation(
        load_recipe(arguments.recipe, recipe_overrides_from(arguments)),
        open_dataset_from(arguments),
        open_test_data_from(arguments),
        arguments.output,
        pair=arguments.pair,
        seeds=range(arguments.seeds),
        device=arguments.device,
        bootstrap=Bootstrap(block=arguments.block, confidence=arguments.confidence),
    )
    path = write_ablation(arguments.output, ablation)
    print(f"\n{format_ablation(ablation)}\n\nresults: {path}")
    return 0
