"""Virtual moves of the camera: depth from posed images, images as from beside, labels that follow exactly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from hyperpose_core.datasets.image_cache import ImageCache
from hyperpose_core.datasets.records import PosedImage, PosedImageSet
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Pose, orientation_errors_deg, rotation_vector_to_quaternion
from hyperpose_core.images import Preprocessing
from hyperpose_core.training.augmentation import random_numbers
from hyperpose_core.training.recipe import Augmentation, Recipe, ValidationRecipe
from hyperpose_core.training.samples import Samples
from hyperpose_core.view_synthesis.depth_maps import DepthMaps, choose_neighbours
from hyperpose_core.view_synthesis.plane_sweep import inverse_depths
from hyperpose_core.view_synthesis.projection import pixel_rays
from hyperpose_core.view_synthesis.rotation import rotate_images
from hyperpose_core.view_synthesis.translation import synthesize_views

HEIGHT, WIDTH = 96, 128
CAMERA = CameraModel(WIDTH, HEIGHT, 110.0, 110.0, 63.5, 47.5)
WALL, BOARD = 3.0, 1.5
"""Depths of the scene's two surfaces, metres: a wall, and a board before its middle."""

STILL = Augmentation(
    random_crop=False, brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0, virtual_rotation_deg=6.0
)
PREPROCESSING = Preprocessing(resize=(HEIGHT, WIDTH), crop=None)


def paint(seed: int) -> np.ndarray:
    """Return a smooth random texture [256, 256, 3], one pixel of it 2 cm wide."""
    noise = np.random.default_rng(seed).uniform(0, 255, (256, 256, 3)).astype(np.float32)
    blurred = cv2.GaussianBlur(noise, (0, 0), 1.5)
    return np.clip((blurred - 127.5) * 4 + 127.5, 0, 255)


TEXTURES = {WALL: paint(1), BOARD: paint(2)}


def see(pose: Pose) -> tuple[np.ndarray, np.ndarray]:
    """Return what a camera in front of wall and board sees: RGB uint8 [h, w, 3] and depths [h, w], metres."""
    rays = pixel_rays(CAMERA, HEIGHT, WIDTH).numpy().reshape(3, -1).T @ pose.rotation().T
    colours, depths = np.zeros((len(rays), 3)), np.full(len(rays), np.inf)
    for surface, texture in TEXTURES.items():
        depth = (surface - pose.position[2]) / rays[:, 2]
        x, y = (pose.position + depth[:, None] * rays)[:, :2].T
        hit = (depth < depths) & ((surface == WALL) | ((np.abs(x) < 0.35) & (np.abs(y) < 0.3)))
        column, row = (np.mod(value / 0.02, 256).astype(np.float32) for value in (x, y))
        seen = cv2.remap(texture, column[None], row[None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)[0]
        colours[hit], depths[hit] = seen[hit], depth[hit]
    return (
        colours.reshape(HEIGHT, WIDTH, 3).round().astype(np.uint8),
        depths.reshape(HEIGHT, WIDTH).astype(np.float32),
    )


def as_tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1).float()


def unlikeness(inputs: torch.Tensor, position: np.ndarray, orientation: np.ndarray) -> float:
    """Return how far a network's input is from what a camera sees somewhere, in the inner part."""
    there = PREPROCESSING.normalized(as_tensor(see(Pose(position, orientation))[0])[None])[0]
    return float((inputs - there)[:, 24:-24, 30:-30].abs().mean())


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> PosedImageSet:
    """A camera that walks past the board, turning a little."""
    folder = tmp_path_factory.mktemp("walk")
    images = []
    for number in range(14):
        turn = rotation_vector_to_quaternion([0.0, -0.02 * (number - 7), 0.01])
        pose = Pose(np.array([0.05 * (number - 7), 0.03 * np.sin(number), 0.02 * number]), turn)
        path = folder / f"{number:02d}.png"
        cv2.imwrite(str(path), see(pose)[0][..., ::-1])
        images.append(PosedImage(path, pose, scene="wall", sequence="walk"))
    return PosedImageSet("walk", tuple(images), camera=CAMERA)


def recipe_with(augmentation: Augmentation) -> Recipe:
    return Recipe(
        resize=[HEIGHT, WIDTH],
        crop=None,
        batch_size=4,
        augmentation=augmentation,
        validation=ValidationRecipe(fraction=0.0),
    )


def samples(data: PosedImageSet, folder: Path, translation: float, interpolation: float = 0.0) -> Samples:
    changes = {"virtual_translation_m": translation, "virtual_interpolation_m": interpolation}
    recipe = recipe_with(replace(STILL, **changes))
    return Samples(data, recipe, PREPROCESSING, folder)


def depth_maps(data: PosedImageSet, folder: Path) -> DepthMaps:
    pixels = ImageCache(data.images, PREPROCESSING, folder)
    return DepthMaps(data.images, range(len(data.images)), pixels, CAMERA, 0.15, folder)


def test_a_moved_image_is_what_the_camera_would_see_there(walk: PosedImageSet) -> None:
    start = walk.images[7].pose
    image, depths = see(start)
    inverse = torch.from_numpy(1 / depths)[None]
    for translation, vector in [
        ([0.12, 0.0, 0.0], [0.0, 0.0, 0.0]),
        ([-0.1, 0.06, 0.1], [0.03, -0.05, 0.04]),
        ([0.0, -0.1, -0.12], [-0.05, 0.04, -0.02]),
    ]:
        turn = rotation_vector_to_quaternion(vector)
        there = as_tensor(see(start @ Pose(np.array(translation), turn))[0])
        rotations = torch.from_numpy(turn)[None]
        moved = synthesize_views(
            as_tensor(image)[None], torch.tensor([translation]), inverse, rotations, CAMERA
        )[0]
        turned = rotate_images(as_tensor(image)[None], rotations, CAMERA)[0]
        inner = (slice(None), slice(16, -16), slice(20, -20))
        error = (moved - there)[inner].abs().mean()
        assert error < 8
        assert error < 0.3 * (turned - there)[inner].abs().mean()


def test_a_move_of_nothing_and_a_world_infinitely_far_leave_the_image() -> None:
    image = as_tensor(see(Pose.identity())[0])[None]
    still, turn = torch.zeros(1, 3), torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    depth = torch.full((1, HEIGHT // 2, WIDTH // 2), 0.5)
    for translation, inverse_depth in ((still, depth), (still + 0.2, depth * 0)):
        moved = synthesize_views(image, translation, inverse_depth, turn, CAMERA)
        assert (moved - image).abs().max() < 0.1


def test_depth_is_found_from_the_posed_images_alone(walk: PosedImageSet, tmp_path: Path) -> None:
    maps = depth_maps(walk, tmp_path)
    for index in (0, 6, 13):
        true = torch.from_numpy(see(walk.images[index].pose)[1][::2, ::2])
        found = 1 / maps.batch([index])[0]
        relative = ((found - true).abs() / true)[4:-4, 4:-4]
        assert relative.median() < 0.05
        assert (relative < 0.1).float().mean() > 0.8


def test_depth_is_estimated_once_and_again_where_poses_change(walk: PosedImageSet, tmp_path: Path) -> None:
    first = depth_maps(walk, tmp_path)
    written = (tmp_path / "depth.npz").stat().st_mtime_ns
    again = depth_maps(walk, tmp_path)
    assert (tmp_path / "depth.npz").stat().st_mtime_ns == written
    assert torch.equal(first.batch([0, 5]), again.batch([0, 5]))
    images = list(walk.images)
    images[3] = replace(images[3], pose=images[3].pose @ Pose(np.array([0.02, 0, 0]), [1.0, 0, 0, 0]))
    depth_maps(replace(walk, images=tuple(images)), tmp_path)
    assert (tmp_path / "depth.npz").stat().st_mtime_ns != written


def test_depth_follows_what_the_images_show(walk: PosedImageSet, tmp_path: Path) -> None:
    """Other pixels under the same names and poses are another scene."""
    folder = tmp_path / "images"
    folder.mkdir()
    images = tuple(replace(image, path=folder / image.path.name) for image in walk.images)
    for image, source in zip(images, walk.images, strict=True):
        image.path.write_bytes(source.path.read_bytes())
    data = replace(walk, images=images)
    first = depth_maps(data, tmp_path)
    for image in images:
        cv2.imwrite(str(image.path), np.roll(cv2.imread(str(image.path)), 40, axis=0))
    assert not torch.equal(depth_maps(data, tmp_path).batch([6]), first.batch([6]))


def test_an_interrupted_estimation_of_depth_goes_on(walk: PosedImageSet, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("hyperpose_core.view_synthesis.depth_maps._IMAGES_A_PART", 4)
    whole = depth_maps(walk, tmp_path / "whole").batch(range(14))
    estimated: list[int] = []

    def interrupted(*arguments):
        estimated.append(1)
        if len(estimated) == 10:
            raise KeyboardInterrupt
        return inverse_depths(*arguments)

    monkeypatch.setattr("hyperpose_core.view_synthesis.depth_maps.inverse_depths", interrupted)
    with pytest.raises(KeyboardInterrupt):
        depth_maps(walk, tmp_path / "parts")
    assert torch.equal(depth_maps(walk, tmp_path / "parts").batch(range(14)), whole)
    assert len(estimated) == 10 + 6  # the eight of two whole parts are not estimated again
    assert not (tmp_path / "parts" / "depth_parts").exists()


def test_labels_move_with_the_camera_and_images_fit_them(walk: PosedImageSet, tmp_path: Path) -> None:
    data = samples(walk, tmp_path, 0.15)
    indices = [3, 6, 9, 11]
    batch = data.training_batch(indices, seed=5, epoch=2, device=torch.device("cpu"))
    again = data.training_batch(indices, seed=5, epoch=2, device=torch.device("cpu"))
    assert torch.equal(batch.images, again.images)
    assert torch.equal(batch.positions, again.positions)
    positions = data.normalisation.denormalize(batch.positions.double().numpy(), np.zeros(4, dtype=int))
    numbers = random_numbers(5, 2, indices).numpy()
    unmoved = samples(walk, tmp_path, 0.0).training_batch(indices, 5, 2, torch.device("cpu"))
    errors, errors_unmoved = [], []
    for place, index in enumerate(indices):
        pose = walk.images[index].pose
        expected = pose.transform((numbers[place, 11:14] * 2 - 1) * 0.15)
        np.testing.assert_allclose(positions[place], expected, atol=1e-5)
        turn = rotation_vector_to_quaternion((numbers[place, :3] * 2 - 1) * np.radians(6.0))
        orientation = (pose @ Pose(np.zeros(3), turn)).orientation
        assert orientation_errors_deg(batch.orientations[place].numpy(), orientation) < 0.01
        errors.append(unlikeness(batch.images[place], expected, orientation))
        errors_unmoved.append(unlikeness(unmoved.images[place], expected, orientation))
    assert np.median(errors) < 0.4 * np.median(errors_unmoved)


def test_interpolated_views_lie_between_the_images_and_fit_their_labels(
    walk: PosedImageSet, tmp_path: Path
) -> None:
    data = samples(walk, tmp_path, 0.0, interpolation=0.4)
    index = 4
    errors = []
    for epoch in range(8):
        batch = data.training_batch([index], seed=1, epoch=epoch, device=torch.device("cpu"))
        position = data.normalisation.denormalize(batch.positions.double().numpy(), np.zeros(1, dtype=int))[0]
        step = position - walk.images[index].pose.position
        ways = np.array([image.pose.position for image in walk.images]) - walk.images[index].pose.position
        lengths = np.linalg.norm(ways, axis=1)
        off = np.linalg.norm(np.cross(ways, step), axis=1) / np.maximum(lengths, 1e-9)
        towards = (off < 1e-5) & (ways @ step >= 0) & (lengths <= 0.4)
        assert towards.any()
        assert np.linalg.norm(step) <= lengths[towards].max() / 2 + 1e-5
        errors.append(unlikeness(batch.images[0], position, batch.orientations[0].double().numpy()))
    plain = data.plain_batch([index], torch.device("cpu")).images[0]
    pose = walk.images[index].pose @ Pose(np.array([0.05, 0.0, 0.0]), [1.0, 0, 0, 0])
    assert np.median(errors) < 0.5 * unlikeness(plain, pose.position, pose.orientation)


def test_without_moves_augmentation_is_as_before() -> None:
    numbers = random_numbers(3, 4, [5])[0].numpy()
    earlier = np.random.Generator(np.random.Philox(key=[3, (4 << 32) | 5])).random(11)
    np.testing.assert_array_equal(numbers[:11], earlier.astype(np.float32))


def test_neighbours_see_the_same_things_from_elsewhere() -> None:
    along = [Pose(np.array([0.02 * number, 0.0, 0.0]), [1.0, 0, 0, 0]) for number in range(30)]
    away = [Pose(np.array([0.2, 0.0, 0.0]), rotation_vector_to_quaternion([0.0, 3.0, 0.0]))]
    poses = np.array([pose.matrix() for pose in along + away])
    chosen = choose_neighbours(poses, 0.2)
    assert not chosen[30]
    distances = np.abs(np.array(chosen[15]) - 15) * 0.02
    assert distances.min() >= 0.04
    assert distances.max() <= 0.5
    assert min(chosen[15]) < 15 < max(chosen[15])


def test_what_moves_need_is_said_where_it_is_missing(walk: PosedImageSet, tmp_path: Path) -> None:
    with pytest.raises(HyperPoseError, match="walk: view synthesis needs the camera's intrinsics"):
        samples_without_turns = replace(STILL, virtual_rotation_deg=0.0, virtual_translation_m=0.2)
        Samples(replace(walk, camera=None), recipe_with(samples_without_turns), PREPROCESSING, tmp_path)
    with pytest.raises(HyperPoseError, match="depth of no training image .* from 2 to 25 m apart"):
        samples(walk, tmp_path, 10.0)


def test_scenes_lend_each_other_no_depth(walk: PosedImageSet, tmp_path: Path) -> None:
    """A lone image of another scene stays where it is, at the same coordinates though it may be."""
    images = (*walk.images[:13], replace(walk.images[13], scene="elsewhere"))
    data = samples(replace(walk, images=images), tmp_path, 0.15)
    batch = data.training_batch([12, 13], seed=0, epoch=0, device=torch.device("cpu"))
    positions = data.normalisation.denormalize(batch.positions.double().numpy(), np.zeros(2, dtype=int))
    np.testing.assert_allclose(positions[1], images[13].pose.position, atol=1e-5)
    assert np.linalg.norm(positions[0] - images[12].pose.position) > 0.01
