"""The engine "auto": raced once a machine and checkpoint, and changed as the load changes."""

from __future__ import annotations

import dataclasses
import gc
import json
import threading
from pathlib import Path

import numpy as np
import pytest
from conftest import draw_image

from hyperpose_core.checkpoint.file import load_checkpoint, save_checkpoint
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.inference.adaptation import adapt
from hyperpose_core.inference.engine_race import EngineRace, known_race, race_file, run_race
from hyperpose_core.inference.engines import adaptive
from hyperpose_core.inference.engines.adaptive import AdaptiveEngine
from hyperpose_core.inference.engines.engine import Engine
from hyperpose_core.inference.estimator import PoseEstimator, known_input_size
from hyperpose_core.models.output import PoseArrays

IMAGES = np.zeros((1, 3, 8, 8), np.float32)


class Clock:
    """A time that passes only while an engine computes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(adaptive.time, "perf_counter", lambda: self.now)


class ScriptedEngine(Engine):
    """Takes as long as it is told, and counts its calls."""

    precision, device, runtime, threads = "float32", "cpu", "none", 1

    def __init__(self, name: str, clock: Clock, milliseconds: float) -> None:
        self.name, self.milliseconds, self.calls = name, milliseconds, 0
        self._clock = clock

    def __call__(self, inputs: object) -> PoseArrays:
        self.calls += 1
        self._clock.now += self.milliseconds / 1e3
        return PoseArrays(np.zeros((1, 3), np.float32), np.zeros((1, 4), np.float32))


def two_engines(
    monkeypatch: pytest.MonkeyPatch, eager_ms: float, exported_ms: float
) -> tuple[AdaptiveEngine, ScriptedEngine, ScriptedEngine, list[str]]:
    clock, said = Clock(monkeypatch), list[str]()
    eager, exported = ScriptedEngine("eager", clock, eager_ms), ScriptedEngine("exported", clock, exported_ms)
    engine = AdaptiveEngine(eager, said.append)
    engine.offer(exported, exported_ms < eager_ms, "they were raced")
    return engine, eager, exported, said


def ask(engine: Engine, times: int) -> None:
    for _ in range(times):
        engine(IMAGES)


def test_the_engine_changes_when_load_makes_the_other_one_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, eager, exported, said = two_engines(monkeypatch, 14.0, 5.0)
    assert engine.name == "exported" and said == ["engine exported: they were raced"]
    ask(engine, 600)
    assert engine.name == "exported" and len(said) == 1
    assert eager.calls <= 0.025 * 600, "the slower engine answers hardly any image"

    exported.milliseconds, eager.milliseconds = 67.0, 34.0
    ask(engine, 30 * 15)  # 30 s at 15 Hz, all that this load leaves
    assert engine.name == "eager"
    assert said[1] == "engine eager, which takes 34.0 ms an image now; the other one takes 67.0 ms"

    exported.milliseconds, eager.milliseconds = 5.0, 14.0
    ask(engine, 30 * 30)
    assert engine.name == "exported" and len(said) == 3


def test_slow_images_change_the_engine_in_time_too(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, eager, exported, _ = two_engines(monkeypatch, 107.0, 60.0)
    ask(engine, 200)
    assert engine.name == "exported"
    exported.milliseconds = 164.0
    ask(engine, int(30 / 0.164))
    assert engine.name == "eager"


def test_engines_that_are_about_as_fast_do_not_change_places(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, _, exported, said = two_engines(monkeypatch, 10.0, 10.5)
    for milliseconds in (9.5, 10.5, 9.5, 10.5):
        exported.milliseconds = milliseconds
        ask(engine, 600)
    assert engine.name == "eager" and len(said) == 1


def test_load_that_slows_both_engines_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, eager, exported, said = two_engines(monkeypatch, 14.0, 5.0)
    for load in (1.0, 4.0, 1.0, 8.0, 1.0):
        eager.milliseconds, exported.milliseconds = load * 14.0, load * 5.0
        ask(engine, 400)
    assert engine.name == "exported" and len(said) == 1


def test_a_single_slow_image_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, eager, _, said = two_engines(monkeypatch, 10.0, 12.0)
    for _ in range(20):
        ask(engine, 40)
        eager.milliseconds = 500.0
        ask(engine, 1)
        eager.milliseconds = 10.0
    assert engine.name == "eager" and len(said) == 1


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of its own, whose race no other test knows of."""
    path = tmp_path_factory.mktemp("raced") / "raced.safetensors"
    known = load_checkpoint(tiny_checkpoint)
    state = {name: tensor.clone() for name, tensor in known.state.items()}
    next(iter(state.values())).mul_(1.01)
    save_checkpoint(path, dataclasses.replace(known, state=state))
    return path


@pytest.fixture(scope="module")
def raced(checkpoint: Path) -> Path:
    """The file that is left of a race."""
    pytest.importorskip("openvino", reason="openvino is missing: pip install openvino")
    pytest.importorskip("onnx", reason="onnx is missing: pip install 'hyperpose_ros[train]'")
    known = load_checkpoint(checkpoint)
    threads = PoseEstimator(known, "cpu", engine="eager").engine.threads
    file = race_file(known, known_input_size(known), threads)
    assert file is not None and known_race(file) is None
    race = run_race(checkpoint, file, threads)
    assert race.eager_ms > 0 and race.exported_ms > 0 and known_race(file) == race
    assert race.describe().startswith(f"exported takes {race.exported_ms:.1f} ms")
    return file


def write_race(raced: Path, eager_ms: float, exported_ms: float) -> None:
    raced.with_suffix(".json").write_text(json.dumps({"eager_ms": eager_ms, "exported_ms": exported_ms}))


def assert_same(checkpoint: Path, estimator: PoseEstimator) -> None:
    images = [draw_image(seed) for seed in range(3)]
    expected = PoseEstimator.load(checkpoint, "cpu", engine="eager").estimate(images)
    for one, other in zip(estimator.estimate(images), expected, strict=True):
        assert one.pose is not None and other.pose is not None
        scale = max(1.0, float(np.abs(other.pose.position).max()))
        np.testing.assert_allclose(one.pose.position, other.pose.position, atol=1e-4 * scale)
        np.testing.assert_allclose(one.pose.orientation, other.pose.orientation, atol=1e-4)


def test_auto_takes_what_won_and_gives_the_same_poses(checkpoint: Path, raced: Path) -> None:
    for winner, times in {"exported": (2.0, 1.0), "eager": (1.0, 2.0)}.items():
        write_race(raced, *times)
        estimator = PoseEstimator.load(checkpoint, "cpu")
        assert estimator.engine.name == winner
        assert_same(checkpoint, estimator)
    write_race(raced, 2.0, 1.0)
    assert PoseEstimator.load(checkpoint, "cpu", threads=7).engine.name == "eager", "that is another race"


@pytest.mark.parametrize("damaged", ["result", "network"])
def test_what_is_left_of_a_damaged_race_is_not_used(checkpoint: Path, raced: Path, damaged: str) -> None:
    write_race(raced, 2.0, 1.0)
    content = raced.read_bytes()
    try:
        if damaged == "result":
            raced.with_suffix(".json").write_text('{"eager_ms": "fast"')
        else:
            raced.write_bytes(content[: len(content) // 2])
        assert PoseEstimator.load(checkpoint, "cpu").engine.name == "eager"
    finally:
        raced.write_bytes(content)


@pytest.mark.parametrize("winner", ["exported", "eager"])
def test_a_running_estimator_gets_the_second_engine(checkpoint: Path, raced: Path, winner: str) -> None:
    write_race(raced, 1.0, 2.0)
    estimator = PoseEstimator.load(checkpoint, "cpu")
    write_race(raced, *((2.0, 1.0) if winner == "exported" else (1.0, 2.0)))
    told, said = threading.Event(), list[str]()
    adapt(estimator, checkpoint, lambda text: (said.append(text), told.set()), delay_s=0.0)
    assert told.wait(60)
    assert said[0].startswith(f"engine {winner}: exported takes") and estimator.engine.name == winner
    for _ in range(4):
        assert_same(checkpoint, estimator)


def test_other_tensors_are_another_network_in_memory_in_a_file_and_in_its_place(
    checkpoint: Path, raced: Path, tmp_path: Path
) -> None:
    write_race(raced, 2.0, 1.0)
    known = load_checkpoint(checkpoint)
    changed = dataclasses.replace(known, state={name: 1.01 * value for name, value in known.state.items()})
    assert PoseEstimator(known, "cpu").engine.name == "exported"
    assert PoseEstimator(changed, "cpu").engine.name == "eager"
    path = tmp_path / "changed.safetensors"
    save_checkpoint(path, changed)
    assert load_checkpoint(path).network_digest != known.network_digest
    assert PoseEstimator.load(path, "cpu").engine.name == "eager"
    # The child process finds another network than the one that it was sent for.
    elsewhere = raced.with_name("other.onnx")
    with pytest.raises(HyperPoseError, match="holds another network by now"):
        run_race(path, elsewhere, PoseEstimator(known, "cpu", engine="eager").engine.threads)
    assert not elsewhere.exists()


def test_a_network_that_is_gone_is_not_raced(checkpoint: Path, raced: Path) -> None:
    said = list[str]()
    estimator = PoseEstimator.load(checkpoint, "cpu", engine="eager")
    before = set(threading.enumerate())
    adapt(estimator, checkpoint, said.append, delay_s=0.5)
    (thread,) = set(threading.enumerate()) - before
    del estimator
    gc.collect()
    thread.join(30)
    assert not thread.is_alive() and not said


def test_a_race_that_cannot_be_run_says_why(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(HyperPoseError, match="engines cannot be raced: .*cache"):
        run_race(checkpoint, tmp_path / "cache" / "x.onnx", 1)
    assert EngineRace(1.0, 2.0).is_exported_faster is False
