"""From a dataset and an estimator to a `Comparison`: the offline half of an evaluation."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from hyperpose_core.datasets.records import PosedImage, PosedImageSet
from hyperpose_core.errors import HyperPoseError, named
from hyperpose_core.evaluation.comparison import Comparison
from hyperpose_core.evaluation.condition_drop import pair_frames
from hyperpose_core.evaluation.metrics import FrameErrors, Scores, frame_errors, score
from hyperpose_core.evaluation.published import published_scene
from hyperpose_core.evaluation.report import Picture, PictureRow
from hyperpose_core.geometry.poses import Array, Pose
from hyperpose_core.geometry.world import World
from hyperpose_core.images import RgbImage
from hyperpose_core.inference.estimator import PoseEstimate, PoseEstimator

_SAMPLE_PICTURES = 4


def evaluate(estimator: PoseEstimator, data: PosedImageSet, batch_size: int = 1) -> Scores:
    """Estimate the pose of every image and score it against the true one, without any alignment.

    The arguments and errors are those of `estimate_dataset`.
    """
    return score(estimate_dataset(estimator, data, batch_size))


def estimate_dataset(estimator: PoseEstimator, data: PosedImageSet, batch_size: int = 1) -> Comparison:
    """Estimate the pose of every image and set it beside the true one, in the checkpoint's world.

    Args:
        estimator: the network.
        data: images with true poses.
        batch_size: images that go through the network together; 1 times a robot's case.

    Raises:
        HyperPoseError: an image is unreadable, or the data lies in another UTM zone than the checkpoint's
            world.
    """
    shift_between_worlds(data, estimator.checkpoint.world)  # told before the long part
    return compare_estimates(estimator, data, *estimate_images(estimator, data.images, batch_size))


def compare_estimates(
    estimator: PoseEstimator,
    data: PosedImageSet,
    estimates: Sequence[PoseEstimate],
    milliseconds: Sequence[float],
) -> Comparison:
    """Set a network's answers to a dataset's images beside the true poses, in the checkpoint's world.

    Raises:
        HyperPoseError: the data lies in another UTM zone than the checkpoint's world.
    """
    checkpoint = estimator.checkpoint
    uncertainty = checkpoint.uncertainty
    return compare_with_truth(
        data,
        [estimate.pose for estimate in estimates],
        milliseconds,
        shift=shift_between_worlds(data, checkpoint.world),
        covariances=[estimate.covariance for estimate in estimates],
        constant_covariance=None if uncertainty.per_image is None else uncertainty.covariance,
        up=data.world.up or checkpoint.world.up,
    )


def retrieve(
    estimator: PoseEstimator, data: PosedImageSet, estimates: Sequence[PoseEstimate]
) -> Comparison | None:
    """Give each frame the pose of the remembered training image that looks most alike to the network.

    Returns:
        None where the checkpoint remembers no training images.

    Raises:
        HyperPoseError: the data lies in another UTM zone than the checkpoint's world.
    """
    checkpoint = estimator.checkpoint
    if checkpoint.uncertainty.per_image is None:
        return None
    memory = checkpoint.uncertainty.per_image.memory
    poses: list[Pose | None] = []
    for estimate in estimates:
        known = np.flatnonzero(memory.scenes == estimate.scene_index)
        if estimate.features is None or not np.isfinite(estimate.features).all() or not len(known):
            poses.append(None)
            continue
        place = known[int(np.square(memory.features[known] - estimate.features).sum(axis=1).argmin())]
        poses.append(Pose(memory.positions[place], memory.orientations[place]))
    return compare_with_truth(
        data,
        poses,
        None,
        shift=shift_between_worlds(data, checkpoint.world),
        up=data.world.up or checkpoint.world.up,
    )


def training_positions(estimator: PoseEstimator, data: PosedImageSet) -> dict[str, Array]:
    """Return where a network was trained, [M, 3] metres, by the names of a comparison's scenes."""
    checkpoint = estimator.checkpoint
    if checkpoint.region is None:
        return {}
    regions = checkpoint.region.positions
    by_scene = dict(zip(checkpoint.scenes, regions, strict=False))
    positions = {}
    labels = {published_scene(image.scene, image.sequence): image.scene for image in data.images}
    for label, scene in labels.items():
        found = regions[0] if len(regions) == 1 else by_scene.get(scene)
        if found is not None:
            positions[label] = found
    return positions


def compare_with_truth(
    data: PosedImageSet,
    poses: Sequence[Pose | None],
    milliseconds: Sequence[float] | None,
    *,
    shift: Array,
    covariances: Sequence[Array | None] | None = None,
    constant_covariance: Array | None = None,
    up: Sequence[float] | None = None,
) -> Comparison:
    """Set estimated poses beside a dataset's true ones.

    Args:
        data: images with true poses.
        poses: the estimates, in the estimator's world; None for a frame without an estimate.
        milliseconds: what each took, or None.
        shift: what takes positions of the data's world to the estimator's, [3] metres.
        covariances: of the estimates, or None.
        constant_covariance: one for all, to compare with, or None.
        up: direction of the world's vertical, or None.
    """
    stamps = [image.stamp_ns for image in data.images if image.stamp_ns is not None]
    return Comparison.from_poses(
        poses,
        [Pose(image.pose.position + shift, image.pose.orientation) for image in data.images],
        stamps_ns=stamps if len(stamps) == len(data.images) else None,
        scenes=[published_scene(image.scene, image.sequence) for image in data.images],
        conditions=[image.condition for image in data.images],
        milliseconds=milliseconds,
        covariances=covariances,
        constant_covariance=constant_covariance,
        up=up,
    )


def shift_between_worlds(data: PosedImageSet, world: World) -> Array:
    """Return what takes positions of the data's world to another, [3] metres.

    Raises:
        HyperPoseError: the two lie in different UTM zones.
    """
    zone, other = data.world.utm_zone, world.utm_zone
    if zone and other and zone != other:
        raise HyperPoseError(f"{data.name}: its world is in UTM zone {zone}, the estimator's in {other}")
    return data.world.origin - world.origin if zone == other else np.zeros(3)


def sample_pictures(records: Sequence[PosedImage], comparison: Comparison) -> list[PictureRow]:
    """Return the frames with the largest and the smallest errors, both kinds of error weighing the same.

    Where frames are there in several conditions, one of them in every condition comes first.
    """
    errors = frame_errors(comparison)
    ranks = [np.argsort(np.argsort(values)) for values in (errors.position_m, errors.orientation_deg)]
    order = np.argsort(ranks[0] + ranks[1], kind="stable").tolist()
    count = min(_SAMPLE_PICTURES, len(records) // 2)
    rows = [("Worst frames", order[::-1][:count]), ("Best frames", order[:count])]
    conditions = _frame_in_every_condition(comparison, errors)
    if conditions:
        rows.insert(0, ("One frame in every condition", conditions))
    return [
        PictureRow(title, tuple(_picture(records[index], index, comparison, errors) for index in chosen))
        for title, chosen in rows
    ]


def _frame_in_every_condition(comparison: Comparison, errors: FrameErrors) -> list[int]:
    """Return the places of one frame, of middle error in the original, the original's place first."""
    pairs = pair_frames(
        comparison.conditions,
        comparison.scenes,
        comparison.true_positions,
        comparison.true_orientations,
    )
    variants = [dict(zip(pair.original.tolist(), pair.variant.tolist(), strict=True)) for pair in pairs]
    shared = set.intersection(*(set(places) for places in variants)) if variants else set()
    if not shared:
        return []
    middle = sorted(shared, key=lambda place: errors.position_m[place])[len(shared) // 2]
    return [middle, *(places[middle] for places in variants)]


def _picture(record: PosedImage, index: int, comparison: Comparison, errors: FrameErrors) -> Picture:
    text = "no estimate"
    if comparison.estimated[index]:
        text = f"{errors.position_m[index]:.3f} m, {errors.orientation_deg[index]:.2f} deg"
    if record.condition:
        text = f"{record.condition}, {text}"
    return Picture(f"{frame_name(record)}: {text}", record.read())


def frame_name(record: PosedImage) -> str:
    """Return what to call a frame in a report: scene, sequence and file."""
    return "/".join(part for part in (record.scene, record.sequence, record.path.name) if part)


def estimate_images(
    estimator: PoseEstimator, records: Sequence[PosedImage], batch_size: int = 1
) -> tuple[list[PoseEstimate], list[float]]:
    """Return the estimate and the milliseconds of each image, from decoded pixels to pose.

    Raises:
        HyperPoseError: an image is unreadable.
    """
    height, width = records[0].read().shape[:2]
    estimator.warm_up(height, width)
    estimates: list[PoseEstimate] = []
    milliseconds: list[float] = []
    with tqdm(total=len(records), desc="evaluating", unit="image", dynamic_ncols=True) as progress:
        for start in range(0, len(records), batch_size):
            batch = records[start : start + batch_size]
            images = [record.read() for record in batch]
            begin = time.perf_counter()
            estimates += _estimate_batch(estimator, batch, images)
            elapsed = 1e3 * (time.perf_counter() - begin)
            milliseconds += [elapsed / len(images)] * len(images)
            progress.update(len(images))
    return estimates, milliseconds


def _estimate_batch(
    estimator: PoseEstimator, records: Sequence[PosedImage], images: Sequence[RgbImage]
) -> list[PoseEstimate]:
    inputs = []
    for record, image in zip(records, images, strict=True):
        with named(record.path):
            inputs.append(estimator.preprocess(image))
    return estimator.infer_each(inputs)
