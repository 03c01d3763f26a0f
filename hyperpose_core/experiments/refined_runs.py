"""What a landmark map of a run's training images makes of its network's answers to the test images.

The map depends on the images alone: all networks trained on the same ones share it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from hyperpose_core.choices import MOST_MAP_IMAGES
from hyperpose_core.datasets.records import PosedImageSet
from hyperpose_core.evaluation.metrics import FrameErrors, frame_errors
from hyperpose_core.evaluation.offline import estimate_images
from hyperpose_core.experiments.datasets import fingerprint
from hyperpose_core.experiments.runs import Run, read_errors, trained_checkpoint, write_errors
from hyperpose_core.inference.estimator import PoseEstimator
from hyperpose_core.landmarks.building import build_map
from hyperpose_core.landmarks.landmark_map import LandmarkMap
from hyperpose_core.refinement.map_refiner import MapRefiner
from hyperpose_core.refinement.offline import compare_refined, refine_images
from hyperpose_core.refinement.training_map import thinned, why_no_map


def refine_run(run: Run, maps: Path, device: str = "auto") -> FrameErrors | None:
    """Refine a finished run's answers, unless that is done; build the map where it is missing.

    Args:
        run: as `make_run` has made it.
        maps: folder of the maps.
        device: where to run the network.

    Returns:
        the errors of each test frame, infinite where the map does not verify a pose; None where the training
        images give no map.

    Raises:
        HyperPoseError: the map or a file cannot be made or read.
    """
    if why_no_map(run.training) is not None:
        return None
    test = fingerprint(run.test)
    path = run.folder / f"refined-{test[:8]}.json"
    if (errors := read_errors(path, test)) is not None:
        return errors
    content = _map_of(run.training, maps)
    estimator = PoseEstimator.load(trained_checkpoint(run), device)
    refiner = MapRefiner(content, estimator.checkpoint, run.test.camera)
    estimates, _ = estimate_images(estimator, run.test.images)
    refined = refine_images(refiner, run.test.images, estimates)
    errors = frame_errors(compare_refined(refined, run.test, refiner))
    write_errors(path, test, errors)
    return errors


def _map_of(training: PosedImageSet, maps: Path) -> LandmarkMap:
    path = maps / f"{fingerprint(training)[:16]}.map"
    if path.is_file():
        return LandmarkMap.load(path)
    maps.mkdir(parents=True, exist_ok=True)
    return build_map(replace(training, images=thinned(training.images, MOST_MAP_IMAGES)), path, progress=_bar)


def _bar(work: Iterable[object], title: str, total: int) -> Iterable[object]:
    return tqdm(work, total=total, desc=f"map: {title}", file=sys.stderr, dynamic_ncols=True)
