"""Lets a running estimator go over to the engine that is faster where it runs."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path

from hyperpose_core.checkpoint.file import load_checkpoint
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.inference.engine_race import EngineRace, exported_engine, known_race, race_file, run_race
from hyperpose_core.inference.engines.adaptive import AdaptiveEngine
from hyperpose_core.inference.engines.engine import Engine
from hyperpose_core.inference.estimator import PoseEstimator, known_input_size

_PRECISION = "float32"
# A start is over by then, and what runs for a moment only is spared the race.
_DELAY_S = 20.0


def adapt(
    estimator: PoseEstimator, path: Path, tell: Callable[[str], object], delay_s: float = _DELAY_S
) -> None:
    """Give an estimator on the CPU, in float32, both engines; it goes over to the faster one as it runs.

    A thread races them first, in a process of its own, where that was never done on this machine, and makes
    the second one ready, which holds Python up for a tenth of a second or two. Where there can be no race,
    everything stays as it is.

    Args:
        estimator: built with the engine "auto".
        path: the checkpoint's file.
        tell: is told which engine is in use, and why.
        delay_s: after so many seconds.
    """
    threads = estimator.engine.threads
    file = race_file(estimator.checkpoint, known_input_size(estimator.checkpoint), threads)
    if estimator.device != "cpu" or estimator.engine.precision != _PRECISION or file is None:
        return
    engine = AdaptiveEngine(estimator.engine, tell)
    estimator.engine = engine
    digest = estimator.checkpoint.network_digest
    arguments = (weakref.ref(engine), path, digest, file, threads, tell, delay_s)
    threading.Thread(target=_adapt, args=arguments, name="engines", daemon=True).start()


def _adapt(
    engine: weakref.ref[AdaptiveEngine],
    path: Path,
    digest: str,
    file: Path,
    threads: int,
    tell: Callable[[str], object],
    delay_s: float,
) -> None:
    time.sleep(delay_s)
    if engine() is None:  # another network is in use by now
        return
    try:
        race = known_race(file) or run_race(path, file, threads)
        adaptive = engine()
        if adaptive is not None:
            _offer(adaptive, race, path, digest, file, threads)
    except HyperPoseError as error:
        tell(f"engine auto stays with {getattr(engine(), 'name', 'what it is')}: {error}")


def _offer(
    adaptive: AdaptiveEngine, race: EngineRace, path: Path, digest: str, file: Path, threads: int
) -> None:
    if adaptive.name == "exported":
        adaptive.offer(_eager(path, digest, threads), not race.is_exported_faster, race.describe())
    else:
        other = exported_engine(file, _PRECISION, threads)
        adaptive.offer(other, race.is_exported_faster, race.describe())


def _eager(path: Path, digest: str, threads: int) -> Engine:
    import torch

    from hyperpose_core.inference.build_engine import build_engine

    checkpoint = load_checkpoint(path)
    if checkpoint.network_digest != digest:
        raise HyperPoseError(f"{path}: holds another network by now")
    size = known_input_size(checkpoint)
    return build_engine("eager", checkpoint, torch.device("cpu"), _PRECISION, size, threads)
