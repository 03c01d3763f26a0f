"""Fits and tries what verifies a pose from a landmark map.

    python benchmarks/landmark_verification.py collect --map kitchen.map --data held_out.csv
        --data-option camera=... --limit 0.15 --impostors town --output kitchen.npz
    python benchmarks/landmark_verification.py fit kitchen.npz town.npz
    python benchmarks/landmark_verification.py try --map kitchen.map --impostors town ntu.csv

`collect` tries every source on every image, without stopping at the first verified pose, from a prior near
the truth and from one drawn at random, and keeps the evidence of each pose with whether it was right. The
images must not be the map's. `fit` prints the constants of `verification_constants.py`: a logistic
regression, and the threshold at which the stated share of images that do not show the place is verified, by
the exponential tail of the best wrong pose of each image. `try` counts how many images of other places are
verified.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]
from tqdm import tqdm

from benchmarks.landmark_samples import PriorNoise, impostors, random_prior
from hyperpose_core.cli.arguments.common import add_dataset_arguments
from hyperpose_core.cli.common import open_dataset_from
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Array, Pose
from hyperpose_core.images import RgbImage
from hyperpose_core.landmarks.landmark_map import LandmarkMap
from hyperpose_core.landmarks.localisation import Localisation, QueryFeatures, Stopwatch
from hyperpose_core.landmarks.refinement import Prior
from hyperpose_core.landmarks.refiner import Refiner
from hyperpose_core.landmarks.verification import EVIDENCE_NAMES, VerificationModel

# How strongly weights are drawn to zero: as much as so many images say.
_REGULARISATION = 1.0
_ROUNDS = 100
_TAIL = 0.1


@dataclass(frozen=True, eq=False)
class Samples:
    """Evidence of N poses.

    Attributes:
        values: [N, 6], in the order of `EVIDENCE_NAMES`.
        right: bool [N], whether the pose was.
        images: int64 [N], which image it is of.
        asked: how many images were tried, with a pose or without.
    """

    values: Array
    right: npt.NDArray[np.bool_]
    images: npt.NDArray[np.int64]
    asked: int


def main() -> int:
    """Run the command."""
    arguments = _parser().parse_args()
    cv2.setNumThreads(1)
    ThreadpoolController().select(internal_api="openblas").limit(limits=1)
    try:
        return int(arguments.run(arguments))
    except HyperPoseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def collect(arguments: argparse.Namespace) -> int:
    """Write the evidence of all poses that a map gives for some images."""
    refiner = Refiner(LandmarkMap.load(arguments.map))
    data = open_dataset_from(arguments)
    if data.camera is None:
        raise HyperPoseError(f"{data.name}: the intrinsics are unknown; give camera=... with --data-option")
    noise = PriorNoise(*arguments.prior)
    generator = np.random.default_rng(0)
    values, right, images, asked = [], [], [], 0
    step = max(1, len(data.images) // arguments.count)
    for image in tqdm(data.images[::step], unit="image"):
        pixels, truth = image.read(), image.pose
        for prior in (noise.prior(truth, None, generator), random_prior(refiner.map, noise, generator)):
            for found in _poses(refiner, pixels, data.camera, prior):
                values.append(found[1])
                right.append(_distance(found[0], truth) <= arguments.limit)
                images.append(asked)
        asked += 1
    camera = refiner.map.cameras[0]
    for _, pixels in tqdm(impostors(arguments.impostors, arguments.count, camera), total=arguments.count):
        for found in _poses(refiner, pixels, camera, random_prior(refiner.map, noise, generator)):
            values.append(found[1])
            right.append(False)
            images.append(asked)
        asked += 1
    table = np.array(values).reshape(-1, len(EVIDENCE_NAMES))
    np.savez(arguments.output, values=table, right=np.array(right), images=np.array(images), asked=asked)
    print(f"{len(right)} poses of {asked} images, {sum(right)} right: {arguments.output}")
    return 0


def _poses(
    refiner: Refiner, image: RgbImage, camera: CameraModel, prior: Prior
) -> Iterator[tuple[Pose, Array]]:
    features = QueryFeatures.of(image, camera, refiner.settings)
    for attempt in refiner.attempts(features, camera, prior, (), Stopwatch()):
        if isinstance(attempt.outcome, Localisation) and attempt.evidence is not None:
            yield attempt.outcome.fitted.pose, attempt.evidence.values()


def _distance(pose: Pose, truth: Pose) -> float:
    return float(np.linalg.norm(pose.position - truth.position))


def fit(arguments: argparse.Namespace) -> int:
    """Print the constants that samples call for, and what they do to the samples."""
    parts = []
    for path in arguments.samples:
        with np.load(path, allow_pickle=False) as file:
            parts.append(Samples(file["values"], file["right"], file["images"], int(file["asked"])))
    model = fit_model(parts, arguments.rate)
    weights = np.round(model.weights, 3).tolist()
    print(f"weights=np.array({weights}), bias={model.bias:.3f}, threshold={model.threshold:.3f}")
    for path, part in zip(arguments.samples, parts, strict=True):
        scores = part.values @ model.weights + model.bias
        taken = scores >= model.threshold
        lowest, highest = scores[part.right].min(initial=np.inf), scores[~part.right].max(initial=-np.inf)
        print(
            f"{path}: of {part.right.sum()} right poses {(taken & part.right).sum()} verified, of "
            f"{(~part.right).sum()} wrong ones {(taken & ~part.right).sum()}; "
            f"lowest right score {lowest:.2f}, highest wrong {highest:.2f}"
        )
    return 0


def fit_model(parts: Sequence[Samples], rate: float) -> VerificationModel:
    """Fit weights that are not negative, and the threshold for a rate of wrong images verified.

    Args:
        parts: samples of several places, each of which counts alike.
        rate: the share of images that do not show the place or gave wrong poses only, that may be verified.
    """
    values = np.vstack([part.values for part in parts])
    right = np.concatenate([part.right for part in parts])
    shares = np.concatenate([_balanced(part.right) for part in parts])
    spreads = values.std(axis=0) + 1e-9
    weights, bias = _logistic(values / spreads, right, shares)
    weights = weights / spreads
    best_wrong, asked = [], 0
    for part in parts:
        scores = part.values @ weights + bias
        wrong_images = np.unique(part.images[~part.right])
        best_wrong += [scores[(part.images == image) & ~part.right].max() for image in wrong_images]
        asked += part.asked
    return VerificationModel(weights, bias, _threshold(np.array(best_wrong), asked, rate))


def _balanced(right: npt.NDArray[np.bool_]) -> Array:
    """Weigh samples so that right and wrong ones count alike."""
    counts = np.array([max((~right).sum(), 1), max(right.sum(), 1)])
    return len(right) / 2.0 / counts[right.astype(int)]


def _logistic(values: Array, right: npt.NDArray[np.bool_], shares: Array) -> tuple[Array, float]:
    """Fit a logistic regression by Newton's method, dropping weights that would be negative."""
    used = np.ones(values.shape[1], dtype=bool)
    while True:
        design = np.column_stack([values[:, used], np.ones(len(values))])
        solution = np.zeros(design.shape[1])
        penalty = np.append(np.full(used.sum(), _REGULARISATION), 1e-6)
        for _ in range(_ROUNDS):
            odds = 1.0 / (1.0 + np.exp(-np.clip(design @ solution, -50.0, 50.0)))
            gradient = design.T @ (shares * (odds - right)) + penalty * solution
            hessian = (design * (shares * odds * (1.0 - odds))[:, np.newaxis]).T @ design + np.diag(penalty)
            solution = solution - np.linalg.solve(hessian, gradient)
        if (solution[:-1] >= 0.0).all():
            weights = np.zeros(values.shape[1])
            weights[used] = solution[:-1]
            return weights, float(solution[-1])
        used[np.flatnonzero(used)[solution[:-1].argmin()]] = False


def _threshold(best_wrong: Array, asked: int, rate: float) -> float:
    """Return the score that wrong images exceed at a rate: an exponential fits the highest of them."""
    if not len(best_wrong):
        return 0.0
    tail = np.sort(best_wrong)[-max(int(np.ceil(_TAIL * len(best_wrong))), min(5, len(best_wrong))) :]
    excess = float((tail - tail[0]).mean())
    return float(tail[0] + excess * max(np.log(len(tail) / asked / rate), 0.0))


def try_out(arguments: argparse.Namespace) -> int:
    """Count how many images that do not show the place are verified."""
    refiner = Refiner(LandmarkMap.load(arguments.map))
    camera, noise = refiner.map.cameras[0], PriorNoise(*arguments.prior)
    generator = np.random.default_rng(1)
    asked: Counter[str] = Counter()
    verified: Counter[str] = Counter()
    scores = []
    for kind, image in tqdm(impostors(arguments.impostors, arguments.count, camera), total=arguments.count):
        answer = refiner.refine(image, camera, random_prior(refiner.map, noise, generator))
        asked[kind] += 1
        verified[kind] += answer.verified
        scores.append(answer.score)
    for kind, count in asked.items():
        print(f"{kind}: {verified[kind]} of {count} verified")
    highest = ", ".join(f"{score:.2f}" for score in sorted(scores)[-5:])
    print(
        f"all: {sum(verified.values())} of {sum(asked.values())} verified; highest scores {highest}; ", end=""
    )
    print(f"verified from {refiner.verification.threshold:.2f} on")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(required=True)
    for name, run in (("collect", collect), ("try", try_out)):
        verb = verbs.add_parser(name)
        verb.add_argument("--map", type=Path, required=True)
        verb.add_argument("--impostors", type=Path, nargs="+", required=True, help="data of other places")
        verb.add_argument("--count", type=int, default=2000, help="images of each kind (default: 2000)")
        verb.add_argument(
            "--prior",
            type=float,
            nargs=2,
            default=(0.1, 3.0),
            metavar=("METRES", "DEGREES"),
            help="its error",
        )
        verb.set_defaults(run=run)
    collecting = verbs.choices["collect"]
    add_dataset_arguments(collecting, split=None)
    collecting.add_argument(
        "--limit", type=float, required=True, help="largest error of a right pose, metres"
    )
    collecting.add_argument("--output", type=Path, required=True, help="file of the samples (.npz)")
    fitting = verbs.add_parser("fit")
    fitting.add_argument("samples", type=Path, nargs="+", help="files of `collect`")
    fitting.add_argument(
        "--rate", type=float, default=5e-4, help="share of wrong images that may be verified"
    )
    fitting.set_defaults(run=fit)
    return parser


if __name__ == "__main__":
    sys.exit(main())
