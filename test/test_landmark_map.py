"""The file of a landmark map, what fits into a budget, and what other tools get."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from landmark_scene import Room, landmark_map, tour
from safetensors.numpy import load_file, save_file

from benchmarks.landmark_growth import resized
from hyperpose_core.datasets import open_dataset
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.poses import orientation_errors_deg
from hyperpose_core.geometry.world import World
from hyperpose_core.landmarks.budget import parse_size, select_landmarks, within_budget
from hyperpose_core.landmarks.landmark_map import LandmarkMap
from hyperpose_core.landmarks.map_export import export_map


@pytest.fixture(scope="module")
def room_map() -> LandmarkMap:
    """A map of two rooms, with everything that a map may hold."""
    content = landmark_map({"attic": Room(1), "cellar": Room(2)}, tour(12))
    features = np.eye(len(content.images), 7, dtype=np.float16)
    return replace(
        content,
        images=replace(content.images, network_features=features),
        world=World(
            "two rooms", origin=np.array([620_000.1, 5_730_000.2, 3.3]), utm_zone="30U", up=(0, 0, 1)
        ),
        source={"data": "rooms", "settings": {"features": 600}},
        statistics={"reprojection_error_px": 0.25},
        appearance={"words": np.arange(6, dtype=np.float32).reshape(2, 3)},
        calibration={"covariance": {"scale": 1.5}},
    )


@pytest.fixture(scope="module")
def map_file(room_map: LandmarkMap, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("maps") / "rooms.map"
    room_map.save(path)
    return path


def arrays_of(content: LandmarkMap) -> dict[str, np.ndarray]:
    groups = (content.landmarks, content.images, content.observations)
    found = {
        f"{type(group).__name__}.{name}": np.asarray(value)
        for group in groups
        for name, value in vars(group).items()
        if value is not None
    }
    return found | dict(content.appearance)


def test_a_map_comes_back_from_its_file_as_it_was(room_map: LandmarkMap, map_file: Path) -> None:
    loaded = LandmarkMap.load(map_file)
    expected, got = arrays_of(room_map), arrays_of(loaded)
    assert got.keys() == expected.keys()
    for name, array in expected.items():
        assert np.array_equal(got[name], array), name
        assert got[name].dtype == array.dtype, name
    assert loaded.cameras == room_map.cameras
    assert loaded.scenes == ("attic", "cellar")
    assert loaded.world.to_dict() == room_map.world.to_dict()
    assert (loaded.source, loaded.statistics) == (room_map.source, room_map.statistics)
    assert loaded.calibration == {"covariance": {"scale": 1.5}}
    assert map_file.stat().st_size == room_map.size()


def test_overwriting_the_file_leaves_a_loaded_map_as_it_was(room_map: LandmarkMap, tmp_path: Path) -> None:
    path = tmp_path / "in use.map"
    room_map.save(path)
    in_use = LandmarkMap.load(path)
    # In place, too, which a mapped file would not survive.
    with path.open("r+b") as file:
        file.write(b"\xff" * path.stat().st_size)
    for name, array in arrays_of(room_map).items():
        assert np.array_equal(arrays_of(in_use)[name], array), name


def test_a_map_that_cannot_be_written_leaves_nothing_behind(room_map: LandmarkMap, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(HyperPoseError, match="cannot write the map"):
        room_map.save(tmp_path / "file" / "rooms.map")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_told_in_one_line(map_file: Path, tmp_path: Path, share: float) -> None:
    data = map_file.read_bytes()
    path = tmp_path / "short.map"
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(HyperPoseError, match=r"short\.map: truncated, or not a landmark map") as caught:
        LandmarkMap.load(path)
    assert "\n" not in str(caught.value)


def test_other_files_are_told_from_maps(map_file: Path, tmp_path: Path, tiny_checkpoint: Path) -> None:
    with pytest.raises(HyperPoseError, match="no such map"):
        LandmarkMap.load(tmp_path / "missing.map")
    with pytest.raises(HyperPoseError, match="cannot read the map"):
        LandmarkMap.load(tmp_path)
    with pytest.raises(HyperPoseError, match="a checkpoint, not a landmark map"):
        LandmarkMap.load(tiny_checkpoint)
    foreign = tmp_path / "foreign.map"
    save_file(load_file(map_file), foreign)
    with pytest.raises(HyperPoseError, match="not a landmark map"):
        LandmarkMap.load(foreign)
    newer = tmp_path / "newer.map"
    newer.write_bytes(
        map_file.read_bytes().replace(b'"hyperpose_map_version":"1"', b'"hyperpose_map_version":"9"')
    )
    with pytest.raises(HyperPoseError, match="map format version 9; this program reads 1"):
        LandmarkMap.load(newer)


def break_array(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[dict], None]:
    def apply(arrays: dict[str, np.ndarray]) -> None:
        arrays[name] = np.ascontiguousarray(change(arrays[name].copy()))

    return apply


def put(index: int, value: float) -> Callable[[np.ndarray], np.ndarray]:
    def apply(array: np.ndarray) -> np.ndarray:
        array.reshape(-1)[index] = value
        return array

    return apply


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (break_array("landmarks/positions", put(4, np.nan)), "landmarks/positions holds numbers that are"),
        (break_array("landmarks/scenes", put(0, 2)), r"landmarks/scenes holds indices outside 0\.\.1"),
        (break_array("images/cameras", put(3, -1)), r"images/cameras holds indices outside 0\.\.0"),
        (break_array("observations/landmarks", put(0, 10**6)), "observations/landmarks holds indices"),
        (break_array("observations/image_offsets", put(2, 10**6)), "observations/image_offsets does not"),
        (break_array("landmarks/descriptors", lambda a: a[:, :64]), "landmarks/descriptors is uint8"),
        (break_array("landmarks/view_cosines", lambda a: a[:-1]), "landmarks/view_cosines is float32"),
        (break_array("images/positions", lambda a: a.astype(np.float32)), "images/positions is float32"),
        (break_array("images/orientations", lambda a: a * 0), "images/orientations holds quaternions that"),
        (lambda arrays: arrays.pop("landmarks/distance_ranges"), "'landmarks/distance_ranges' is missing"),
    ],
)  # fmt: skip
def test_damaged_arrays_are_named(
    map_file: Path, tmp_path: Path, change: Callable[[dict], None], message: str
) -> None:
    data = map_file.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    arrays = load_file(map_file)
    change(arrays)
    path = tmp_path / "damaged.map"
    # A file of another program's making may have no checksum, which would find the damage first.
    metadata = {key: value for key, value in header["__metadata__"].items() if key != "crc32"}
    save_file(arrays, path, metadata)
    with pytest.raises(HyperPoseError, match=f"damaged.map: the map is damaged: {message}"):
        LandmarkMap.load(path)


def test_a_budget_is_held_and_leaves_every_image_its_landmarks(room_map: LandmarkMap, tmp_path: Path) -> None:
    budget = room_map.size() // 3
    small = within_budget(room_map, budget)
    small.save(tmp_path / "small.map")
    size = (tmp_path / "small.map").stat().st_size
    assert 0.9 * budget < size <= budget
    assert within_budget(room_map, room_map.size()) is room_map
    assert small.observations.pixels is None
    seen, seen_before = (np.diff(content.observations.image_offsets) for content in (small, room_map))
    assert (seen > 0.15 * seen_before).all()


def test_landmarks_keep_their_observers_when_others_go(room_map: LandmarkMap) -> None:
    kept = np.flatnonzero(np.arange(len(room_map.landmarks)) % 3 == 0)
    small = select_landmarks(room_map, kept)
    for image in (0, 7, len(room_map.images) - 1):
        before = room_map.landmarks.positions[room_map.observations.of_image(image)]
        after = small.landmarks.positions[small.observations.of_image(image)]
        is_kept = np.isin(room_map.observations.of_image(image), kept)
        assert np.array_equal(after, before[is_kept])


def test_maps_of_other_sizes_are_copies_side_by_side_or_the_most_useful_landmarks(
    room_map: LandmarkMap,
) -> None:
    count = len(room_map.landmarks)
    smaller, larger = resized(room_map, count // 3), resized(room_map, 2 * count)
    assert (len(smaller.landmarks), len(smaller.images)) == (count // 3, len(room_map.images))
    assert (len(larger.landmarks), len(larger.images)) == (2 * count, 2 * len(room_map.images))
    again = larger.observations.of_image(len(room_map.images))
    gaps = larger.landmarks.positions[again] - larger.images.positions[len(room_map.images)]
    first = room_map.landmarks.positions[room_map.observations.of_image(0)] - room_map.images.positions[0]
    np.testing.assert_allclose(gaps, first, atol=1e-4)


def test_a_budget_too_small_for_the_images_is_refused(room_map: LandmarkMap) -> None:
    with pytest.raises(
        HyperPoseError, match=r"a budget of 1,000 bytes holds no landmark: the 24 images take"
    ):
        within_budget(room_map, 1000)


@pytest.mark.parametrize(
    ("text", "size"), [("20MB", 20_000_000), ("1.5 kB", 1500), ("1GiB", 2**30), ("77", 77)]
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "-3MB", "0", "20 apples", "2e6"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(HyperPoseError, match="expected a number and a unit, such as 20MB"):
        parse_size(text)


def test_the_exported_model_is_one_that_colmap_tools_read(room_map: LandmarkMap, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    export_map(room_map, folder)
    (tmp_path / "images").mkdir()
    images = open_dataset(folder, format="colmap", images=str(tmp_path / "images"))
    order = np.argsort(room_map.images.names)
    assert np.allclose(images.positions(), room_map.images.positions[order], atol=1e-6)
    assert orientation_errors_deg(images.orientations(), room_map.images.orientations[order]).max() < 1e-5
    assert images.camera == room_map.cameras[0]
    points = [line.split() for line in (folder / "points3D.txt").read_text().splitlines()[1:]]
    assert len(points) == len(room_map.landmarks)
    assert sum(len(point[8:]) // 2 for point in points) == len(room_map.observations)
    ply = (folder / "landmarks.ply").read_text().split("end_header\n")
    assert f"element vertex {len(room_map.landmarks)}" in ply[0]
    assert np.allclose(
        np.fromstring(ply[1], sep=" ").reshape(-1, 5)[:, :3], room_map.landmarks.positions, atol=1e-4
    )


def test_an_observation_of_the_exported_model_lies_where_its_point_projects(
    room_map: LandmarkMap, tmp_path: Path
) -> None:
    export_map(room_map, tmp_path)
    points = {
        line.split()[0]: np.array(line.split()[1:4], dtype=float)
        for line in (tmp_path / "points3D.txt").read_text().splitlines()[1:]
    }
    lines = (tmp_path / "images.txt").read_text().splitlines()[1:]
    fx, fy, cx, cy = (float(value) for value in (tmp_path / "cameras.txt").read_text().split()[-4:])
    pose = room_map.images.pose(0)
    observed = np.array(lines[1].split()).reshape(-1, 3)
    levers = np.array([points[number] for number in observed[:, 2]]) - pose.position
    seen = levers @ pose.rotation()
    pixels = seen[:, :2] / seen[:, 2:] * (fx, fy) + (cx, cy)
    # COLMAP counts from the corner; the made-up map merges features within 1.5 cm.
    assert np.median(np.abs(pixels - observed[:, :2].astype(float))) < 1.0
