"""What the refiner's covariances say, and how a map is calibrated on its own images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from landmark_scene import CAMERA, Room, landmark_map, looking, tour

from hyperpose_core.datasets.records import PosedImage
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.landmarks.landmark_map import LandmarkMap
from hyperpose_core.landmarks.map_calibration import calibrate_map, held_out_blocks
from hyperpose_core.landmarks.pose_covariance import (
    CovarianceModel,
    HeldOutErrors,
    fit_covariance,
    log_likelihoods,
)
from hyperpose_core.landmarks.refinement import Prior
from hyperpose_core.landmarks.refiner import Refiner
from hyperpose_core.uncertainty.fit import CHI_SQUARE_3, squared_mahalanobis

ROOM, POSES = Room(1), tour(40)
HERE = looking(3.4, 2.3, 100.0)


@pytest.fixture(scope="module")
def room_map() -> LandmarkMap:
    return landmark_map({"room": ROOM}, POSES)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[PosedImage]:
    folder = tmp_path_factory.mktemp("room")
    records = []
    for index, pose in enumerate(POSES):
        path = folder / f"{index:04d}.png"
        cv2.imwrite(str(path), cv2.cvtColor(ROOM.render(pose), cv2.COLOR_RGB2BGR))
        records.append(PosedImage(path, pose, "room", "walk"))
    return records


@pytest.fixture(scope="module")
def calibrated(room_map: LandmarkMap, images: list[PosedImage]) -> LandmarkMap:
    return calibrate_map(room_map, images, map_without)


def map_without(removed: npt.NDArray[np.bool_]) -> LandmarkMap:
    return landmark_map(
        {"room": ROOM}, [pose for pose, is_gone in zip(POSES, removed, strict=True) if not is_gone]
    )


def simulated_errors(growth: float, floor: float, count: int, seed: int) -> HeldOutErrors:
    """Errors of images in blocks of ten; half of them see little: their geometry is far weaker."""
    generator = np.random.default_rng(seed)
    scales = np.where(generator.random(count) < 0.5, 1e-6, 1e-4)
    geometric = scales[:, np.newaxis, np.newaxis] * np.eye(6)
    deviations = np.sqrt(growth * scales + floor)[:, np.newaxis]
    return HeldOutErrors(generator.normal(size=(count, 6)) * deviations, geometric, np.arange(count) // 10)


def test_fitted_covariances_hold_their_shares_of_new_errors() -> None:
    model = fit_covariance(simulated_errors(20.0, 1e-4, 400, seed=0))
    new = simulated_errors(20.0, 1e-4, 4000, seed=1)
    covariances = model.from_geometry(new.geometric)

    for part in (slice(3), slice(3, 6)):
        squares = squared_mahalanobis(new.residuals[:, part], covariances[:, part, part])
        for share, limit in CHI_SQUARE_3.items():
            assert np.mean(squares < limit) == pytest.approx(share, abs=0.06)


def test_covariances_that_tell_images_apart_are_likelier_than_one_for_all() -> None:
    fitted, constant = log_likelihoods(simulated_errors(20.0, 1e-4, 120, seed=0))

    assert fitted > constant + 0.5


def test_what_is_far_away_leaves_the_position_less_certain(room_map: LandmarkMap) -> None:
    refiner = Refiner(room_map)
    near, far = (
        refiner.refine(ROOM.render(pose), CAMERA, Prior(pose, np.eye(6) * 0.01))
        for pose in (looking(4.0, 2.5, 0.0), looking(2.1, 2.5, 0.0))
    )

    assert near.covariance is not None and far.covariance is not None
    assert np.trace(near.covariance[:3, :3]) < np.trace(far.covariance[:3, :3])
    for covariance in (near.covariance, far.covariance):
        assert np.allclose(covariance, covariance.T)
        assert np.linalg.eigvalsh(covariance)[0] > 0.0


def test_a_map_is_calibrated_on_its_own_images(calibrated: LandmarkMap, room_map: LandmarkMap) -> None:
    calibration = calibrated.calibration
    assert calibration is not None
    verified, asked = calibration["verified"], calibration["images"]
    assert isinstance(verified, int) and isinstance(asked, int)
    # Blocks of 36 degrees are left out: not all of the images show enough of the rest.
    assert asked > 10 and verified > asked / 2
    assert 0.0 < calibration["median_position_error_m"] < 0.02  # type: ignore[operator]
    answers = [
        Refiner(content).refine(ROOM.render(HERE), CAMERA, Prior(HERE, np.eye(6) * 0.01))
        for content in (room_map, calibrated)
    ]
    assert all(answer.verified for answer in answers)
    assert not np.allclose(answers[0].covariance, answers[1].covariance)  # type: ignore[arg-type]


def test_the_calibration_is_kept_in_the_file(calibrated: LandmarkMap, tmp_path: Path) -> None:
    calibrated.save(tmp_path / "room.map")
    loaded = LandmarkMap.load(tmp_path / "room.map")

    assert loaded.calibration == calibrated.calibration
    expected, found = (CovarianceModel.of_map(content, 1.0) for content in (calibrated, loaded))
    assert np.array_equal(expected.position_floor, found.position_floor)


def test_a_damaged_calibration_is_told(calibrated: LandmarkMap) -> None:
    assert calibrated.calibration is not None
    damaged = {**calibrated.calibration, "pose_covariance": {"growth": [1.0]}}

    with pytest.raises(HyperPoseError, match="calibration is damaged: pose_covariance"):
        Refiner(replace(calibrated, calibration=damaged))


def test_other_images_than_the_maps_are_an_error(room_map: LandmarkMap, images: list[PosedImage]) -> None:
    with pytest.raises(HyperPoseError, match="the map has 40 images, 3 were given"):
        calibrate_map(room_map, images[:3], map_without)


def test_every_image_is_localised_in_a_map_without_it(
    room_map: LandmarkMap, images: list[PosedImage]
) -> None:
    asked: list[npt.NDArray[np.bool_]] = []

    def nothing_left(removed: npt.NDArray[np.bool_]) -> LandmarkMap:
        asked.append(removed)
        raise HyperPoseError("nothing could be triangulated")

    calibration = calibrate_map(room_map, images, nothing_left).calibration

    assert calibration is not None and calibration["verified"] == 0
    chosen = np.concatenate(held_out_blocks(images))
    assert len(asked) > 1 and np.sum(asked, axis=0)[chosen].tolist() == [1] * len(chosen)
    assert max(removed.mean() for removed in asked) < 0.4


def test_blocks_are_of_one_recording_each(images: list[PosedImage]) -> None:
    two = [replace(image, sequence="walk" if index < 17 else "run") for index, image in enumerate(images)]

    blocks = held_out_blocks(two)

    assert all(len({two[index].sequence for index in block}) == 1 for block in blocks)
    assert {two[block[0]].sequence for block in blocks} == {"walk", "run"}
