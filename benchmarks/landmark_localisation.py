"""Errors, verified share and time of localisation in a landmark map, for several kinds of priors.

    python benchmarks/landmark_localisation.py --map kitchen.map --data redkitchen_test.csv
        --data-option camera=640,480,525.5,525.5,320,240 --noise 0.06 2 [--checkpoint kitchen.safetensors]

Priors: `noisy`, the truth and an error of the given size; `random`, the pose of another place of the map,
said to be as certain; `none`, the whole map; with a checkpoint `network`, its answers, which are scored by
themselves, too, and `retrieval`, its features of the image alone. One thread. Time is the processor time of
the process, which a busy machine makes longer, but less so than the time on the wall; the network's is apart.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]
from tqdm import tqdm

from benchmarks.landmark_samples import PriorNoise, random_prior
from hyperpose_core.cli.arguments.common import add_dataset_arguments
from hyperpose_core.cli.common import open_dataset_from
from hyperpose_core.datasets.records import PosedImage
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Array, Pose, quaternion_to_rotation_vector, relative_quaternion
from hyperpose_core.landmarks.landmark_map import LandmarkMap
from hyperpose_core.landmarks.pose_covariance import known_constant_covariance
from hyperpose_core.landmarks.refinement import Prior, Refinement
from hyperpose_core.landmarks.refiner import Refiner
from hyperpose_core.uncertainty.fit import CHI_SQUARE_3, squared_mahalanobis

PriorOf = Callable[[int, PosedImage], Prior | None]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of one image.

    Attributes:
        answer: the refiner's.
        residual: [6], error of its pose as its covariance counts it; infinite without a pose.
        processor_s: processor time.
    """

    answer: Refinement
    residual: Array
    processor_s: float


def main() -> int:
    """Run the command."""
    arguments = _parser().parse_args()
    cv2.setNumThreads(1)
    ThreadpoolController().select(internal_api="openblas").limit(limits=1)
    try:
        return run(arguments)
    except HyperPoseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def run(arguments: argparse.Namespace) -> int:
    """Localise all images with each kind of prior and print a table.

    Raises:
        HyperPoseError: the map, the data or the checkpoint is wrong.
    """
    refiner = Refiner(LandmarkMap.load(arguments.map))
    data = open_dataset_from(arguments)
    if data.camera is None:
        raise HyperPoseError(f"{data.name}: the intrinsics are unknown; give camera=... with --data-option")
    images = data.images[:: arguments.every]
    print(f"{data.name}: {len(images)} images, {len(refiner.map.landmarks)} landmarks")
    one = known_constant_covariance(refiner.map)
    for name, prior_of in _priors(arguments, refiner, images).items():
        outcomes = [
            _outcome(refiner, image, data.camera, prior_of(index, image))
            for index, image in enumerate(tqdm(images, desc=name, unit="image", leave=False, disable=None))
        ]
        print("\n".join(_lines(name, outcomes, one)), flush=True)
    return 0


def _priors(
    arguments: argparse.Namespace, refiner: Refiner, images: Sequence[PosedImage]
) -> dict[str, PriorOf]:
    noise, generator = PriorNoise(*arguments.noise), np.random.default_rng(0)
    priors: dict[str, PriorOf] = {
        "noisy": lambda _, image: noise.prior(image.pose, None, generator),
        "random": lambda _, image: random_prior(refiner.map, noise, generator),
        "none": lambda _, image: None,
    }
    if arguments.checkpoint is not None:
        answers = _network_priors(arguments.checkpoint, images)
        priors["network"] = lambda index, _: answers[index]
        priors["retrieval"] = lambda index, _: replace(answers[index], pose=None, covariance=None)
    return {name: priors[name] for name in arguments.priors or priors}


def _network_priors(checkpoint: Path, images: Sequence[PosedImage]) -> list[Prior]:
    """Ask a network about images, and print how far off it is and what it takes."""
    # Only a checkpoint needs torch.
    import torch

    from hyperpose_core.inference.estimator import PoseEstimator
    from hyperpose_core.refinement.prior import prior_of

    torch.set_num_threads(1)
    estimator = PoseEstimator.load(checkpoint, "cpu")
    priors, residuals, milliseconds = [], [], []
    for image in tqdm(images, desc="network", unit="image", leave=False, disable=None):
        pixels = image.read()
        begin = time.process_time()
        estimate = estimator.estimate([pixels])[0]
        milliseconds.append(1e3 * (time.process_time() - begin))
        priors.append(prior_of(estimate))
        residuals.append(_residual(estimate.pose, image.pose))
    print(f"network alone: processor time {np.median(milliseconds):.0f} ms")
    print(_error_line("of all", np.array(residuals)), flush=True)
    return priors


def _residual(pose: Pose | None, truth: Pose) -> Array:
    if pose is None:
        return np.full(6, np.inf)
    turn = quaternion_to_rotation_vector(relative_quaternion(truth.orientation, pose.orientation))
    return np.concatenate([pose.position - truth.position, turn])


def _outcome(refiner: Refiner, image: PosedImage, camera: CameraModel, prior: Prior | None) -> Outcome:
    pixels = image.read()
    begin = time.process_time()
    answer = refiner.refine(pixels, camera, prior)
    seconds = time.process_time() - begin
    return Outcome(answer, _residual(answer.pose, image.pose), seconds)


def _lines(name: str, outcomes: list[Outcome], one: Array | None) -> list[str]:
    verified = [outcome for outcome in outcomes if outcome.answer.verified]
    milliseconds = 1e3 * np.array([outcome.processor_s for outcome in outcomes])
    lines = [
        f"{name}: {len(verified)} of {len(outcomes)} verified; processor time "
        f"{np.median(milliseconds):.0f} ms (95%: {np.quantile(milliseconds, 0.95):.0f} ms)"
    ]
    stages = sorted({stage for outcome in outcomes for stage in outcome.answer.seconds})
    times = [
        f"{stage} {1e3 * np.median([outcome.answer.seconds.get(stage, 0.0) for outcome in outcomes]):.1f}"
        for stage in stages
    ]
    lines.append(f"  on the wall, ms: {', '.join(times)}")
    reasons = Counter(outcome.answer.reason.value for outcome in outcomes if outcome.answer.reason)
    sources = Counter(outcome.answer.source.value for outcome in verified if outcome.answer.source)
    lines.append(f"  verified by {dict(sources)}; not verified: {dict(reasons)}")
    if verified:
        residuals = np.array([outcome.residual for outcome in verified])
        covariances = np.array([outcome.answer.covariance for outcome in verified])
        lines += [_error_line("of the verified", residuals), _covariance_line(residuals, covariances, one)]
    return lines


def _error_line(name: str, residuals: Array) -> str:
    positions = np.linalg.norm(residuals[:, :3], axis=1)
    degrees = np.degrees(np.linalg.norm(residuals[:, 3:], axis=1))
    return (
        f"  {name}: {np.median(positions):.4f} m, {np.median(degrees):.3f} deg; "
        f"95%: {np.quantile(positions, 0.95):.3f} m, {np.quantile(degrees, 0.95):.2f} deg; "
        f"within 0.15 m {np.mean(positions < 0.15):.1%}, 0.5 m {np.mean(positions < 0.5):.1%}"
    )


def _covariance_line(residuals: Array, covariances: Array, one: Array | None) -> str:
    parts = {"position": slice(3), "rotation": slice(3, 6)}
    texts = []
    for name, part in parts.items():
        squares = squared_mahalanobis(residuals[:, part], covariances[:, part, part])
        held = [f"{np.mean(squares < limit):.0%}" for limit in CHI_SQUARE_3.values()]
        texts.append(f"{name} {held[0]} in the 68% region, {held[1]} in the 95% region")
    texts.append(f"log-likelihood {_log_likelihood(residuals, covariances):.2f} an image")
    if one is not None:
        alike = _log_likelihood(residuals, np.broadcast_to(one, covariances.shape))
        texts.append(f"{alike:.2f} with the one covariance of all held-out errors")
    return f"  {'; '.join(texts)}"


def _log_likelihood(residuals: Array, covariances: Array) -> float:
    squares = squared_mahalanobis(residuals, covariances)
    return float(-0.5 * np.mean(squares + np.linalg.slogdet(2.0 * np.pi * covariances)[1]))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Errors, verified share and time of localisation in a map.")
    parser.add_argument("--map", type=Path, required=True)
    add_dataset_arguments(parser, split=None)
    parser.add_argument(
        "--noise",
        type=float,
        nargs=2,
        default=(0.06, 2.0),
        metavar=("METRES", "DEGREES"),
        help="error of noisy and random priors (default: 0.06 2)",
    )
    parser.add_argument("--checkpoint", type=Path, help="network whose answers are priors, too")
    parser.add_argument("--priors", nargs="+", choices=("noisy", "random", "none", "network", "retrieval"))
    parser.add_argument("--every", type=int, default=1, help="take every so many images (default: all)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
