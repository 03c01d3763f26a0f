"""`hyperpose predict`: photographs in, poses out."""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path

from hyperpose_core.cli.common import map_refiner_from
from hyperpose_core.errors import HyperPoseError, named
from hyperpose_core.files import replace_text
from hyperpose_core.geometry.poses import Array, Pose
from hyperpose_core.images import RgbImage, read_photograph
from hyperpose_core.inference.estimator import PoseEstimate, PoseEstimator
from hyperpose_core.refinement.map_refiner import MapRefiner
from hyperpose_core.uncertainty.covariance import are_unknown

_COLUMNS = ("image", "x", "y", "z", "qw", "qx", "qy", "qz", "scene", "scene_probability")
_MAP_COLUMNS = ("source", "verified", "inliers")


def run(arguments: argparse.Namespace) -> int:
    """Predict as the arguments say.

    Raises:
        HyperPoseError: the checkpoint or the device is wrong, or no image gave a pose.
    """
    estimator = PoseEstimator.load(
        arguments.checkpoint, arguments.device, engine=arguments.engine, precision=arguments.precision
    )
    if estimator.checkpoint.world.unit_note:
        print(f"note: {estimator.checkpoint.world.unit_note}", file=sys.stderr)
    refiner = map_refiner_from(arguments, estimator.checkpoint)
    columns = _COLUMNS if refiner is None else (*_COLUMNS, *_MAP_COLUMNS)
    rows = []
    failed: list[HyperPoseError] = []
    for path in arguments.images:
        try:
            rows.append(_predict(path, estimator, refiner))
        except HyperPoseError as error:
            failed.append(error)
            rows.append(_row(path, None))
            if len(arguments.images) > 1:
                print(f"no pose: {error}", file=sys.stderr)
    if arguments.csv is not None and len(failed) < len(rows):
        _write(arguments.csv, columns, rows)
    if len(failed) == len(rows):
        raise failed[0] if len(failed) == 1 else HyperPoseError(f"none of {len(failed)} images gave a pose")
    return 0 if all(row["x"] != "" for row in rows) else 1


def _predict(path: Path, estimator: PoseEstimator, refiner: MapRefiner | None) -> dict[str, object]:
    """Say where an image was taken and return its row.

    Raises:
        HyperPoseError: it cannot be read, or is no input of the network.
    """
    with named(path):
        image = read_photograph(path, estimator.checkpoint.camera)
        if note := estimator.squash_note(*image.shape[:2]):
            print(f"note: {path}: {note}", file=sys.stderr)
        estimate = estimator.estimate([image])[0]
    print(_line(path, estimate))
    row = _row(path, estimate)
    return row if refiner is None else row | _refine(refiner, path, image, estimate)


def _refine(refiner: MapRefiner, path: Path, image: RgbImage, estimate: PoseEstimate) -> dict[str, object]:
    """Refine with the map, print the result and return what changes in the image's row."""
    try:
        refinement = refiner.refine(image, estimate)
    except HyperPoseError as error:
        print(f"{path}: not refined: {error}")
        return {"source": "network", "verified": False, "inliers": 0}
    row: dict[str, object] = {
        "source": "network",
        "verified": refinement.verified,
        "inliers": refinement.inliers,
    }
    if refinement.pose is None or refinement.covariance is None or not refinement.verified:
        reason = "no pose" if refinement.reason is None else refinement.reason.value
        print(f"{path}: the map does not confirm a pose: {reason}")
        return row
    where = _pose_text(refinement.pose, refinement.covariance, digits=4)
    print(f"{path}: verified by the map: {where}, {refinement.inliers} landmarks")
    return row | {"source": "map"} | _pose_columns(refinement.pose)


def _line(path: Path, estimate: PoseEstimate) -> str:
    if estimate.pose is None:
        return f"{path}: the network's output is not finite"
    scene = "" if estimate.scene is None else f"  scene {estimate.scene} ({estimate.scene_probability:.2f})"
    return f"{path}: {_pose_text(estimate.pose, estimate.covariance)}{scene}"


def _pose_text(pose: Pose, covariance: Array, digits: int = 2) -> str:
    position = ", ".join(f"{value:.3f}" for value in pose.position)
    orientation = ", ".join(f"{value:.4f}" for value in pose.orientation)
    if are_unknown(covariance[None])[0]:
        return f"position [{position}] m, orientation wxyz [{orientation}], covariance not measured"
    deviation = covariance.diagonal() ** 0.5
    return (
        f"position [{position}] m +- {max(deviation[:3]):.{digits}f}, "
        f"orientation wxyz [{orientation}] +- {max(deviation[3:]):.{digits + 1}f} rad"
    )


def _row(path: Path, estimate: PoseEstimate | None) -> dict[str, object]:
    row: dict[str, object] = dict.fromkeys(_COLUMNS, "")
    row["image"] = path
    if estimate is None:
        return row
    if estimate.pose is not None:
        row |= _pose_columns(estimate.pose)
    if estimate.scene is not None:
        row.update(scene=estimate.scene, scene_probability=estimate.scene_probability)
    return row


def _pose_columns(pose: Pose) -> dict[str, object]:
    return dict(zip(_COLUMNS[1:8], [*pose.position.tolist(), *pose.orientation.tolist()], strict=True))


def _write(path: Path, columns: Sequence[str], rows: list[dict[str, object]]) -> None:
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, fieldnames=columns)
    table.writeheader()
    table.writerows(rows)
    replace_text(path, text.getvalue(), "table of poses")
    print(f"{len(rows)} poses written to {path}", file=sys.stderr)
