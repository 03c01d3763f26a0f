"""Fixtures that several test files share."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
import torch
from domains import claimed_domain

from hyperpose_core.checkpoint.file import Checkpoint, load_checkpoint, save_checkpoint
from hyperpose_core.checkpoint.normalisation import PositionNormalisation
from hyperpose_core.geometry.poses import Pose, rotation_vector_to_quaternion
from hyperpose_core.geometry.world import World
from hyperpose_core.images import Preprocessing, RgbImage
from hyperpose_core.models.registry import build_model, default_normalisation
from hyperpose_core.uncertainty.covariance import Uncertainty

if TYPE_CHECKING:  # import rclpy, which not every machine has
    from localizer_helpers import Conversation
    from ros_helpers import TestPeer

PROJECT_ROOT = Path(__file__).resolve().parents[1]


# One more than the cores that CI has: node tests mostly wait.
_WORKERS = 3
_LONGEST_FILES = (
    "test_model_learning",
    "test_export",
    "test_node_refinement",
    "test_reconstruction",
    "test_validity",
    "test_multi_camera",
    "test_localizer_lifecycle",
    "test_relocalization",
    "test_training",
    "test_engines",
    "test_compress",
    "test_feature_cache",
    "test_golden",
    "test_simulation",
    "test_training_killed",
)
_WORKER_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Run the whole suite in two processes, each file in one of them; files that are named, in this one."""
    whole = config.args_source is not pytest.Config.ArgsSource.ARGS
    available = config.pluginmanager.hasplugin("xdist") and "PYTEST_XDIST_WORKER" not in os.environ
    if whole and available and config.option.numprocesses is None and not config.option.usepdb:
        config.option.numprocesses = _WORKERS
        config.option.dist = "loadfile"
        config.option.loadscopereorder = False
        os.environ.update(_WORKER_ENVIRONMENT)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that no process is left with one of them in the end."""
    order = {name: place for place, name in enumerate(_LONGEST_FILES)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.fixture(scope="session", autouse=True)
def _own_domain() -> Iterator[None]:
    """Nodes that a test starts in no domain in particular hear no other worker's, and no other run's."""
    with claimed_domain() as claimed, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROS_DOMAIN_ID", str(claimed))
        yield


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What this machine's user has found of engines decides nothing here, and nothing is left to them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def domain_id() -> Iterator[int]:
    """A ROS domain that nobody else on this machine uses meanwhile."""
    with claimed_domain() as claimed:
        yield claimed


@pytest.fixture(scope="module")
def peer(domain_id: int) -> Iterator[TestPeer]:
    """A node that plays the rest of the robot."""
    from ros_helpers import TestPeer

    with TestPeer(domain_id) as peer:
        yield peer


@pytest.fixture(scope="module")
def start(
    peer: TestPeer, domain_id: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Conversation]]:
    """Starts localizers by name, each in a process of its own."""
    from localizer_helpers import localizers

    with localizers(peer, domain_id, tmp_path_factory.mktemp("localizers")) as start:
        yield start


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images and sensor logs, which is not part of the project."""
    candidates = [os.environ.get("HYPERPOSE_SHARED"), PROJECT_ROOT.parent / "shared"]
    for candidate in candidates:
        if candidate and (Path(candidate) / "data").is_dir():
            return Path(candidate) / "data"
    pytest.skip("the real data is missing: put it at ../shared/data or set HYPERPOSE_SHARED")


@contextmanager
def full_disk(room: int) -> Iterator[None]:
    """A disk on which no file grows beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def draw_image(seed: int, height: int = 96, width: int = 128) -> RgbImage:
    """Draw an RGB image of coloured boxes that no other seed gives."""
    generator = np.random.default_rng(seed)
    image = np.full((height, width, 3), generator.integers(0, 256, 3), dtype=np.uint8)
    for _ in range(12):
        corner = generator.integers(0, (width, height))
        size = generator.integers(8, 40, 2)
        cv2.rectangle(
            image, corner.tolist(), (corner + size).tolist(), generator.integers(0, 256, 3).tolist(), -1
        )
    return image


def see_images(network: torch.nn.Module, inputs: torch.Tensor) -> None:
    """Set batch norm's statistics from a batch, without which an untrained network sees all images alike."""
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        network.train()(inputs)
    for norm in norms:
        norm.momentum = 0.01


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of an untrained HyperPose network that takes 96x128 images in a few milliseconds."""
    torch.manual_seed(1)
    options = {
        "backbone": "efficientnet_lite0",
        "hidden_width": 32,
        "hypernetwork_initialisation": "released",
    }
    network = build_model("hyperpose", options)
    mean, std = default_normalisation("hyperpose", options)
    preprocessing = Preprocessing(resize=64, crop=64, mean=mean, std=std)
    see_images(network, torch.stack([preprocessing(draw_image(seed)) for seed in range(16)]))
    path = tmp_path_factory.mktemp("tiny") / "tiny.safetensors"
    save_checkpoint(
        path,
        Checkpoint(
            architecture="hyperpose",
            options=network.options,
            state=network.state_dict(),
            preprocessing=preprocessing,
            scenes=("toyroom",),
            world=World(description="a room that nobody has seen"),
            normalisation=PositionNormalisation(np.array([[1.0, 2.0, 3.0]]), 0.5),
            uncertainty=Uncertainty(np.diag([0.1, 0.2, 0.3, 0.01, 0.02, 0.03]), "made up for the tests"),
        ),
    )
    return path


@pytest.fixture(scope="session")
def two_scene_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network that tells two scenes apart."""
    torch.manual_seed(2)
    options = {"backbone": "efficientnet_lite0", "scene_count": 2}
    network = build_model("mstransformer", options)
    mean, std = default_normalisation("mstransformer", options)
    preprocessing = Preprocessing(resize=64, crop=64, mean=mean, std=std)
    see_images(network, torch.stack([preprocessing(draw_image(seed)) for seed in range(16)]))
    path = tmp_path_factory.mktemp("two") / "two scenes.safetensors"
    checkpoint = Checkpoint(
        "mstransformer", network.options, network.state_dict(), preprocessing, scenes=("attic", "cellar")
    )
    save_checkpoint(path, checkpoint)
    return path


@pytest.fixture(scope="session")
def slow_checkpoint(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Path:
    """The tiny network with an input so large that images at 50 Hz keep it busy all the time."""
    known = load_checkpoint(tiny_checkpoint)
    path = tmp_path_factory.mktemp("slow") / "slow.safetensors"
    preprocessing = Preprocessing(resize=(1200, 1200), crop=None)
    save_checkpoint(path, Checkpoint(known.architecture, known.options, known.state, preprocessing))
    return path


@pytest.fixture(scope="session")
def seven_scenes_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A miniature of the official 7Scenes layout: one scene, two sequences of 12 frames, train and test."""
    scene = tmp_path_factory.mktemp("7scenes") / "toyroom"
    for sequence in (1, 2):
        folder = scene / f"seq-{sequence:02d}"
        folder.mkdir(parents=True)
        for frame in range(12):
            image = draw_image(100 * sequence + frame)
            cv2.imwrite(str(folder / f"frame-{frame:06d}.color.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
            pose = Pose(
                [0.1 * frame, 0.2, 0.05 * sequence], rotation_vector_to_quaternion([0, 0.03 * frame, 0])
            )
            np.savetxt(folder / f"frame-{frame:06d}.pose.txt", pose.matrix())
    (scene / "TrainSplit.txt").write_text("sequence1\n")
    (scene / "TestSplit.txt").write_text("sequence2\r\n")
    return scene
