"""`hyperpose ablate`: the same training with and without hypernetwork, over several seeds."""

from __future__ import annotations

import argparse

from hyperpose_core.cli.common import open_dataset_from
from hyperpose_core.cli.experiment_data import open_test_data_from, recipe_overrides_from
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.evaluation.statistics import Bootstrap
from hyperpose_core.experiments.ablation import run_ablation
from hyperpose_core.experiments.ablation_report import format_ablation, write_ablation
from hyperpose_core.training.recipe import load_recipe


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
