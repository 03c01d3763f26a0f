"""A dataset's images through a landmark map, after the network: the offline half of an evaluation."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tqdm import tqdm

from hyperpose_core.datasets.records import PosedImage, PosedImageSet
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.evaluation.comparison import Comparison
from hyperpose_core.evaluation.offline import compare_with_truth, shift_between_worlds
from hyperpose_core.inference.estimator import PoseEstimate
from hyperpose_core.landmarks.pose_covariance import known_constant_covariance
from hyperpose_core.landmarks.refinement import Refinement
from hyperpose_core.refinement.map_refiner import MapRefiner


@dataclass(frozen=True, eq=False)
class RefinedImages:
    """What a map says of images.

    Attributes:
        refinements: one an image; None if its camera is unknown.
        milliseconds: what each took, from decoded pixels to pose.
        reasons: why images are not verified, and how many for each reason.
    """

    refinements: Sequence[Refinement | None]
    milliseconds: Sequence[float]
    reasons: Mapping[str, int]


def refine_images(
    refiner: MapRefiner, records: Sequence[PosedImage], estimates: Sequence[PoseEstimate]
) -> RefinedImages:
    """Refine a network's poses; an image whose intrinsics are not known counts as not verified.

    Args:
        refiner: the checkpoint's map.
        records: the images.
        estimates: the network's estimates.

    Raises:
        HyperPoseError: an image is unreadable.
    """
    refinements: list[Refinement | None] = []
    milliseconds: list[float] = []
    reasons: Counter[str] = Counter()
    pairs = list(zip(records, estimates, strict=True))
    for record, estimate in tqdm(pairs, "refining", unit="image", file=sys.stderr, dynamic_ncols=True):
        image = record.read()
        begin = time.perf_counter()
        try:
            refinement = refiner.refine(image, estimate, camera=record.camera)
        except HyperPoseError as error:
            reasons[str(error)] += 1
            refinements.append(None)
            milliseconds.append(float("nan"))
            continue
        milliseconds.append(1e3 * (time.perf_counter() - begin))
        refinements.append(refinement)
        if not refinement.verified:
            reasons["" if refinement.reason is None else refinement.reason.value] += 1
    return RefinedImages(refinements, milliseconds, reasons)


def compare_refined(refined: RefinedImages, data: PosedImageSet, refiner: MapRefiner) -> Comparison:
    """Set a map's verified poses beside the true ones, in the map's world; other frames are unanswered.

    Raises:
        HyperPoseError: the data lies in another UTM zone than the map's world.
    """
    verified = [
        refinement if refinement is not None and refinement.verified else None
        for refinement in refined.refinements
    ]
    return compare_with_truth(
        data,
        [None if refinement is None else refinement.pose for refinement in verified],
        refined.milliseconds,
        shift=shift_between_worlds(data, refiner.map.world),
        covariances=[None if refinement is None else refinement.covariance for refinement in verified],
        constant_covariance=known_constant_covariance(refiner.map),
        up=data.world.up or refiner.map.world.up,
    )
