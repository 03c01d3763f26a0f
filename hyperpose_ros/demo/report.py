"""The demo's report: all replayed runs together, with pictures of the runs side by side."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hyperpose_core.datasets import PosedImageSet
from hyperpose_core.evaluation import Comparison, Picture, PictureRow, write_report
from hyperpose_core.evaluation.tum import ESTIMATE_FILE, REFINED_FILE
from hyperpose_core.geometry.poses import orientation_errors_deg, position_errors

_PLACES = 4


def write_demo_report(
    folder: Path,
    replays: Mapping[str, Path],
    training: PosedImageSet,
    test: PosedImageSet,
    metadata: Mapping[str, object],
) -> Path:
    """Write one report over all replayed runs.

    Args:
        folder: where to write.
        replays: the evaluator's folder of each replayed run, by the run's name.
        training: the training runs' frames.
        test: the replayed runs' frames.
        metadata: what else to say of the demo.

    Returns:
        path of the report.
    """
    comparison = read_replays(replays, test, ESTIMATE_FILE)
    pictures = [*_runs_side_by_side(training, test), _worst_frames(comparison, test)]
    return write_report(
        folder,
        comparison,
        title="An unseen drive through a simulated town, replayed into the localizer",
        metadata=metadata,
        pictures=pictures,
        refined=read_replays(replays, test, REFINED_FILE),
    )


def read_replays(replays: Mapping[str, Path], test: PosedImageSet, name: str) -> Comparison:
    """Join what the evaluator wrote of each run; frames without an estimate count as unanswered.

    Args:
        replays: the evaluator's folder of each replayed run, by the run's name.
        test: the replayed runs' frames, whose stamps and true poses are taken.
        name: of the file in each folder: the network's poses or the map's.
    """
    estimates = {run: _read_tum(folder / name) for run, folder in replays.items()}
    unanswered = np.full(7, np.nan)
    rows = np.array(
        [estimates[image.sequence].get(_microseconds(image.stamp_ns), unanswered) for image in test.images]
    )
    return Comparison(
        estimated_positions=rows[:, :3],
        estimated_orientations=rows[:, [6, 3, 4, 5]],
        true_positions=test.positions(),
        true_orientations=test.orientations(),
        stamps_ns=np.array([image.stamp_ns for image in test.images]),
        conditions=tuple(image.condition for image in test.images),
        up=None if test.world.up is None else np.array(test.world.up),
    )


def _read_tum(path: Path) -> dict[int, np.ndarray]:
    """Return x, y, z, qx, qy, qz, qw by stamp in microseconds, which a float64 of seconds still resolves.

    Nothing where there is no such file: no pose was verified.
    """
    if not path.is_file():
        return {}
    rows = np.loadtxt(path, ndmin=2)
    return {round(row[0] * 1e6): row[1:] for row in rows}


def _microseconds(stamp_ns: int | None) -> int:
    return round((stamp_ns or 0) / 1000)


def _runs_side_by_side(training: PosedImageSet, test: PosedImageSet) -> list[PictureRow]:
    """Return, for some places along the first unseen run, each run's picture taken nearest to it."""
    images = [*training.images, *test.images]
    runs = list(dict.fromkeys(image.sequence for image in images))
    path = [image for image in test.images if image.sequence == test.images[0].sequence]
    rows = []
    for number in range(_PLACES):
        place = path[(2 * number + 1) * len(path) // (2 * _PLACES)]
        pictures = []
        for run in runs:
            candidates = [image for image in images if image.sequence == run]
            distances = [np.linalg.norm(image.pose.position - place.pose.position) for image in candidates]
            nearest = candidates[int(np.argmin(distances))]
            kind = "unseen" if nearest in test.images else "training"
            pictures.append(Picture(f"{nearest.condition} ({kind})", nearest.read()))
        rows.append(PictureRow(f"The runs side by side, place {number + 1}", tuple(pictures)))
    return rows


def _worst_frames(comparison: Comparison, test: PosedImageSet) -> PictureRow:
    metres = position_errors(comparison.estimated_positions, comparison.true_positions)
    degrees = orientation_errors_deg(comparison.estimated_orientations, comparison.true_orientations)
    order = np.argsort(np.where(np.isfinite(metres), metres, np.inf))[::-1][:4]
    pictures = [
        Picture(f"{test.images[i].condition}: {metres[i]:.2f} m, {degrees[i]:.1f} deg", test.images[i].read())
        for i in order.tolist()
    ]
    return PictureRow("Where it was farthest off", tuple(pictures))
