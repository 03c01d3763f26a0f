"""`hyperpose baseline`: what retrieving the most similar training frame achieves."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from hyperpose_core import __version__
from hyperpose_core.choices import BEST_POSSIBLE_FOLDER
from hyperpose_core.cli.common import open_dataset_from
from hyperpose_core.cli.experiment_data import open_test_data_from
from hyperpose_core.datasets.records import PosedImageSet
from hyperpose_core.evaluation import (
    Comparison,
    compare_with_published,
    print_table,
    require_published,
    score,
    write_report,
)
from hyperpose_core.evaluation.offline import sample_pictures
from hyperpose_core.evaluation.published import published_scene
from hyperpose_core.experiments.retrieval import (
    INPUT_SIZE,
    compare_matches,
    nearest_by_appearance,
    nearest_by_pose,
)


def run(arguments: argparse.Namespace) -> int:
    """Score both baselines.

    Raises:
        HyperPoseError: the data, the device or another argument is wrong.
    """
    training, test = open_dataset_from(arguments), open_test_data_from(arguments)
    if arguments.compare:
        require_published(published_scene(image.scene, image.sequence) for image in test.images)
    output = arguments.output or Path("baseline") / (
        re.sub(r"[^A-Za-z0-9._-]+", "_", test.name).strip("_.") or "data"
    )
    matches = nearest_by_appearance(training, test, arguments.backbone, arguments.device)
    _report(
        f"Nearest training frame by appearance ({arguments.backbone})",
        compare_matches(training, test, matches),
        arguments,
        test,
        output,
        compare=arguments.compare,
    )
    _report(
        "Nearest training frame by pose (the best possible)",
        compare_matches(training, test, nearest_by_pose(training, test)),
        arguments,
        test,
        output / BEST_POSSIBLE_FOLDER,
    )
    return 0


def _report(
    title: str,
    comparison: Comparison,
    arguments: argparse.Namespace,
    test: PosedImageSet,
    folder: Path,
    compare: bool = False,
) -> None:
    scores = score(comparison)
    published = compare_with_published(scores) if compare else ()
    print(f"\n{title}")
    print_table(scores, published)
    report = write_report(
        folder,
        comparison,
        title=f"{title}, {test.name}",
        metadata={
            "training_data": str(arguments.data),
            "test_data": [str(path) for path in arguments.test_data or [arguments.data]],
            "backbone": arguments.backbone,
            "input_size": list(INPUT_SIZE),
            "versions": {"hyperpose": __version__},
        },
        pictures=sample_pictures(test.images, comparison),
        published=published,
    )
    print(f"\nreport: {report}")
