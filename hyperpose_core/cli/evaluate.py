"""`hyperpose evaluate`: a checkpoint and a dataset with poses in, errors and a report out."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from hyperpose_core import __version__
from hyperpose_core.checkpoint.file import Checkpoint
from hyperpose_core.cli.common import map_refiner_from, open_dataset_from
from hyperpose_core.datasets.findings import first_image_size
from hyperpose_core.datasets.records import PosedImageSet
from hyperpose_core.ecl.settings import describe_variants
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.evaluation import (
    Comparison,
    compare_with_published,
    print_table,
    require_published,
    score,
    write_report,
)
from hyperpose_core.evaluation.offline import (
    compare_estimates,
    estimate_images,
    retrieve,
    sample_pictures,
    shift_between_worlds,
    training_positions,
)
from hyperpose_core.evaluation.published import published_scene
from hyperpose_core.evaluation.refined_scores import score_refined
from hyperpose_core.inference.estimator import PoseEstimate, PoseEstimator
from hyperpose_core.refinement.map_refiner import MapRefiner
from hyperpose_core.refinement.offline import compare_refined, refine_images

_NO_RETRIEVAL = "not measured: the checkpoint remembers no training images (`hyperpose baseline` measures it)"


def run(arguments: argparse.Namespace) -> int:
    """Evaluate as the arguments say.

    Raises:
        HyperPoseError: the checkpoint, the data, the device or another argument is wrong.
    """
    if arguments.batch_size < 1:
        raise HyperPoseError(f"--batch-size is {arguments.batch_size}; it must be at least 1")
    estimator = PoseEstimator.load(
        arguments.checkpoint, arguments.device, arguments.turns, arguments.engine, arguments.precision
    )
    data = open_dataset_from(arguments)
    if arguments.compare:
        require_published(published_scene(image.scene, image.sequence) for image in data.images)
    refiner = map_refiner_from(arguments, estimator.checkpoint, data.camera)
    output = arguments.output or Path("evaluation") / _file_name(data.name)
    _make_folder(output)
    _tell_about(data, estimator.checkpoint)
    if (size := first_image_size(data.images)) is not None and (note := estimator.squash_note(*size[::-1])):
        print(f"note: {data.name}: {note}")
    shift_between_worlds(data, estimator.checkpoint.world)  # told before the long part
    estimates, milliseconds = estimate_images(estimator, data.images, arguments.batch_size)
    comparison = compare_estimates(estimator, data, estimates, milliseconds)
    refined = None if refiner is None else _refined(refiner, data, estimates)
    retrieval = retrieve(estimator, data, estimates)
    scores = score(comparison)
    published = compare_with_published(scores) if arguments.compare else ()
    report = write_report(
        output,
        comparison,
        title=f"{arguments.checkpoint.stem} on {data.name}",
        metadata=_metadata(arguments, estimator, data, refiner),
        pictures=sample_pictures(data.images, comparison),
        published=published,
        refined=refined,
        retrieval=retrieval,
        training_positions=training_positions(estimator, data),
    )
    print_table(
        scores,
        published,
        refined=None if refined is None else score_refined(refined),
        retrieval=None if retrieval is None else score(retrieval).overall,
    )
    if retrieval is None:
        print(f"\nretrieval beside the network: {_NO_RETRIEVAL}")
    print(f"\nreport: {report}")
    return 0


def _refined(refiner: MapRefiner, data: PosedImageSet, estimates: Sequence[PoseEstimate]) -> Comparison:
    refined = refine_images(refiner, data.images, estimates)
    for reason, count in refined.reasons.items():
        print(f"not verified by the map: {count} of {len(estimates)} frames: {reason}")
    return compare_refined(refined, data, refiner)


def _make_folder(path: Path) -> None:
    # Before the images are looked at: a report that cannot be written would cost the whole run.
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HyperPoseError(f"{path}: cannot make the report's folder: {error.strerror}") from error


def _tell_about(data: PosedImageSet, checkpoint: Checkpoint) -> None:
    for cause, count in data.dropped.items():
        print(f"{data.name}: left out {count} frames: {cause}")
    unknown = sorted(set(data.scenes) - set(checkpoint.scenes))
    if checkpoint.scenes and unknown:
        trained = ", ".join(checkpoint.scenes)
        print(f"note: the checkpoint knows scene {trained}; the data has {', '.join(unknown)}")


def _metadata(
    arguments: argparse.Namespace,
    estimator: PoseEstimator,
    data: PosedImageSet,
    refiner: MapRefiner | None,
) -> dict[str, object]:
    checkpoint = estimator.checkpoint
    variants = describe_variants(data.images)
    return {
        "checkpoint": str(arguments.checkpoint),
        "architecture": checkpoint.architecture,
        "model_options": checkpoint.options,
        "training": checkpoint.training,
        "validation": checkpoint.validation,
        "covariance": checkpoint.uncertainty.source,
        "data": str(arguments.data),
        "split": arguments.split,
        **({"conditions_made_by": variants} if variants else {}),
        "frames_left_out": data.dropped,
        **({"unit": data.world.unit_note} if data.world.unit_note else {}),
        "device": str(estimator.device),
        "engine": estimator.engine.name,
        "precision": estimator.engine.precision,
        "batch_size": arguments.batch_size,
        "virtual_turns_deg": arguments.turns,
        **({"retrieval": _NO_RETRIEVAL} if checkpoint.uncertainty.per_image is None else {}),
        **({} if refiner is None else {"map": refiner.map.source}),
        "threads": estimator.engine.threads,
        "versions": {
            "hyperpose": __version__,
            estimator.engine.runtime: version(estimator.engine.runtime),
        },
    }


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("_.") or "data"
