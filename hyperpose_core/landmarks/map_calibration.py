"""Calibrates localisation in a map on its own images, each block of them left out of the map in its turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from hyperpose_core.datasets.records import PosedImage
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.poses import Array, Pose, quaternion_to_rotation_vector, relative_quaternion
from hyperpose_core.landmarks.candidates import CandidateFinder
from hyperpose_core.landmarks.landmark_map import LandmarkMap
from hyperpose_core.landmarks.localisation import Localisation, Localiser, QueryFeatures, Stopwatch
from hyperpose_core.landmarks.pose_covariance import (
    CALIBRATION_KEY,
    CONSTANT_KEY,
    HeldOutErrors,
    fit_covariance,
    geometric_covariance,
    log_likelihoods,
    one_covariance,
)
from hyperpose_core.landmarks.settings import RefinerSettings
from hyperpose_core.landmarks.verification import weigh
from hyperpose_core.landmarks.verification_constants import GENERAL_MODEL

MapWithout = Callable[[npt.NDArray[np.bool_]], LandmarkMap]
"""Gives the map as it would be without some of its images, bool [M]."""

_LARGEST_BLOCK = 50
_FEWEST_BLOCKS = 10
_BLOCKS = 12
_IMAGES_A_BLOCK = 12
# Blocks far from one another are left out together: a map without them takes long.
_ROUNDS = 4


@dataclass(frozen=True, eq=False)
class HeldOutPoses:
    """What localising images in a map without their own block gave.

    Attributes:
        asked: how many images.
        errors: of those that were verified.
    """

    asked: int
    errors: HeldOutErrors


def calibrate_map(
    content: LandmarkMap,
    images: Sequence[PosedImage],
    map_without: MapWithout,
    settings: RefinerSettings | None = None,
    show_progress: bool = False,
) -> LandmarkMap:
    """Return the map with the covariance that errors on held-out images call for.

    Where too few of them are verified, the map keeps the general constants, and its calibration says so.

    Args:
        content: the map.
        images: those it was built from, in its order.
        map_without: gives the map without some of them, built anew: an image that took part has chosen the
            landmarks that agree with its label, and lies nearer to it than any new one would.
        settings: of the refiner that will be used.
        show_progress: show a bar where there is a terminal.

    Raises:
        HyperPoseError: the images are not the map's, or one cannot be read.
    """
    if len(images) != len(content.images):
        raise HyperPoseError(
            f"the map has {len(content.images)} images, {len(images)} were given to calibrate it: give the "
            "same"
        )
    held_out = localise_held_out(content, images, map_without, settings or RefinerSettings(), show_progress)
    return replace(content, calibration={**(content.calibration or {}), **_document(held_out)})


def _document(held_out: HeldOutPoses) -> dict[str, object]:
    """Return what the map's file says of its calibration."""
    errors = held_out.errors
    document: dict[str, object] = {"images": held_out.asked, "verified": len(errors.blocks)}
    if len(errors.blocks):
        positions = np.linalg.norm(errors.residuals[:, :3], axis=1)
        rotations = np.degrees(np.linalg.norm(errors.residuals[:, 3:], axis=1))
        document["median_position_error_m"] = float(np.median(positions))
        document["median_orientation_error_deg"] = float(np.median(rotations))
    if errors.is_enough:
        fitted, constant = log_likelihoods(errors)
        document |= {
            CALIBRATION_KEY: fit_covariance(errors).to_dict(),
            "log_likelihood": fitted,
            "log_likelihood_of_one_covariance": constant,
            CONSTANT_KEY: one_covariance(errors).tolist(),
        }
    return document


def localise_held_out(
    content: LandmarkMap,
    images: Sequence[PosedImage],
    map_without: MapWithout,
    settings: RefinerSettings,
    show_progress: bool = False,
) -> HeldOutPoses:
    """Localise some images of each of some blocks in a map without them; the poses are priors, too.

    Raises:
        HyperPoseError: an image cannot be read.
    """
    blocks = held_out_blocks(images)
    asked = [block[:: max(1, -(-len(block) // _IMAGES_A_BLOCK))] for block in blocks]
    found: list[tuple[Array, Array, int]] = []
    with tqdm(
        total=sum(map(len, asked)), desc="calibrating", unit="image", disable=None if show_progress else True
    ) as bar:
        for turn in range(min(_ROUNDS, len(blocks))):
            numbers = range(turn, len(blocks), _ROUNDS)
            left_out = np.concatenate([blocks[number] for number in numbers])
            removed = np.isin(np.arange(len(images)), left_out)
            localiser = _localiser(map_without, removed, settings)
            for number in numbers:
                for index in asked[number].tolist():
                    localised = (
                        None if localiser is None else _localised(localiser, content, images[index], index)
                    )
                    bar.update()
                    if localised is not None:
                        found.append((*_error(localised, content.images.pose(index)), number))
    residuals, geometric, owners = zip(*found, strict=True) if found else ((), (), ())
    return HeldOutPoses(
        sum(map(len, asked)),
        HeldOutErrors(
            np.array(residuals).reshape(-1, 6),
            np.array(geometric).reshape(-1, 6, 6),
            np.array(owners, dtype=np.int64),
        ),
    )


def held_out_blocks(images: Sequence[PosedImage]) -> list[npt.NDArray[np.int64]]:
    """Return blocks of consecutive images of one recording, evenly from all, as places among the images."""
    size = min(max(len(images) // _FEWEST_BLOCKS, 1), _LARGEST_BLOCK)
    blocks = [
        np.array(run[start : start + size], dtype=np.int64)
        for run in _recordings(images)
        for start in range(0, len(run), size)
    ]
    chosen = np.unique(np.linspace(0, len(blocks) - 1, min(_BLOCKS, len(blocks))).round().astype(int))
    return [blocks[index] for index in chosen]


def _recordings(images: Sequence[PosedImage]) -> Iterator[list[int]]:
    for _, places in groupby(
        range(len(images)), key=lambda place: (images[place].scene, images[place].sequence)
    ):
        yield list(places)


def _localiser(
    map_without: MapWithout, removed: npt.NDArray[np.bool_], settings: RefinerSettings
) -> Localiser | None:
    """Return what localises images in the map without some of its own; None where nothing is left of it."""
    try:
        content = map_without(removed)
    except HyperPoseError:
        return None
    return Localiser(content, settings, CandidateFinder(content))


def _localised(
    localiser: Localiser, content: LandmarkMap, image: PosedImage, index: int
) -> Localisation | None:
    """Return the verified localisation of an image that is the map's image `index`."""
    camera = content.cameras[content.images.cameras[index]]
    features = QueryFeatures.of(image.read(), camera, localiser.settings)
    scene = int(content.images.scenes[index])
    near = localiser.finder.images_near(
        content.images.pose(index), None, scene, localiser.settings.map_images
    )
    localised = localiser.localise(features, near, None, camera, Stopwatch())
    if not isinstance(localised, Localisation):
        return None
    evidence = weigh(localised, camera, None, localiser.finder.viewing_distance)
    return localised if GENERAL_MODEL.score(evidence) >= GENERAL_MODEL.threshold else None


def _error(localised: Localisation, truth: Pose) -> tuple[Array, Array]:
    pose = localised.fitted.pose
    turn = quaternion_to_rotation_vector(relative_quaternion(truth.orientation, pose.orientation))
    residual = np.concatenate([pose.position - truth.position, turn])
    return residual, geometric_covariance(localised.fitted)
