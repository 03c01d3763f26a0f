"""The refiner on a room whose camera poses are known exactly."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from landmark_scene import CAMERA, Room, landmark_map, looking, tour

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Pose, orientation_errors_deg
from hyperpose_core.images import RgbImage
from hyperpose_core.landmarks.landmark_map import LandmarkMap
from hyperpose_core.landmarks.refinement import Prior, Reason, Refinement, Source
from hyperpose_core.landmarks.refiner import Refiner

KITCHEN, CELLAR, ELSEWHERE = Room(1), Room(2), Room(3)
UNCERTAIN = np.diag([0.1**2] * 3 + [np.radians(4.0) ** 2] * 3)
HERE = looking(3.4, 2.3, 100.0)


@pytest.fixture(scope="module")
def kitchen_map() -> LandmarkMap:
    return landmark_map({"kitchen": KITCHEN}, tour())


@pytest.fixture(scope="module")
def refiner(kitchen_map: LandmarkMap) -> Refiner:
    return Refiner(kitchen_map)


@pytest.fixture(scope="module")
def house() -> Refiner:
    return Refiner(landmark_map({"cellar": CELLAR, "kitchen": KITCHEN}, tour(24)))


def check_is_right(answer: Refinement, truth: Pose) -> None:
    assert answer.verified and answer.reason is None
    assert answer.pose is not None
    assert np.linalg.norm(answer.pose.position - truth.position) < 0.02
    assert orientation_errors_deg(answer.pose.orientation, truth.orientation) < 0.3


@pytest.mark.parametrize("yaw_deg", [20.0, 100.0, 190.0, 280.0])
def test_a_rough_prior_becomes_a_verified_pose_to_the_centimetre(refiner: Refiner, yaw_deg: float) -> None:
    truth = looking(3.4, 2.3, yaw_deg)
    prior = Prior(looking(3.25, 2.45, yaw_deg + 6.0), UNCERTAIN)

    answer = refiner.refine(KITCHEN.render(truth), CAMERA, prior)

    check_is_right(answer, truth)
    assert answer.source is Source.PRIOR
    assert answer.inliers == len(answer.inlier_pixels) == len(answer.inlier_landmarks) > 30
    assert answer.spread > 0.5


def test_inliers_are_where_their_landmarks_are_seen(refiner: Refiner) -> None:
    answer = refiner.refine(KITCHEN.render(HERE), CAMERA, Prior(HERE, UNCERTAIN))

    positions = refiner.map.landmarks.positions[answer.inlier_landmarks]
    seen = (positions - HERE.position) @ HERE.rotation()
    pixels = seen[:, :2] / seen[:, 2:] * CAMERA.fx + (CAMERA.cx, CAMERA.cy)
    assert np.median(np.linalg.norm(pixels - answer.inlier_pixels, axis=1)) < 1.0


def test_a_wrong_prior_is_found_out_and_the_images_that_look_alike_help(refiner: Refiner) -> None:
    wrong = Prior(looking(2.3, 2.9, 280.0), UNCERTAIN)

    answer = refiner.refine(KITCHEN.render(HERE), CAMERA, wrong)

    check_is_right(answer, HERE)
    assert answer.source is Source.APPEARANCE
    assert answer.attempts > 1


def test_without_a_prior_the_whole_map_is_searched(refiner: Refiner) -> None:
    check_is_right(refiner.refine(KITCHEN.render(HERE), CAMERA), HERE)


def test_the_last_verified_pose_helps_where_the_prior_fails(refiner: Refiner) -> None:
    wrong = Prior(looking(2.3, 2.9, 280.0), UNCERTAIN)
    last = Prior(looking(3.3, 2.3, 96.0), UNCERTAIN, source=Source.LAST_VERIFIED)

    answer = refiner.refine(KITCHEN.render(HERE), CAMERA, wrong, [last])

    check_is_right(answer, HERE)
    assert answer.source is Source.LAST_VERIFIED


def test_network_features_lead_to_map_images(kitchen_map: LandmarkMap) -> None:
    places = np.eye(len(kitchen_map.images), dtype=np.float16)
    nearest = np.argmin(orientation_errors_deg(kitchen_map.images.orientations, HERE.orientation))
    images = replace(kitchen_map.images, network_features=places)
    refiner = Refiner(replace(kitchen_map, images=images))

    answer = refiner.refine(
        KITCHEN.render(HERE), CAMERA, Prior(network_features=places[nearest].astype(np.float32))
    )

    check_is_right(answer, HERE)
    assert answer.source is Source.NETWORK_FEATURES
    with pytest.raises(HyperPoseError, match=f"features have {len(places)} numbers, the prior's 3"):
        refiner.refine(KITCHEN.render(HERE), CAMERA, Prior(network_features=np.ones(3)))


@pytest.mark.parametrize("yaw_deg", [0.0, 60.0, 120.0, 180.0, 240.0, 300.0])
def test_another_place_is_not_verified(refiner: Refiner, yaw_deg: float) -> None:
    pose = looking(3.0, 2.5, yaw_deg)

    answer = refiner.refine(ELSEWHERE.render(pose), CAMERA, Prior(pose, UNCERTAIN))

    assert not answer.verified
    assert answer.reason is not None


def blank() -> RgbImage:
    return np.full((CAMERA.height, CAMERA.width, 3), 90, dtype=np.uint8)


def noise() -> RgbImage:
    return np.random.default_rng(0).integers(0, 256, (CAMERA.height, CAMERA.width, 3), dtype=np.uint8)


def blurred() -> RgbImage:
    return np.asarray(cv2.GaussianBlur(KITCHEN.render(HERE), (0, 0), 25.0), dtype=np.uint8)


@pytest.mark.parametrize(
    ("image", "reason"),
    [(blank(), Reason.NO_FEATURES), (noise(), None), (blurred(), None)],
    ids=["blank", "noise", "blurred"],
)
def test_an_image_that_shows_nothing_is_not_verified(
    refiner: Refiner, image: RgbImage, reason: Reason | None
) -> None:
    answer = refiner.refine(image, CAMERA, Prior(HERE, UNCERTAIN))

    assert not answer.verified and answer.reason is not None
    assert reason in (None, answer.reason)
    assert answer.seconds["total"] > 0.0


def test_half_a_view_is_right_or_not_verified(refiner: Refiner) -> None:
    image = KITCHEN.render(HERE)
    image[:, : CAMERA.width // 2] = 0

    answer = refiner.refine(image, CAMERA, Prior(HERE, UNCERTAIN))

    if answer.verified:
        check_is_right(answer, HERE)


def test_the_scene_of_the_prior_is_searched_and_no_other(house: Refiner) -> None:
    image = CELLAR.render(HERE)

    check_is_right(house.refine(image, CAMERA, Prior(HERE, UNCERTAIN, "cellar")), HERE)
    assert not house.refine(image, CAMERA, Prior(HERE, UNCERTAIN, "kitchen")).verified
    check_is_right(house.refine(image, CAMERA), HERE)


def test_a_scene_that_the_map_does_not_have_is_told(house: Refiner) -> None:
    answer = house.refine(KITCHEN.render(HERE), CAMERA, Prior(HERE, UNCERTAIN, "attic"))

    assert answer.reason is Reason.UNKNOWN_SCENE
    assert answer.pose is None and not answer.verified


def test_a_lens_that_distorts_gives_the_same_pose(refiner: Refiner) -> None:
    bent = replace(CAMERA, distortion=(-0.25, 0.06, 0.001, -0.001, 0.0))

    check_is_right(refiner.refine(KITCHEN.render(HERE, bent), bent, Prior(HERE, UNCERTAIN)), HERE)


def test_another_camera_than_the_maps_gives_the_same_pose(refiner: Refiner) -> None:
    wide = CameraModel(width=400, height=240, fx=220.0, fy=225.0, cx=190.0, cy=125.0)

    check_is_right(refiner.refine(KITCHEN.render(HERE, wide), wide, Prior(HERE, UNCERTAIN)), HERE)


def test_wrong_intrinsics_are_not_verified_as_a_right_pose(refiner: Refiner) -> None:
    other = replace(CAMERA, fx=2.0 * CAMERA.fx, fy=2.0 * CAMERA.fy)

    assert not refiner.refine(KITCHEN.render(HERE), other, Prior(HERE, UNCERTAIN)).verified


def test_intrinsics_of_another_image_size_are_an_error(refiner: Refiner) -> None:
    with pytest.raises(HyperPoseError, match="the image is 160x120 pixels, its camera 320x240"):
        refiner.refine(np.zeros((120, 160, 3), dtype=np.uint8), CAMERA)


def test_the_same_image_gives_the_same_answer(refiner: Refiner) -> None:
    image = KITCHEN.render(HERE)
    first, second = (refiner.refine(image, CAMERA, Prior(HERE, UNCERTAIN)) for _ in range(2))

    assert first.pose is not None and second.pose is not None
    assert np.array_equal(first.pose.matrix(), second.pose.matrix())
    assert first.score == second.score


def test_a_map_without_landmarks_is_an_error(kitchen_map: LandmarkMap) -> None:
    landmarks = kitchen_map.landmarks
    empty = replace(landmarks, **{name: value[:0] for name, value in vars(landmarks).items()})
    none = replace(
        kitchen_map.observations,
        landmarks=np.zeros(0, dtype=np.int32),
        pixels=None,
        image_offsets=np.zeros(len(kitchen_map.images) + 1, dtype=np.int64),
    )

    with pytest.raises(HyperPoseError, match="map is empty"):
        Refiner(replace(kitchen_map, landmarks=empty, observations=none))
