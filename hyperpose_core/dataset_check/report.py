"""A dataset check as text for a terminal and as files: JSON, CSV and a plot."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from hyperpose_core.dataset_check.check import DatasetReport, PartReport
from hyperpose_core.dataset_check.coverage import Coverage
from hyperpose_core.dataset_check.motion import TimeStamps
from hyperpose_core.dataset_check.plot import coverage_figure
from hyperpose_core.dataset_check.pose_check import PoseCheck
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.evaluation.plot_style import save_figure
from hyperpose_core.files import replace_text

REPORT_FILE = "check.json"
NEAREST_FILE = "nearest_training_frames.csv"
PLOT_FILE = "coverage.png"

_NAMED_IMAGES = 10
_SIGNIFICANT_DIGITS = 3


def format_report(report: DatasetReport) -> str:
    """Return the report as text, tables first, problems last."""
    blocks = [f"{report.name} (format {report.format})", _parts_table(report.parts)]
    if report.coverage:
        blocks.append("test frames and the nearest training frame\n" + _coverage_table(report.coverage))
    if report.notes:
        blocks.append("\n".join(["notes", *(f"  {note}" for note in report.notes)]))
    blocks.append("\n".join(_problem_lines(report)))
    return "\n\n".join(blocks)


def write_report(report: DatasetReport, folder: Path) -> list[Path]:
    """Write check.json and, where there are test and training frames, the distances and their plot.

    Args:
        report: what the check found.
        folder: made if it isn't there.

    Returns:
        the files.

    Raises:
        HyperPoseError: the folder cannot be written to.
    """
    files = [folder / REPORT_FILE]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace_text(files[0], json.dumps(_plain(report), indent=2) + "\n", "report")
        if report.coverage:
            files += [folder / NEAREST_FILE, folder / PLOT_FILE]
            _write_nearest(files[1], report.coverage)
            save_figure(coverage_figure(report.coverage), files[2], 110)
    except OSError as error:
        raise HyperPoseError(f"{folder}: cannot write the report: {error.strerror or error}") from error
    return files


def _parts_table(parts: Sequence[PartReport]) -> str:
    head: tuple[str, ...] = (
        "scene",
        "split",
        "condition",
        "frames",
        "seqs",
        "image size",
        "extent x, y, z (m)",
        "way (m)",
        "step median, max (m)",
        "jumps",
        "time stamps",
    )
    rows = [head, *(_part_row(part) for part in parts)]
    return _table([row[:2] + row[3:] for row in rows] if not any(part.condition for part in parts) else rows)


def _part_row(part: PartReport) -> tuple[str, ...]:
    motion = part.motion
    sizes = list(part.sizes)
    return (
        part.scene,
        part.split,
        part.condition,
        str(part.frames),
        str(part.sequences),
        "not read" if not sizes else sizes[0] if len(sizes) == 1 else f"{sizes[0]} and others",
        ", ".join(map(_short, motion.extent_m)),
        _short(motion.travelled_m),
        f"{_short(motion.median_step_m)}, {_short(motion.largest_step_m)}",
        str(motion.jumps),
        _stamps_text(part.stamps),
    )


def _stamps_text(stamps: TimeStamps) -> str:
    if not stamps.stamped:
        return "none"
    text = f"{_short(stamps.duration_s)} s"
    if np.isfinite(stamps.median_period_s):
        text += f", every {_short(stamps.median_period_s)} s"
    if stamps.gaps:
        text += f", {stamps.gaps} gaps up to {_short(stamps.longest_gap_s)} s"
    return text


def _coverage_table(coverage: Sequence[Coverage]) -> str:
    rows = [("scene", "test frames", "distance median, p95, max (m)", "angle median, p95, max (deg)")]
    rows += [
        (item.scene, str(len(item.test)), _spread(item.distance_m), _spread(item.angle_deg))
        for item in coverage
    ]
    return _table(rows)


def _problem_lines(report: DatasetReport) -> list[str]:
    if not report.problems:
        return ["no problems found"]
    lines = ["problems", *(f"  {problem}" for problem in report.problems)]
    lines += [f"    {reason}" for reason in report.unreadable[:_NAMED_IMAGES]]
    if len(report.unreadable) > _NAMED_IMAGES:
        lines.append(
            f"    and {len(report.unreadable) - _NAMED_IMAGES} more; {REPORT_FILE} of --output has all"
        )
    return lines


def _write_nearest(path: Path, coverage: Sequence[Coverage]) -> None:
    head = ["scene", "sequence", "frame", "stamp_ns", "nearest_frame", "distance_m", "angle_deg"]
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(head)
    for item in coverage:
        for test, nearest, distance, angle in zip(
            item.test, item.nearest, item.distance_m, item.angle_deg, strict=True
        ):
            stamp = "" if test.stamp_ns is None else test.stamp_ns
            row = [item.scene, test.sequence, test.path, stamp, nearest.path]
            writer.writerow([*row, f"{distance:.6f}", f"{angle:.4f}"])
    replace_text(path, text.getvalue(), "table of nearest frames")


def _plain(report: DatasetReport) -> dict[str, object]:
    """Return the report as data that JSON can hold; what is not known becomes null."""
    parts = [asdict(part) for part in report.parts]
    for part in parts:
        part["stamps"] = {
            name: None if isinstance(value, float) and not np.isfinite(value) else value
            for name, value in part["stamps"].items()
        }
    return {
        "name": report.name,
        "format": report.format,
        "parts": parts,
        "nearest_training_frame": [
            {
                "scene": item.scene,
                "test_frames": len(item.test),
                "distance_median_m": float(np.median(item.distance_m)),
                "distance_max_m": float(item.distance_m.max()),
                "angle_median_deg": float(np.median(item.angle_deg)),
                "angle_max_deg": float(item.angle_deg.max()),
            }
            for item in report.coverage
        ],
        "unreadable": list(report.unreadable),
        "poses_by_images": None if report.poses is None else _plain_poses(report.poses),
        "notes": list(report.notes),
        "problems": list(report.problems),
    }


def _plain_poses(poses: PoseCheck) -> dict[str, object]:
    """Return what images say of poses; what is not known becomes null."""
    return {
        name: [
            {key: None if value != value else value for key, value in asdict(item).items()} for item in items
        ]
        for name, items in (("scenes", poses.scenes), ("mistakes", poses.mistakes))
    }


def _spread(values: np.ndarray) -> str:
    return ", ".join(_short(value) for value in (np.median(values), np.quantile(values, 0.95), values.max()))


def _short(value: float) -> str:
    """Write a number with three digits that say something, none of them in exponents."""
    if value == 0 or not np.isfinite(value):
        return f"{value:.0f}"
    digits = _SIGNIFICANT_DIGITS - 1 - int(np.floor(np.log10(abs(value))))
    return f"{value:.{min(max(digits, 0), 4)}f}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)
