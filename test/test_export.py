"""Exported networks: the file that `hyperpose export` writes gives the poses that the checkpoint gives."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import draw_image, see_images
from small_networks import small

from hyperpose_core.checkpoint.file import Checkpoint, load_checkpoint, save_checkpoint
from hyperpose_core.checkpoint.normalisation import PositionNormalisation
from hyperpose_core.cli.main import main
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.export.graph_reading import try_graph
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import orientation_errors_deg
from hyperpose_core.geometry.world import World
from hyperpose_core.images import Preprocessing, RgbImage
from hyperpose_core.inference.engines.build_network import build_network
from hyperpose_core.inference.estimator import PoseEstimate, PoseEstimator
from hyperpose_core.uncertainty.covariance import GrowingCovariance, PerImageCovariance, Uncertainty
from hyperpose_core.uncertainty.feature_distance import TrainingMemory
from hyperpose_core.uncertainty.region import TrainedRegion

onnx = pytest.importorskip("onnx", reason="onnx is missing: pip install 'hyperpose_ros[train]'")
pytest.importorskip("openvino", reason="openvino is missing: pip install openvino")

IMAGES = [draw_image(seed) for seed in range(50, 55)]
FEATURES = 112  # of EfficientNet's summary


def checkpoint_of(name: str, **options: object) -> Checkpoint:
    """An untrained network, described in full, that takes 96x128 images as 72x96."""
    preprocessing = Preprocessing(resize=(72, 96), crop=None)
    network = (
        small(name, hypernetwork_initialisation="released", **options) if "hyper" in name else small(name)
    )
    see_images(network, torch.stack([preprocessing(draw_image(seed)) for seed in range(16)]))
    scenes = ("attic", "cellar") if network.scene_count else ("toyroom",)
    generator = np.random.default_rng(0)
    places = generator.normal(size=(20, 3))
    memory = TrainingMemory(
        generator.normal(size=(20, FEATURES)).astype(np.float32),
        places,
        np.tile([1.0, 0.0, 0.0, 0.0], (20, 1)),
        np.arange(20) % len(scenes),
    )
    growing = tuple(GrowingCovariance(0.1 * np.eye(3), 0.5, 0.25, 2.0) for _ in scenes)
    return Checkpoint(
        architecture=name,
        options=network.options,
        state=network.state_dict(),
        preprocessing=preprocessing,
        scenes=scenes,
        world=World(origin=(620000.0, 5736200.0, 100.0), utm_zone="30U", description="a village"),
        normalisation=PositionNormalisation(np.arange(3.0 * len(scenes)).reshape(-1, 3), 2.5),
        orientation_convention="world_to_camera",
        uncertainty=Uncertainty(
            np.diag([0.1, 0.2, 0.3, 0.01, 0.02, 0.03]),
            "made up for the tests",
            PerImageCovariance(memory, growing, growing),
        ),
        camera=CameraModel(128, 96, 100.0, 101.0, 64.0, 48.0),
        region=TrainedRegion.from_positions(places, np.arange(20) % len(scenes)),
        training={"data": "drawn boxes", "seed": 3},
        validation={"frames": 7},
    )


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Path]]:
    """Gives the files of a small network of an architecture: the checkpoint and what was exported of it."""
    folder = tmp_path_factory.mktemp("exported")

    def of(name: str) -> tuple[Path, Path]:
        paths = folder / f"{name}.safetensors", folder / f"{name}.onnx"
        if not paths[1].exists():
            save_checkpoint(paths[0], checkpoint_of(name))
            assert run("export", paths[0], "--output", paths[1], "--images", 4) == 0
        return paths

    return of


def assert_same(found: list[PoseEstimate], expected: list[PoseEstimate], tolerance: float = 1e-4) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.pose is not None and other.pose is not None
        scale = max(1.0, float(np.abs(other.pose.position).max()))
        np.testing.assert_allclose(one.pose.position, other.pose.position, atol=tolerance * scale)
        assert np.radians(orientation_errors_deg(one.pose.orientation, other.pose.orientation)) < tolerance
        np.testing.assert_allclose(one.covariance, other.covariance, rtol=20 * tolerance)
        assert one.scene == other.scene
        if other.scene_probability is not None:
            assert one.scene_probability == pytest.approx(other.scene_probability, abs=tolerance)


@pytest.mark.parametrize("name", ["posenet", "hyperpose", "hyperatloc", "mstransformer", "mshyperpose"])
def test_an_exported_file_gives_the_checkpoints_poses(
    exported: Callable[[str], tuple[Path, Path]], name: str
) -> None:
    checkpoint, file = exported(name)
    expected = PoseEstimator.load(checkpoint, "cpu", engine="eager").estimate(IMAGES)
    estimator = PoseEstimator.load(file, "cpu")
    assert (estimator.engine.name, estimator.engine.precision) == ("exported", "float32")
    assert_same(estimator.estimate(IMAGES), expected)
    assert_same([estimator.estimate([image])[0] for image in IMAGES], expected)
    assert_same(estimator.estimate(IMAGES[:2]), expected[:2])


def test_poses_of_real_images_are_the_checkpoints(
    exported: Callable[[str], tuple[Path, Path]], shared_data: Path
) -> None:
    from hyperpose_core.images import read_image

    checkpoint, file = exported("hyperpose")
    paths = sorted((shared_data / "7scenes").rglob("*.color.*"))[:3] or sorted(shared_data.rglob("*.png"))[:3]
    images: list[RgbImage] = [read_image(path) for path in paths]
    assert images
    expected = PoseEstimator.load(checkpoint, "cpu", engine="eager").estimate(images)
    assert_same(PoseEstimator.load(file).estimate(images), expected)


def test_the_file_holds_all_that_the_checkpoint_says(
    exported: Callable[[str], tuple[Path, Path]], tmp_path: Path
) -> None:
    checkpoint, file = exported("mshyperpose")
    alone = tmp_path / "moved.onnx"
    shutil.copy(file, alone)
    known, found = load_checkpoint(checkpoint), PoseEstimator.load(alone).checkpoint
    for name in ("architecture", "options", "preprocessing", "scenes", "orientation_convention"):
        assert getattr(found, name) == getattr(known, name), name
    for name in ("camera", "training", "validation"):
        assert getattr(found, name) == getattr(known, name), name
    assert found.world.to_dict() == known.world.to_dict()
    np.testing.assert_array_equal(found.normalisation.mean, known.normalisation.mean)
    assert found.region is not None and known.region is not None
    np.testing.assert_array_equal(found.region.positions[1], known.region.positions[1])
    assert found.uncertainty.to_dict() == known.uncertainty.to_dict()
    for name, values in known.uncertainty.arrays().items():
        np.testing.assert_array_equal(found.uncertainty.arrays()[name], values)


def test_a_checkpoint_can_be_exported_in_memory(exported: Callable[[str], tuple[Path, Path]]) -> None:
    checkpoint, file = exported("hyperpose")
    estimator = PoseEstimator.load(checkpoint, "cpu", engine="exported")
    assert estimator.engine.name == "exported"
    assert_same(estimator.estimate(IMAGES), PoseEstimator.load(file).estimate(IMAGES), 1e-6)


def test_lowered_precision_stays_near_where_the_cpu_has_it(
    exported: Callable[[str], tuple[Path, Path]],
) -> None:
    _, file = exported("posenet")
    full = PoseEstimator.load(file).estimate(IMAGES)
    try:
        lowered = PoseEstimator.load(file, precision="bfloat16")
    except HyperPoseError as error:
        assert "bfloat16" in str(error)
        pytest.skip("this CPU has no bfloat16 arithmetic")
    assert lowered.engine.precision == "bfloat16"
    for one, other in zip(lowered.estimate(IMAGES), full, strict=True):
        assert one.pose is not None and other.pose is not None
        assert np.linalg.norm(one.pose.position - other.pose.position) < 0.5
        assert orientation_errors_deg(one.pose.orientation, other.pose.orientation) < 30


def test_a_compressed_checkpoint_stays_small(
    exported: Callable[[str], tuple[Path, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    full, full_file = exported("mshyperpose")
    compressed, file = tmp_path / "int8.safetensors", tmp_path / "int8.onnx"
    budget: list[object] = []
    # The second time with transformers in int8, too: nothing else is small enough.
    for kinds in ({onnx.TensorProto.INT8, onnx.TensorProto.BFLOAT16}, {onnx.TensorProto.INT8}):
        assert run("compress", full, "--method", "int8", "--output", compressed, *budget) == 0
        assert run("export", compressed, "--output", file, "--images", 2, "--force") == 0
        # Its convolutions, with batch norm folded in, are float32 again.
        assert kinds <= {item.data_type for item in onnx.load(file).graph.initializer}
        assert file.stat().st_size < full_file.stat().st_size
        estimator = PoseEstimator.load(file)
        assert estimator.checkpoint.compression is not None
        inputs = np.stack([estimator.preprocess(image) for image in IMAGES])
        with torch.inference_mode():
            expected = build_network(load_checkpoint(compressed)).eval()(torch.from_numpy(inputs)).arrays()
        for found, wanted in zip(estimator.engine(inputs), expected, strict=True):
            assert np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max()
        budget = ["--budget", compressed.stat().st_size - 1]


def test_the_commands_take_an_exported_file(
    exported: Callable[[str], tuple[Path, Path]],
    seven_scenes_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    checkpoint, file = exported("hyperpose")
    image = next(seven_scenes_folder.rglob("*.color.png"))
    answers = []
    for network in (checkpoint, file):
        table = tmp_path / f"{network.suffix[1:]}.csv"
        assert run("predict", network, image, "--csv", table) == 0
        answers.append(np.genfromtxt(table, delimiter=",", skip_header=1)[1:8])
        output = tmp_path / f"evaluation_{network.suffix[1:]}"
        arguments = ("--data", seven_scenes_folder, "--output", output, "--batch-size", 5)
        assert run("evaluate", network, *arguments) == 0
        assert (output / "report.html").is_file()
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-4, rtol=1e-4)
    capsys.readouterr()
    assert run("info", file) == 0
    told = capsys.readouterr().out
    assert "checked_on: 4 drawn images" in told
    assert "differences.float32.position.absolute" in told
    assert "made up for the tests" in told


def test_export_tells_how_far_the_file_is_from_the_network_on_a_datasets_images(
    exported: Callable[[str], tuple[Path, Path]],
    seven_scenes_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    checkpoint, _ = exported("mstransformer")
    file = tmp_path / "real.onnx"
    assert run("export", checkpoint, "--output", file, "--data", seven_scenes_folder, "--images", 3) == 0
    told = capsys.readouterr().out
    assert f"3 images of {seven_scenes_folder.name}" in told
    for line in ("float32   position", "float32   orientation", "float32   scene log probabilities"):
        assert line in told
    assert run("export", checkpoint, "--output", file) == 2
    assert "--force" in capsys.readouterr().err
    assert run("export", checkpoint, "--output", file, "--images", 2, "--force") == 0


def test_a_file_that_differs_too_much_is_not_written(
    exported: Callable[[str], tuple[Path, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, _ = exported("hyperpose")
    file = tmp_path / "strict.onnx"
    assert run("export", checkpoint, "--output", file, "--largest-difference", 1e-12, "--images", 2) == 2
    assert "differs from the network's by" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_size_of_the_input_must_be_known_and_possible(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = small("posenet")
    path = tmp_path / "any.safetensors"
    preprocessing = Preprocessing(resize=64, crop=None)
    save_checkpoint(path, Checkpoint("posenet", network.options, network.state_dict(), preprocessing))
    file = tmp_path / "any.onnx"
    assert run("export", path, "--output", file) == 2
    assert "--size" in capsys.readouterr().err
    for size, complaint in (("64", "expected HEIGHTxWIDTH"), ("16x20", "at least 32"), ("96x128", "64x85")):
        assert run("export", path, "--output", file, "--size", size) == 2
        assert complaint in capsys.readouterr().err
    assert run("export", path, "--output", file, "--size", "64x85", "--images", 2) == 0
    estimator = PoseEstimator.load(file)
    assert estimator.estimate([draw_image(1)])[0].pose is not None
    with pytest.raises(HyperPoseError, match="exported for 85x64 pixels"):
        estimator.estimate([draw_image(1, 96, 96)])


def test_other_files_are_refused_in_one_line(
    exported: Callable[[str], tuple[Path, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, file = exported("posenet")
    content = file.read_bytes()
    model = onnx.load_model_from_string(content)
    assert model.metadata_props[-1].key == "hyperpose_crc32"
    del model.metadata_props[-1]  # what is looked at here is what comes after the checksum
    metadata = {entry.key: entry for entry in model.metadata_props}
    metadata[
        "hyperpose_arrays"
    ].value = '{"uncertainty/features": {"type": "object", "shape": [], "data": ""}}'
    damaged = model.SerializeToString()
    metadata["hyperpose"].value = "not JSON"
    metadata["hyperpose_arrays"].value = "{}"
    no_document = model.SerializeToString()
    del model.metadata_props[:]
    cases = {
        "truncated": (content[: len(content) // 2], "damaged"),
        "mixed": (content[: len(content) // 2] + bytes(100) + content[len(content) // 2 + 100 :], "checksum"),
        "text": (b"hello", "damaged"),
        "empty": (b"", "not a file that `hyperpose export` wrote"),
        "foreign": (model.SerializeToString(), "not a file that `hyperpose export` wrote"),
        "arrays": (damaged, "description is damaged"),
        "document": (no_document, "not JSON"),
    }
    image = tmp_path / "image.png"
    image.write_bytes(b"")
    for name, (data, complaint) in cases.items():
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(data)
        assert run("predict", path, image) == 2, name
        error = capsys.readouterr().err.strip()
        assert complaint in error and str(path) in error and "\n" not in error, error
    assert run("predict", tmp_path / "missing.onnx", image) == 2
    assert "no such file" in capsys.readouterr().err


def test_what_an_exported_file_cannot_do_is_said(exported: Callable[[str], tuple[Path, Path]]) -> None:
    _, file = exported("posenet")
    with pytest.raises(HyperPoseError, match="run on the CPU"):
        PoseEstimator.load(file, "cuda")
    with pytest.raises(HyperPoseError, match="engine of an exported file"):
        PoseEstimator.load(file, engine="eager")
    with pytest.raises(HyperPoseError, match="float16"):
        PoseEstimator.load(file, precision="float12")


def test_missing_packages_are_named(exported: Callable[[str], tuple[Path, Path]], tmp_path: Path) -> None:
    checkpoint, file = exported("posenet")
    for package, arguments, hint in (
        ("openvino", ["info", str(file)], "pip install openvino"),
        ("onnx", ["export", str(checkpoint), "--output", str(tmp_path / "x.onnx")], "hyperpose_ros[train]"),
    ):
        program = (
            f"import sys; sys.modules[{package!r}] = None; sys.modules['{package}.frontend'] = None; "
            f"from hyperpose_core.cli.main import main; sys.exit(main({arguments!r}))"
        )
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert ended.returncode == 2, ended.stderr
        assert hint in ended.stderr


def hostile_model(kind: str) -> bytes:
    """An ONNX model that a reader finds no end of, or no memory for, or that refers to other files."""
    from onnx import TensorProto, helper, numpy_helper

    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["count", 3, 8, 8])
    output = helper.make_tensor_value_info("position", TensorProto.FLOAT, ["count", 3, 8, 8])
    weight = numpy_helper.from_array(np.zeros((1, 3, 8, 8), np.float32), "weight")
    nodes, version = [helper.make_node("Add", ["images", "weight"], ["position"])], 17
    if kind == "opset":
        version = 2**62
    elif kind == "memory":
        weight = numpy_helper.from_array(np.array([400_000, 400_000]), "size")
        nodes = [
            helper.make_node("ConstantOfShape", ["size"], ["ones"]),
            helper.make_node("ReduceMean", ["ones"], ["mean"], keepdims=0),
            helper.make_node("Add", ["images", "mean"], ["position"]),
        ]
    elif kind == "other file":
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        weight.external_data.add(key="location", value="/etc/hostname")
    graph = helper.make_graph(nodes, "graph", [images], [output], initializer=[weight])
    opsets = [helper.make_opsetid("", version)]
    return helper.make_model(graph, opset_imports=opsets).SerializeToString()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("opset", "did not get done with it in 4 s"),
        ("memory", "bad_alloc|breaks down"),
        ("other file", "Path"),
    ],
)
def test_a_hostile_file_is_tried_elsewhere_and_given_up(kind: str, reason: str) -> None:
    with pytest.raises(HyperPoseError, match=f"^hostile.onnx: .*({reason})"):
        try_graph(hostile_model(kind), "hostile.onnx", 4 if kind == "opset" else 60)


def test_a_trial_lets_a_good_file_pass(exported: Callable[[str], tuple[Path, Path]]) -> None:
    _, file = exported("posenet")
    estimator = PoseEstimator.load(file, is_tried=True)
    assert estimator.estimate(IMAGES[:1])[0].pose is not None
