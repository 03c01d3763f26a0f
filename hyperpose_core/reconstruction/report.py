"""Quality of a reconstruction, as lines, as a file and as a plot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hyperpose_core.evaluation.documents import write_results
from hyperpose_core.geometry.world import World
from hyperpose_core.reconstruction.continuity import jumps
from hyperpose_core.reconstruction.frames import FrameSet
from hyperpose_core.reconstruction.model import Model
from hyperpose_core.reconstruction.plot import plan_figure
from hyperpose_core.reconstruction.scale import ScaleEstimate

REPORT_FOLDER = "report"
NOT_METRIC = "THE UNIT IS NOT THE METRE"

_PICTURE = "plan.png"
_WAYS = "--tag-size, --track, --distance or --camera-height"
_FEW_REGISTERED = 0.8
_LARGE_ERROR_PX = 2.0


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """A finished reconstruction of a place.

    Attributes:
        output: the place's folder.
        frames: all frames, with and without pose.
        model: the largest model, where it lies in `world`.
        world: the frame of the poses.
        scale: what the unit is from; None where it is not the metre.
        others: images of each further model, which shares no view with the largest.
        pairs: how many pairs of images were matched.
        verified: how many of them agree with a two-view geometry.
        loops: pairs of frames, one a loop that was closed.
        cuts: frames of videos that nothing joins to those before.
        problems: what was asked for and not had, and what looks wrong, one line each.
        seconds: how long it took, without what was there already.
    """

    output: Path
    frames: FrameSet
    model: Model
    world: World
    scale: ScaleEstimate | None
    others: Sequence[Sequence[str]]
    pairs: int
    verified: int
    loops: Sequence[tuple[str, str]]
    cuts: Sequence[str]
    problems: Sequence[str]
    seconds: float

    @property
    def registered_share(self) -> float:
        """The share of the frames that have a pose."""
        return len(self.model.poses) / len(self.frames.frames)


def summary_lines(place: Reconstruction) -> list[str]:
    """Return lines on the quality of a reconstruction."""
    model, frames = place.model, place.frames
    rows = [
        (
            "registered",
            f"{len(model.poses)} of {len(frames.frames)} images ({100.0 * place.registered_share:.0f}%)",
        ),
        (
            "reprojection",
            f"{model.reprojection_error_px:.2f} px in the mean, {len(model.points):,} points, seen by "
            f"{np.mean(model.track_lengths) if len(model.points) else 0.0:.1f} images each",
        ),
        *(("camera", line) for line in _camera_lines(place)),
        ("scale", _scale_line(place)),
        ("up", "z" if place.world.up is not None else "not known"),
        ("extent", _extent(place)),
        ("matching", f"{place.verified:,} of {place.pairs:,} pairs of images agree"),
        ("loops closed", _loop_line(place)),
    ]
    rows += [("left out", f"{count} {cause}") for cause, count in frames.dropped.items()]
    rows += [("left out", line) for line in _unregistered(place)]
    rows += [("cut", f"nothing joins {name} to the frames before it") for name in place.cuts]
    rows += [("note", line) for line in frames.notes]
    rows += [("problem", line) for line in place.problems]
    return [f"{name:13} {text}" for name, text in rows]


def write_report(place: Reconstruction) -> Path:
    """Write `report/results.md`, `results.json` and a picture; return the path of the first.

    Raises:
        HyperPoseError: the folder cannot be written.
    """
    sources = {frame.name: frame.source for frame in place.frames.frames}
    unit = "m" if place.world.is_metric else "units, not metres"
    lines = "\n".join(summary_lines(place))
    return write_results(
        place.output / REPORT_FOLDER,
        document(place),
        [f"# {place.output.absolute().name}, reconstructed", f"```\n{lines}\n```"],
        {_PICTURE: plan_figure(place.model, sources, unit)},
    )


def document(place: Reconstruction) -> dict[str, object]:
    """Return the figures of a reconstruction by name."""
    scale = place.scale
    return {
        "images": len(place.frames.frames),
        "registered": len(place.model.poses),
        "registered_share": place.registered_share,
        "reprojection_error_px": place.model.reprojection_error_px,
        "points": len(place.model.points),
        "is_metric": place.world.is_metric,
        "scale_from": None if scale is None else scale.origin,
        "scale_deviation": None if scale is None else scale.deviation,
        "pairs": place.pairs,
        "verified_pairs": place.verified,
        "loops": [list(loop) for loop in place.loops],
        "cuts": list(place.cuts),
        "other_models": [len(names) for names in place.others],
        "left_out": dict(place.frames.dropped),
        "notes": list(place.frames.notes),
        "problems": list(place.problems),
        "seconds": place.seconds,
    }


def quality_problems(frames: FrameSet, model: Model, others: Sequence[Sequence[str]]) -> list[str]:
    """Say what looks wrong with a model, one line each."""
    problems = []
    share = len(model.poses) / len(frames.frames)
    if others:
        places = "; ".join(f"{len(names)} images ({_range(frames, names)})" for names in others)
        problems.append(
            f"{len(others) + 1} parts share no view (a cut, or several places): kept {len(model.poses)} "
            f"images ({_range(frames, model.names)}), apart in sparse/: {places}"
        )
    elif share < _FEW_REGISTERED:
        problems.append(
            f"only {100.0 * share:.0f}% of the images have a pose: film slower, with more overlap"
        )
    if wrong := jumps(model.poses, frames):
        problems.append(
            f"the camera jumps at {wrong[0]}"
            + (f" and {len(wrong) - 1} more frames" if len(wrong) > 1 else "")
            + ": parts of the model are wrong, as where things repeat; film it in parts, or more slowly"
        )
    if model.reprojection_error_px > _LARGE_ERROR_PX:
        problems.append(
            f"the reprojection error is {model.reprojection_error_px:.1f} px: wrong intrinsics, or a rolling "
            "shutter"
        )
    return problems


def _camera_lines(place: Reconstruction) -> list[str]:
    kinds: dict[str, str] = {}
    for frame in place.frames.frames:
        if frame.name in place.model.cameras and frame.camera not in kinds:
            camera = place.model.cameras[frame.name]
            guess = place.frames.cameras[frame.camera]
            warped = ", distorted" if any(camera.distortion) else ""
            kinds[frame.camera] = (
                f"{camera.width}x{camera.height}, focal length {camera.fx:.1f} px{warped}: {guess.origin}"
            )
    counts = Counter(frame.camera for frame in place.frames.frames if frame.name in place.model.cameras)
    if len(kinds) == 1:
        return list(kinds.values())
    return [f"{line} ({counts[name]} images)" for name, line in kinds.items()]


def _scale_line(place: Reconstruction) -> str:
    scale = place.scale
    if scale is None:
        return f"not known: {NOT_METRIC}; give {_WAYS}"
    sure = "one measurement" if scale.deviation is None else f"+-{100.0 * scale.deviation:.2g}%"
    detail = f" ({scale.detail})" if scale.detail else ""
    return f"metres, {sure}, from {scale.origin}{detail}"


def _extent(place: Reconstruction) -> str:
    sides = " x ".join(f"{side:.2f}" for side in np.ptp(place.model.centres(), axis=0))
    return f"of the cameras {sides} {'m' if place.world.is_metric else 'units'}"


def _loop_line(place: Reconstruction) -> str:
    if not place.loops:
        return "none" if place.frames.consecutive else "photographs have no order"
    first, second = place.loops[0]
    return f"{len(place.loops)}, such as {first} with {second}"


def _unregistered(place: Reconstruction) -> list[str]:
    elsewhere = {name for names in place.others for name in names}
    missing = [
        frame.name
        for frame in place.frames.frames
        if frame.name not in place.model.poses and frame.name not in elsewhere
    ]
    if not missing:
        return []
    return [f"{len(missing)} images share too little with the others ({_range(place.frames, missing)})"]


def _range(frames: FrameSet, names: Sequence[str]) -> str:
    """Say which frames of which sources some names are, roughly."""
    numbers: dict[str, list[int]] = {}
    wanted = set(names)
    for frame in frames.frames:
        if frame.name in wanted:
            numbers.setdefault(frame.source, []).append(frame.number)
    parts = (f"{source} {min(found)} to {max(found)}" for source, found in numbers.items())
    return ", ".join(parts)
