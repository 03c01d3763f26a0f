"""`hyperpose align`: fits where the trained world lies in a robot's map."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from hyperpose_core.datasets.tum import read_tum_file
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.files import replace_text
from hyperpose_core.geometry.alignment import Alignment, align_poses, upward
from hyperpose_core.geometry.poses import Pose

_NANOSECONDS = 1_000_000_000
_FLAT_COSINE = 0.7  # beyond 45 degrees off the map's z axis, cameras are hardly upright
_SAME_FRAME_DEG = 30.0


def run(arguments: argparse.Namespace) -> int:
    """Align as the arguments say.

    Raises:
        HyperPoseError: a file or an argument is wrong, or the poses fix no transform.
    """
    if not arguments.max_difference >= 0:
        raise HyperPoseError(f"--max-difference is {arguments.max_difference}; it must not be negative")
    estimated, reference, available = _matches(
        arguments.estimated, arguments.reference, round(arguments.max_difference * _NANOSECONDS)
    )
    alignment = align_poses(estimated, reference)
    print(f"{len(estimated)} of {available} estimated poses have a reference pose")
    _print_fit(alignment, reference)
    line = f"world_to_map: [{', '.join(_numbers(alignment.transform))}]"
    print(line)
    if arguments.output is not None:
        _write(arguments.output, line)
    return 0


def _matches(estimated: Path, reference: Path, tolerance_ns: int) -> tuple[list[Pose], list[Pose], int]:
    """Return the poses that have one of nearly the same stamp in the other file, and how many there were."""
    stamps_ns, poses = read_tum_file(estimated)
    reference_ns, reference_poses = read_tum_file(reference)
    order = np.argsort(reference_ns, kind="stable")
    ordered = reference_ns[order]
    after = np.clip(np.searchsorted(ordered, stamps_ns), 0, len(ordered) - 1)
    before = np.maximum(after - 1, 0)
    nearest = np.where(
        np.abs(ordered[before] - stamps_ns) < np.abs(ordered[after] - stamps_ns), before, after
    )
    gaps_ns = np.abs(ordered[nearest] - stamps_ns)
    rows = np.flatnonzero(gaps_ns <= tolerance_ns)
    if not len(rows):
        raise HyperPoseError(
            f"{estimated} and {reference}: no two stamps are within {tolerance_ns / _NANOSECONDS:g} s "
            f"(--max-difference); the nearest are {gaps_ns.min() / _NANOSECONDS:g} s apart"
        )
    matched = [reference_poses[order[nearest[row]]] for row in rows]
    return [poses[row] for row in rows], matched, len(poses)


def _print_fit(alignment: Alignment, reference: list[Pose]) -> None:
    used = alignment.used
    positions, rotations = alignment.position_residuals[used], alignment.rotation_residuals_deg[used]
    print(f"{used.sum()} of them used, {(~used).sum()} left out as outliers")
    print(f"the rotation is fitted to the {alignment.rotation_from}")
    print(f"residuals, median: {np.median(positions):.3f} m, {np.median(rotations):.2f} degrees")
    if np.median(rotations) > _SAME_FRAME_DEG:
        print(
            "note: the orientations do not fit: the reference may be the pose of another frame, such as "
            "base_link; it must be that of the camera's optical frame (x right, y down, z forward)"
        )
    up = upward(reference)
    if up[2] < _FLAT_COSINE:
        direction = ", ".join(f"{value:.2f}" for value in up)
        print(f"note: up in the images is ({direction}) in the reference; REP-103 has z up in a map")


def _numbers(pose: Pose) -> list[str]:
    w, x, y, z = pose.orientation
    # Rounding a unit quaternion to nine decimals leaves a unit quaternion, as far as anybody checks.
    return [f"{float(number):.9f}" for number in (*pose.position, x, y, z, w)]


def _write(path: Path, line: str) -> None:
    text = (
        "/**:\n"
        "  ros__parameters:\n"
        "    # x, y, z, qx, qy, qz, qw of the trained world in map_frame, metres\n"
        f"    {line}\n"
    )
    replace_text(path, text, "parameters")
    print(f"written to {path}: localizer --ros-args --params-file {path} ...")
