"""`hyperpose evaluate`: a checkpoint and a dataset with poses in, errors and a report out."""

from __future__ import annotations

import argparse
import itertools
import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from hyperpose_core import __version__
from hyperpose_core.checkpoint import Checkpoint
from hyperpose_core.cli.common import add_dataset_arguments, add_device_argument, open_dataset_from
from hyperpose_core.datasets.records import PosedImage, PosedImageSet
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.estimator import PoseEstimate, PoseEstimator
from hyperpose_core.evaluation import (
    Comparison,
    Picture,
    PictureRow,
    compare_with_published,
    frame_errors,
    print_table,
    require_published,
    score,
    write_report,
)
from hyperpose_core.evaluation.published import published_scene
from hyperpose_core.geometry import Pose
from hyperpose_core.images import RgbImage

_SAMPLE_PICTURES = 4


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb's parser."""
    parser = subparsers.add_parser(
        "evaluate",
        help="score a checkpoint on images whose poses are known",
        description="Estimate the pose of every image and compare it with the true one, without any "
        "alignment. Prints median, mean, 95th percentile and maximum of the position and orientation errors, "
        "recalls and the time an image takes; writes results.json, TUM trajectories for evo, plots and "
        "report.html.",
    )
    parser.add_argument("checkpoint", type=Path, help="a .safetensors checkpoint")
    add_dataset_arguments(parser, split="test")
    parser.add_argument(
        "--output", type=Path, help="folder of the report (default: evaluation/<name of the data>)"
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        default=1,
        help="images that go through the network together (default: %(default)s, which times a robot's case)",
    )
    parser.add_argument(
        "--compare",
        action="store_true",
        help="set the result beside the paper's tables (7Scenes, Cambridge, RobotCar)",
    )
    add_device_argument(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate as the arguments say.

    Raises:
        HyperPoseError: the checkpoint, the data, the device or another argument is wrong.
    """
    if arguments.batch_size < 1:
        raise HyperPoseError(f"--batch-size is {arguments.batch_size}; it must be at least 1")
    estimator = PoseEstimator.load(arguments.checkpoint, arguments.device)
    data = open_dataset_from(arguments)
    if arguments.compare:
        require_published(published_scene(image.scene, image.sequence) for image in data.images)
    output = arguments.output or Path("evaluation") / _file_name(data.name)
    _make_folder(output)
    _tell_about(data, estimator.checkpoint)
    shift = _shift_between_worlds(data, estimator.checkpoint)
    estimates, milliseconds = _estimate_all(estimator, data.images, arguments.batch_size)
    comparison = _compare(data, estimates, milliseconds, shift, estimator.checkpoint)
    scores = score(comparison)
    published = compare_with_published(scores) if arguments.compare else ()
    report = write_report(
        output,
        comparison,
        title=f"{arguments.checkpoint.stem} on {data.name}",
        metadata=_metadata(arguments, estimator, data),
        pictures=_samples(data.images, comparison),
        published=published,
    )
    print_table(scores, published)
    print(f"\nreport: {report}")
    return 0


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


def _shift_between_worlds(data: PosedImageSet, checkpoint: Checkpoint) -> np.ndarray:
    """Return what takes positions of the data's world to the checkpoint's, [3] metres."""
    ours, theirs = checkpoint.world, data.world
    if ours.utm_zone and theirs.utm_zone and ours.utm_zone != theirs.utm_zone:
        raise HyperPoseError(
            f"{data.name}: its world is in UTM zone {theirs.utm_zone}, the checkpoint's in {ours.utm_zone}"
        )
    return theirs.origin - ours.origin if ours.utm_zone == theirs.utm_zone else np.zeros(3)


def _estimate_all(
    estimator: PoseEstimator, records: Sequence[PosedImage], batch_size: int
) -> tuple[list[PoseEstimate], list[float]]:
    """Return the estimate and the milliseconds of each image, from decoded pixels to pose."""
    height, width = records[0].read().shape[:2]
    estimator.warm_up(height, width)
    estimates: list[PoseEstimate] = []
    milliseconds: list[float] = []
    with tqdm(total=len(records), desc="evaluating", unit="image", dynamic_ncols=True) as progress:
        for start in range(0, len(records), batch_size):
            images = [record.read() for record in records[start : start + batch_size]]
            begin = time.perf_counter()
            estimates += _estimate_batch(estimator, images)
            elapsed = 1e3 * (time.perf_counter() - begin)
            milliseconds += [elapsed / len(images)] * len(images)
            progress.update(len(images))
    return estimates, milliseconds


def _estimate_batch(estimator: PoseEstimator, images: Sequence[RgbImage]) -> Iterable[PoseEstimate]:
    inputs = [estimator.preprocess(image) for image in images]
    # A dataset may mix landscape and portrait pictures, which do not fit into one batch.
    for _, same_size in itertools.groupby(inputs, key=lambda tensor: tuple(tensor.shape)):
        yield from estimator.infer(torch.stack(list(same_size)))


def _compare(
    data: PosedImageSet,
    estimates: Sequence[PoseEstimate],
    milliseconds: Sequence[float],
    shift: np.ndarray,
    checkpoint: Checkpoint,
) -> Comparison:
    stamps = [image.stamp_ns for image in data.images if image.stamp_ns is not None]
    return Comparison.from_poses(
        [estimate.pose for estimate in estimates],
        [Pose(image.pose.position + shift, image.pose.orientation) for image in data.images],
        stamps_ns=stamps if len(stamps) == len(data.images) else None,
        scenes=[published_scene(image.scene, image.sequence) for image in data.images],
        conditions=[image.condition for image in data.images],
        milliseconds=milliseconds,
        covariances=[estimate.covariance for estimate in estimates],
        up=data.world.up or checkpoint.world.up,
    )


def _samples(records: Sequence[PosedImage], comparison: Comparison) -> list[PictureRow]:
    """Return the frames with the largest and the smallest errors, both kinds of error weighing the same."""
    errors = frame_errors(comparison)
    ranks = [np.argsort(np.argsort(values)) for values in (errors.position_m, errors.orientation_deg)]
    order = np.argsort(ranks[0] + ranks[1], kind="stable")
    count = min(_SAMPLE_PICTURES, len(records) // 2)
    rows = []
    for title, chosen in (("Worst frames", order[::-1][:count]), ("Best frames", order[:count])):
        pictures = []
        for index in chosen.tolist():
            text = f"{errors.position_m[index]:.3f} m, {errors.orientation_deg[index]:.2f} deg"
            record = records[index]
            place = "/".join(part for part in (record.scene, record.sequence, record.path.name) if part)
            pictures.append(
                Picture(f"{place}: {text if comparison.answered[index] else 'not answered'}", record.read())
            )
        rows.append(PictureRow(title, tuple(pictures)))
    return rows if count else []


def _metadata(
    arguments: argparse.Namespace, estimator: PoseEstimator, data: PosedImageSet
) -> dict[str, object]:
    checkpoint = estimator.checkpoint
    return {
        "checkpoint": str(arguments.checkpoint),
        "architecture": checkpoint.architecture,
        "model_options": checkpoint.options,
        "training": checkpoint.training,
        "validation": checkpoint.validation,
        "covariance": checkpoint.uncertainty.source,
        "data": str(arguments.data),
        "split": arguments.split,
        "frames_left_out": data.dropped,
        "device": str(estimator.device),
        "batch_size": arguments.batch_size,
        "torch_threads": torch.get_num_threads(),
        "versions": {"hyperpose": __version__, "torch": torch.__version__},
    }


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("_.") or "data"
