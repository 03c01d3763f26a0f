"""Landmark maps built from rendered rooms, whose walls are known exactly."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from landmark_images import CAMERA_OPTION, write_rooms
from landmark_scene import CAMERA, SIZE_M, Room, tour

from hyperpose_core.datasets import open_dataset
from hyperpose_core.datasets.records import PosedImageSet
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import (
    Pose,
    normalize_quaternion,
    orientation_errors_deg,
    quaternion_to_matrix,
    rotation_vector_to_quaternion,
)
from hyperpose_core.landmarks.budget import within_budget
from hyperpose_core.landmarks.building import build_map
from hyperpose_core.landmarks.features import extract_features
from hyperpose_core.landmarks.landmark_map import LandmarkMap
from hyperpose_core.landmarks.lens import camera_matrix, normalized_points
from hyperpose_core.landmarks.map_settings import MapSettings
from hyperpose_core.landmarks.pairs import pairs_by_pose
from hyperpose_core.landmarks.triangulation import TrackObservations, triangulate
from hyperpose_core.landmarks.view_graph import Progress, ViewGraph

SETTINGS = MapSettings(features=800, calibrate=False)
BENT_CAMERA = CameraModel(360, 270, 230.0, 232.0, 176.0, 138.0, (-0.22, 0.06, 0.002, -0.001, 0.01))


def open_rooms(labels: Path) -> PosedImageSet:
    return open_dataset(labels, **dict([CAMERA_OPTION.split("=")]))


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> PosedImageSet:
    """Images of one room."""
    return open_rooms(write_rooms(tmp_path_factory.mktemp("hall"), {"hall": Room(1)}, tour(32)))


@pytest.fixture(scope="module")
def hall_map(hall: PosedImageSet, tmp_path_factory: pytest.TempPathFactory) -> LandmarkMap:
    return build_map(hall, tmp_path_factory.mktemp("map") / "hall.map", SETTINGS)


def distances_to_walls(content: LandmarkMap) -> np.ndarray:
    positions = content.landmarks.positions
    return np.minimum(np.abs(positions), np.abs(positions - SIZE_M)).min(axis=1)


def test_landmarks_lie_on_the_walls(hall_map: LandmarkMap) -> None:
    distances = distances_to_walls(hall_map)
    assert len(distances) > 1000
    assert np.median(distances) < 0.02
    assert np.quantile(distances, 0.9) < 0.08


def test_a_landmarks_covariance_says_how_far_off_it_is(hall_map: LandmarkMap) -> None:
    distances = distances_to_walls(hall_map)
    deviations = np.sqrt(hall_map.landmarks.position_covariances[:, [0, 3, 5]].sum(axis=1))
    sharp = deviations < np.quantile(deviations, 0.3)
    vague = deviations > np.quantile(deviations, 0.7)
    assert np.median(distances[vague]) > 2.0 * np.median(distances[sharp])
    # A distance to a wall has one of the three dimensions.
    assert np.mean(distances < 3.0 * deviations) > 0.9


def test_a_map_says_from_where_its_landmarks_were_seen(hall_map: LandmarkMap) -> None:
    images, seen = hall_map.observations.images(), hall_map.observations.landmarks
    levers = hall_map.images.positions[images] - hall_map.landmarks.positions[seen]
    distances = np.linalg.norm(levers, axis=1)
    ranges = hall_map.landmarks.distance_ranges[seen]
    assert (distances > ranges[:, 0] - 1e-3).all()
    assert (distances < ranges[:, 1] + 1e-3).all()
    cosines = np.sum(levers * hall_map.landmarks.view_directions[seen], axis=1) / distances
    assert (cosines > hall_map.landmarks.view_cosines[seen] - 1e-4).all()
    assert (np.bincount(seen) >= 2).all()


def test_merged_descriptors_are_found_again_in_a_new_image(hall_map: LandmarkMap) -> None:
    pose = tour(97)[10]
    image = Room(1).render(pose)
    levers = hall_map.landmarks.positions - pose.position
    seen = levers @ pose.rotation()
    pixels = seen[:, :2] / seen[:, 2:] * (CAMERA.fx, CAMERA.fy) + (CAMERA.cx, CAMERA.cy)
    found = extract_features(image, count=800)
    similarities = found.descriptors.astype(np.float32) @ hall_map.landmarks.descriptors.T.astype(np.float32)
    best = similarities.argmax(axis=1)
    errors = np.linalg.norm(pixels[best] - found.points, axis=1)[seen[best, 2] > 0]
    assert np.sum(errors < 3.0) > 150


def test_a_budget_keeps_what_many_images_see(hall_map: LandmarkMap) -> None:
    small = within_budget(hall_map, hall_map.size() // 3)
    views, views_before = (
        len(content.observations) / len(content.landmarks) for content in (small, hall_map)
    )
    assert views > 1.2 * views_before  # a draw would keep the mean


def test_one_map_holds_several_scenes(tmp_path: Path) -> None:
    rooms = {"attic": Room(1), "cellar": Room(2)}
    images = open_rooms(write_rooms(tmp_path / "rooms", rooms, tour(20)))
    content = build_map(images, tmp_path / "rooms.map", replace(SETTINGS, features=400))
    assert content.scenes == ("attic", "cellar")
    # Both rooms stand in the same place: what they look like must not mix.
    observers = content.images.scenes[content.observations.images()]
    assert np.array_equal(content.landmarks.scenes[content.observations.landmarks], observers)
    assert np.bincount(content.landmarks.scenes).min() > 300


def test_images_of_several_cameras_and_a_bent_lens_fit_together(tmp_path: Path) -> None:
    poses = tour(28)
    straight = open_rooms(write_rooms(tmp_path / "straight", {"hall": Room(1)}, poses[::2]))
    bent = open_rooms(write_rooms(tmp_path / "bent", {"hall": Room(1)}, poses[1::2], BENT_CAMERA))
    bent_images = tuple(replace(image, camera=BENT_CAMERA) for image in bent.images)
    images = PosedImageSet("both", straight.images + bent_images, camera=CAMERA)
    content = build_map(images, tmp_path / "both.map", SETTINGS)
    assert content.cameras == (CAMERA, BENT_CAMERA)
    assert np.array_equal(content.images.cameras, [0] * 14 + [1] * 14)
    assert np.median(distances_to_walls(content)) < 0.02
    seen_by = content.images.cameras[content.observations.images()]
    by_camera = [np.unique(content.observations.landmarks[seen_by == camera]) for camera in (0, 1)]
    assert len(np.intersect1d(*by_camera)) > 300


def test_the_lens_is_undone_as_opencv_bends() -> None:
    points = np.random.default_rng(0).uniform((-0.6, -0.5, 1.0), (0.6, 0.5, 1.0), (200, 3))
    bent = np.array(BENT_CAMERA.distortion)
    pixels, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), camera_matrix(BENT_CAMERA), bent)
    assert np.abs(normalized_points(BENT_CAMERA, pixels[:, 0]) - points[:, :2]).max() < 1e-6


def test_features_of_a_reduced_image_lie_where_those_of_the_full_one_do() -> None:
    image = Room(1).render(tour(8)[1])
    full, reduced = extract_features(image), extract_features(image, longest_side=240)
    nearest = np.linalg.norm(full.points[:, None] - reduced.points[None], axis=2).min(axis=0)
    assert np.median(nearest) < 0.6
    shifts = [
        full.points[np.linalg.norm(full.points - point, axis=1).argmin()] - point for point in reduced.points
    ]
    # No bias: half a pixel is what a wrong convention of pixel centres makes.
    assert np.abs(np.median(shifts, axis=0)).max() < 0.1


def test_adjusting_poses_undoes_small_errors_and_keeps_the_world(hall: PosedImageSet, tmp_path: Path) -> None:
    pytest.importorskip("pycolmap", reason="adjusting poses needs the extra `map`: pycolmap is not installed")
    generator = np.random.default_rng(3)
    noisy = []
    for image in hall.images:
        turn = Pose(np.zeros(3), rotation_vector_to_quaternion(generator.normal(0, 0.004, 3)))
        position = image.pose.position + generator.normal(0, 0.02, 3)
        noisy.append(replace(image, pose=Pose(position, (turn @ image.pose).orientation)))
    images = replace(hall, images=tuple(noisy))
    content = build_map(images, tmp_path / "adjusted.map", replace(SETTINGS, adjust_poses=True))
    truth = hall.positions()
    before = np.linalg.norm(images.positions() - truth, axis=1)
    after = np.linalg.norm(content.images.positions - truth, axis=1)
    assert np.median(after) < 0.6 * np.median(before)
    turns = orientation_errors_deg(content.images.orientations, hall.orientations())
    assert np.median(turns) < 0.5
    assert 0.005 < content.statistics["adjusted_position_median_m"] < 0.1
    assert abs(content.cameras[0].fx / CAMERA.fx - 1.0) < 0.02


class InterruptedBuildError(Exception):
    """What a test stops a build with."""


def stop_after(images: int, totals: list[int]) -> Progress:
    """Return a progress that notes how much there is to do and raises after so many images."""

    def progress(work: Iterable[object], title: str, total: int) -> Iterable[object]:
        totals.append(total)
        for done, item in enumerate(work):
            if title == "features" and done == images:
                raise InterruptedBuildError
            yield item

    return progress


def test_an_interrupted_build_goes_on_and_gives_the_same_map(
    hall: PosedImageSet, hall_map: LandmarkMap, tmp_path: Path
) -> None:
    path = tmp_path / "hall.map"
    totals: list[int] = []
    with pytest.raises(InterruptedBuildError):
        build_map(hall, path, SETTINGS, stop_after(5, totals))
    assert not path.exists()
    content = build_map(hall, path, SETTINGS, stop_after(10**6, totals))
    assert totals[0] == 32
    assert totals[1] <= 32 - 5
    for group in ("landmarks", "images", "observations"):
        for name, array in vars(getattr(hall_map, group)).items():
            assert np.array_equal(getattr(getattr(content, group), name), array), name
    assert [file.name for file in tmp_path.iterdir()] == ["hall.map"]


def test_work_on_other_images_is_not_taken_up(hall: PosedImageSet, tmp_path: Path) -> None:
    totals: list[int] = []
    for images in (hall, replace(hall, images=hall.images[:20])):
        with pytest.raises(InterruptedBuildError):
            build_map(images, tmp_path / "hall.map", SETTINGS, stop_after(5, totals))
    assert totals == [32, 20]


def test_intrinsics_must_be_known_and_fit_the_images(hall: PosedImageSet, tmp_path: Path) -> None:
    with pytest.raises(HyperPoseError, match="--data-option camera=WIDTH,HEIGHT,FX,FY,CX,CY"):
        build_map(replace(hall, camera=None), tmp_path / "a.map", SETTINGS)
    with pytest.raises(HyperPoseError, match=r"hall-000\.png: 320x240 pixels, but the camera is for 640x480"):
        build_map(replace(hall, camera=replace(CAMERA, width=640, height=480)), tmp_path / "b.map", SETTINGS)


def test_an_image_without_features_is_left_without_landmarks(hall: PosedImageSet, tmp_path: Path) -> None:
    blank = tmp_path / "blank.png"
    cv2.imwrite(str(blank), np.full((CAMERA.height, CAMERA.width, 3), 128, np.uint8))
    images = list(hall.images)
    images[3] = replace(images[3], path=blank)
    content = build_map(replace(hall, images=tuple(images)), tmp_path / "hall.map", SETTINGS)
    seen = np.diff(content.observations.image_offsets)
    assert seen[3] == 0
    assert (np.delete(seen, 3) > 50).all()
    assert content.statistics["images_without_landmarks"] == 1


def test_images_that_show_nothing_in_common_make_no_map(hall: PosedImageSet, tmp_path: Path) -> None:
    with pytest.raises(HyperPoseError, match="no two images of a scene"):
        build_map(replace(hall, images=hall.images[:1]), tmp_path / "one.map", SETTINGS)
    blank = tmp_path / "blank.png"
    cv2.imwrite(str(blank), np.full((CAMERA.height, CAMERA.width, 3), 128, np.uint8))
    images = tuple(replace(image, path=blank) for image in hall.images)
    with pytest.raises(HyperPoseError, match="nothing could be triangulated") as caught:
        build_map(replace(hall, images=images), tmp_path / "blank.map", SETTINGS)
    assert "\n" not in str(caught.value)
    with pytest.raises(HyperPoseError, match="no images to build a map from"):
        build_map(replace(hall, images=()), tmp_path / "none.map", SETTINGS)


def test_a_graph_without_some_images_has_the_matches_between_the_others() -> None:
    graph = ViewGraph(
        offsets=np.array([0, 3, 5, 9]),
        matches=np.array([[0, 3], [2, 5], [1, 8], [4, 6]]),
        similarities=np.array([0.9, 0.8, 0.7, 0.6], dtype=np.float32),
        epipolar_errors_px=np.array([1.0, 2.0, 3.0, 4.0], dtype=np.float32),
        pose_deviation_px=1.0,
        pair_count=3,
    )
    rest = graph.rows(np.array([True, False, True]))
    assert rest.offsets.tolist() == [0, 3, 7]
    assert rest.matches.tolist() == [[2, 3], [1, 6]]
    assert rest.epipolar_errors_px.tolist() == [2.0, 3.0]


def test_a_map_is_calibrated_without_the_images_that_it_is_tried_on(
    hall: PosedImageSet, tmp_path: Path
) -> None:
    calibration = build_map(hall, tmp_path / "hall.map", replace(SETTINGS, calibrate=True)).calibration
    assert calibration is not None
    verified, asked = calibration["verified"], calibration["images"]
    assert isinstance(verified, int) and isinstance(asked, int) and 10 <= verified <= asked
    assert 0.0 < calibration["median_position_error_m"] < 0.1  # type: ignore[operator]
    assert "pose_covariance" in calibration


def test_partners_share_a_scene_and_a_direction_and_stand_apart() -> None:
    poses = tour(30)
    poses[1] = poses[0]
    scenes = np.array([0] * 15 + [1] * 15, dtype=np.int16)
    pairs = pairs_by_pose(poses, scenes, 10, 40.0)
    assert len(pairs) > 30
    assert (scenes[pairs[:, 0]] == scenes[pairs[:, 1]]).all()
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert [0, 1] not in pairs.tolist()
    for first, second in pairs:
        directions = [poses[index].rotation()[:, 2] for index in (first, second)]
        assert directions[0] @ directions[1] > np.cos(np.radians(40.0))


def test_a_point_on_a_lens_is_no_trouble() -> None:
    # Wrong matches put it there: one camera's nose touches it, and others are too far to add anything.
    generator = np.random.default_rng(0)
    tracks = 300
    turns = [quaternion_to_matrix(normalize_quaternion(generator.normal(size=4))) for _ in range(2 * tracks)]
    rotations = np.array(turns)
    centres = np.zeros((2 * tracks, 3))
    centres[1::2] = 0.0011 * rotations[::2, :, 2] - 1e5 * rotations[1::2, :, 2]
    starts = np.arange(0, 2 * tracks, 2)
    observed = TrackObservations(
        starts, centres, rotations, np.zeros((2 * tracks, 2)), np.full(2 * tracks, 5e3)
    )
    found = triangulate(observed, 2.5)
    assert np.isfinite(found.positions).all()
    assert np.isfinite(found.covariances).all()
