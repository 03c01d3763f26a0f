"""What each option of a recipe brings: trainings that differ in one option, from the same seeds.

    python benchmarks/recipe_options.py --data labels.csv --data-option camera=... --seeds 3 --output options

Trains the base recipe and a variant for each entry of recipe_options.yaml, without the blocks of frames that
the recipe holds out for validation, and scores all on those blocks: no test frame is looked at, and no run
chooses its weights on the frames it is scored on. Two rows are no training: the nearest training frame by
appearance, and the best possible one. Interrupted, the same command goes on where it was; finished runs are
not made again. Writes results.md, results.json and options.png, anew after each seed.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from tqdm import tqdm

from hyperpose_core.cli.arguments.common import add_dataset_arguments, add_device_argument
from hyperpose_core.cli.common import open_dataset_from
from hyperpose_core.datasets.records import PosedImageSet
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.evaluation import tables
from hyperpose_core.evaluation.documents import markdown_table, write_results
from hyperpose_core.evaluation.metrics import FrameErrors, frame_errors
from hyperpose_core.evaluation.plot_style import interval_figure
from hyperpose_core.evaluation.statistics import Interval, compare_paired
from hyperpose_core.evaluation.tables import interval_text
from hyperpose_core.experiments.retrieval import compare_matches, nearest_by_appearance, nearest_by_pose
from hyperpose_core.experiments.runs import Run, make_run
from hyperpose_core.models.registry import default_options
from hyperpose_core.training.recipe import (
    Recipe,
    ValidationRecipe,
    load_recipe,
    recipe_from_dict,
    recipe_to_dict,
)
from hyperpose_core.training.split import split_blocks

OPTIONS_FILE = Path(__file__).with_suffix(".yaml")
PLOT_FILE = "options.png"
_BASE = "base"


@dataclass(frozen=True)
class Variant:
    """A training to make.

    Attributes:
        name: of its runs' folders.
        says: its row's name.
        recipe: how to train; holds nothing out.
    """

    name: str
    says: str
    recipe: Recipe


@dataclass(frozen=True)
class Row:
    """A variant's errors on the held-out frames.

    Attributes:
        says: what it is.
        position_m: median error, averaged over the seeds, metres.
        orientation_deg: likewise, degrees.
        position_difference: its median minus the base's, paired by frame and seed, metres.
        orientation_difference: likewise, degrees.
        by_seed: median errors (m, deg) of each seed; one entry where nothing is trained.
    """

    says: str
    position_m: Interval
    orientation_deg: Interval
    position_difference: Interval
    orientation_difference: Interval
    by_seed: tuple[tuple[float, float], ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """Make every run that is not made yet, and report."""
    options = _parser().parse_args(arguments)
    try:
        _run(options)
    except HyperPoseError as error:
        print(f"recipe_options: error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_dataset_arguments(parser, split="train")
    parser.add_argument("--recipe", default="virtual_turns", help="the base (default: %(default)s)")
    parser.add_argument("--epochs", type=int, help="passes over the training images (default: the recipe's)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="another key of the recipe to replace, in the base and in all variants; VALUE is YAML, such as "
        "'validation={fraction: 0.2, block: 50}'; may be repeated",
    )
    parser.add_argument(
        "--options", type=Path, default=OPTIONS_FILE, help="YAML file of the options (default: %(default)s)"
    )
    parser.add_argument("--seeds", type=int, default=3, help="runs of each variant (default: %(default)s)")
    parser.add_argument("--output", type=Path, required=True, help="folder of the runs and the results")
    add_device_argument(parser)
    return parser


def _run(options: argparse.Namespace) -> None:
    if options.seeds < 1:
        raise HyperPoseError(f"--seeds is {options.seeds}; it must be at least 1")
    overrides = _assignments(options.set) | ({} if options.epochs is None else {"epochs": options.epochs})
    data = open_dataset_from(options)
    validation = load_recipe(options.recipe, overrides).validation
    training, held_out = _split(data, validation)
    variants = make_variants(options.recipe, overrides, options.options)
    baselines = _baselines(training, held_out, options.device)
    errors: dict[str, list[FrameErrors]] = {variant.name: [] for variant in variants}
    facts = (
        f"Base recipe {options.recipe}"
        + (f" with {', '.join(f'{key}: {value}' for key, value in overrides.items())}" if overrides else "")
        + f". Trained on {len(training.images)} frames of {data.name}, scored on the {len(held_out.images)} "
        f"held out of training in blocks of {validation.block}."
    )
    with tqdm(total=len(variants) * options.seeds, desc="runs", unit="run", dynamic_ncols=True) as progress:
        for seed in range(options.seeds):
            for variant in variants:
                progress.set_postfix_str(f"{variant.name}, seed {seed}")
                folder = options.output / "runs" / f"{variant.name}-seed{seed}"
                run = Run(folder, variant.recipe, seed, training, held_out)
                errors[variant.name].append(make_run(run, options.device))
                progress.update()
            rows = compare_variants({variant.says: errors[variant.name] for variant in variants}, baselines)
            path = write_rows(options.output, rows, facts)
    print(f"\n{medians_table(rows)}\n\nresults: {path}")


def make_variants(recipe: str, overrides: Mapping[str, Any], options: Path = OPTIONS_FILE) -> list[Variant]:
    """Return the base recipe and what each option makes of it.

    Args:
        recipe: a shipped recipe's name or a YAML file.
        overrides: its keys to replace in all variants.
        options: YAML file of the options, as recipe_options.yaml.

    Raises:
        HyperPoseError: the recipe, a key or the file is wrong.
    """
    base = load_recipe(recipe, {**overrides, "validation": {"fraction": 0.0}})
    plain = recipe_to_dict(base)
    variants = [Variant(_BASE, "base recipe", base)]
    for name, entry in _read(options).items():
        variant = recipe_from_dict(_changed(plain, entry["changes"]), f"{options}: {name}")
        if variant == base:
            tqdm.write(f"{name}: left out, the base recipe is so already")
        else:
            variants.append(Variant(name, entry["says"], variant))
    return variants


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
        raise HyperPoseError(f"{path}: no file of options: {error}") from error


def _changed(plain: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    changed = dict(plain)
    for key, value in changes.items():
        changed[key] = {**plain[key], **value} if isinstance(value, dict) else value
    # Another architecture has some of the options only.
    known = default_options(changed["model"])
    options = changed["model_options"].items()
    return {**changed, "model_options": {key: value for key, value in options if key in known}}


def compare_variants(
    trained: Mapping[str, Sequence[FrameErrors]], baselines: Mapping[str, FrameErrors]
) -> list[Row]:
    """Compare everything with the base.

    Args:
        trained: errors on the held-out frames of each seed, by variant; the base comes first.
        baselines: errors of what is not trained.
    """
    base = next(iter(trained.values()))
    rows = [_row(says, base, runs) for says, runs in trained.items()]
    return rows + [_row(says, base, [errors]) for says, errors in baselines.items()]


def _row(says: str, base: Sequence[FrameErrors], runs: Sequence[FrameErrors]) -> Row:
    def values(errors: Sequence[FrameErrors], kind: str) -> NDArray[np.float64]:
        # What is not trained is the same for every seed.
        return np.array([getattr(errors[seed % len(errors)], kind) for seed in range(len(base))])

    position, orientation = (
        compare_paired(values(base, kind), values(runs, kind)) for kind in ("position_m", "orientation_deg")
    )
    return Row(
        says,
        position.second,
        orientation.second,
        position.difference,
        orientation.difference,
        tuple((float(np.median(run.position_m)), float(np.median(run.orientation_deg))) for run in runs),
    )


def write_rows(folder: Path, rows: Sequence[Row], facts: str) -> Path:
    """Write `results.md`, `results.json` and `options.png`; return the path of the first."""
    seeds = len(rows[0].by_seed)
    notes = (
        "Medians of the errors, averaged over the seeds; in brackets 95 % intervals, from draws of blocks of "
        f"frames and the spread of the seeds ({seeds}); differences to the base recipe are paired by frame "
        f"and seed. Of {2 * (len(rows) - 1)} differences about one in twenty looks decided by chance alone."
    )
    if seeds == 1:
        notes += " One seed: the intervals do not say how much another run of the same training would differ."
    figure = interval_figure(
        [row.says for row in rows[1:]],
        [row.position_difference for row in rows[1:]],
        [row.orientation_difference for row in rows[1:]],
        ("median position error\nagainst base (m)", "median orientation error\nagainst base (deg)"),
        reference=(0.0, 0.0),
    )
    document = {"about": facts, "seeds": seeds, "rows": [asdict(row) for row in rows]}
    blocks = [
        "# What each option of the recipe brings",
        facts,
        medians_table(rows),
        notes,
        _seeds_table(rows),
    ]
    return write_results(folder, document, blocks, {PLOT_FILE: figure})


def medians_table(rows: Sequence[Row]) -> str:
    """Return a row a variant: medians and differences to the base, with intervals."""
    cells = [["one change each", "median m", "against base", "median deg", "against base"]]
    for row in rows:
        is_base = row is rows[0]
        cells.append(
            [
                row.says,
                interval_text(row.position_m, tables.metres),
                "-" if is_base else _difference(row.position_difference, tables.metres),
                interval_text(row.orientation_deg, tables.degrees),
                "-" if is_base else _difference(row.orientation_difference, tables.degrees),
            ]
        )
    return markdown_table(cells)


def _difference(difference: Interval, form: Any) -> str:
    text = interval_text(difference, form, sign=True)
    if not difference.excludes(0.0):
        return text
    return f"{text} {'better' if difference.estimate < 0 else 'worse'}"


def _seeds_table(rows: Sequence[Row]) -> str:
    cells = [["medians by seed", *(f"seed {seed}" for seed in range(len(rows[0].by_seed)))]]
    for row in rows:
        if len(row.by_seed) == len(rows[0].by_seed):
            medians = [
                f"{tables.metres(metres)} m, {tables.degrees(degrees)} deg" for metres, degrees in row.by_seed
            ]
            cells.append([row.says, *medians])
    return markdown_table(cells)


def _split(data: PosedImageSet, validation: ValidationRecipe) -> tuple[PosedImageSet, PosedImageSet]:
    kept, held_out = split_blocks(data.images, validation)
    if not held_out:
        raise HyperPoseError(
            f"{data.name}: nothing to score on: validation.fraction {validation.fraction:g} of "
            f"{len(data.images)} images in blocks of {validation.block} holds out no block"
        )
    training, test = (
        dataclasses.replace(data, name=f"{data.name}, {name}", images=tuple(data.images[i] for i in places))
        for name, places in (("kept", kept), ("held out", held_out))
    )
    return training, test


def _baselines(training: PosedImageSet, held_out: PosedImageSet, device: str) -> dict[str, FrameErrors]:
    by_appearance = nearest_by_appearance(training, held_out, device=device)
    by_pose = nearest_by_pose(training, held_out)
    return {
        "nearest training frame by appearance": frame_errors(
            compare_matches(training, held_out, by_appearance)
        ),
        "nearest training frame by pose (best possible)": frame_errors(
            compare_matches(training, held_out, by_pose)
        ),
    }


def _assignments(texts: Sequence[str]) -> dict[str, Any]:
    values = {}
    for text in texts:
        key, separator, value = text.partition("=")
        try:
            values[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise HyperPoseError(f"--set {text!r}: the value is not YAML") from error
        if not separator:
            raise HyperPoseError(f"--set {text!r} is not of the form KEY=VALUE")
    return values


if __name__ == "__main__":
    sys.exit(main())
