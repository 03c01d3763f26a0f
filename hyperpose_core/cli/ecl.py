"""`hyperpose ecl`: test frames in other light and season, as in the Extended Cambridge Landmarks."""

from __future__ import annotations

import argparse

from hyperpose_core.cli.common import open_dataset_from
from hyperpose_core.datasets import dataset_format
from hyperpose_core.ecl.conditions import load_conditions
from hyperpose_core.ecl.generation import Generated, generate_variants
from hyperpose_core.ecl.open_engine import open_engine
from hyperpose_core.errors import HyperPoseError


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
