"""How time and memory of localisation grow with the landmark map.

    python benchmarks/landmark_growth.py --map kitchen.map --data redkitchen_train.csv
        --data-option camera=640,480,525.5,525.5,320,240 --every 20

Larger maps are copies of a real one beside one another, smaller ones its most useful landmarks. The images
are the map's own, with priors near the truth and without: this measures time, not errors. One thread;
processor time.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from benchmarks.landmark_samples import PriorNoise
from hyperpose_core.cli.arguments.common import add_dataset_arguments
from hyperpose_core.cli.common import open_dataset_from
from hyperpose_core.datasets.records import PosedImageSet
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.landmarks.budget import most_useful_landmarks, select_landmarks
from hyperpose_core.landmarks.landmark_map import LandmarkMap, Landmarks, MapImages, Observations
from hyperpose_core.landmarks.refinement import Refinement
from hyperpose_core.landmarks.refiner import Refiner

_APART_M = 100.0
_NOISE = PriorNoise(0.1, 3.0)


def main() -> int:
    """Run the command."""
    arguments = _parser().parse_args()
    cv2.setNumThreads(1)
    ThreadpoolController().select(internal_api="openblas").limit(limits=1)
    try:
        content, data = LandmarkMap.load(arguments.map), open_dataset_from(arguments)
        for count in arguments.landmarks:
            print(_line(resized(content, count), data, arguments.every), flush=True)
    except HyperPoseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def resized(content: LandmarkMap, count: int) -> LandmarkMap:
    """Return a map of so many landmarks."""
    copies = -(-count // len(content.landmarks))
    larger = repeated(content, copies) if copies > 1 else content
    return select_landmarks(larger, most_useful_landmarks(larger)[:count])


def repeated(content: LandmarkMap, copies: int) -> LandmarkMap:
    """Return a map that holds another so many times, at places far from one another."""
    shifts = np.arange(copies)[:, np.newaxis] * (_APART_M, 0.0, 0.0)
    landmarks, images, seen = content.landmarks, content.images, content.observations
    many = {name: np.concatenate([value] * copies) for name, value in vars(landmarks).items()}
    many["positions"] += np.repeat(shifts, len(landmarks), axis=0).astype(np.float32)
    starts = np.arange(copies)[:, np.newaxis]
    offsets = (starts * len(seen) + seen.image_offsets[:-1]).ravel()
    return replace(
        content,
        landmarks=Landmarks(**many),
        images=MapImages(
            names=images.names * copies,
            positions=np.tile(images.positions, (copies, 1)) + np.repeat(shifts, len(images), axis=0),
            orientations=np.tile(images.orientations, (copies, 1)),
            scenes=np.tile(images.scenes, copies),
            cameras=np.tile(images.cameras, copies),
        ),
        observations=Observations(
            np.append(offsets, copies * len(seen)),
            (starts * len(landmarks) + seen.landmarks).ravel().astype(np.int32),
        ),
    )


def _line(content: LandmarkMap, data: PosedImageSet, every: int) -> str:
    before, begin = _resident_bytes(), time.process_time()
    refiner = Refiner(content)
    made_s = time.process_time() - begin
    generator = np.random.default_rng(0)
    times: dict[str, list[float]] = {"near": [], "none": []}
    verified = dict.fromkeys(times, 0)
    for image in data.images[::every]:
        pixels = image.read()
        for name, prior in (("near", _NOISE.prior(image.pose, None, generator)), ("none", None)):
            start = time.process_time()
            answer: Refinement = refiner.refine(pixels, content.cameras[0], prior)
            times[name].append(1e3 * (time.process_time() - start))
            verified[name] += answer.verified
    arrays = content.size() / 1e6
    gc.collect()
    asked = len(times["near"])
    frames = ", ".join(
        f"{name} {np.median(taken):.0f} ms ({verified[name]} of {asked} verified)"
        for name, taken in times.items()
    )
    return (
        f"{len(content.landmarks):,} landmarks, {len(content.images):,} images, {arrays:.0f} MB: {frames}; "
        f"made ready in {made_s:.1f} s and {(_resident_bytes() - before) / 1e6:.0f} MB more"
    )


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="How localisation's time and memory grow with the map.")
    parser.add_argument("--map", type=Path, required=True)
    add_dataset_arguments(parser, split=None)
    parser.add_argument("--landmarks", type=int, nargs="+", default=(10_000, 100_000, 1_000_000))
    parser.add_argument("--every", type=int, default=20, help="take every so many images (default: 20)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
