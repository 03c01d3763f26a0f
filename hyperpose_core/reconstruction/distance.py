"""The scale from a distance that somebody measured: between two cameras, or two points in images."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.poses import Array
from hyperpose_core.reconstruction.frames import Frame, FrameSet
from hyperpose_core.reconstruction.model import Model
from hyperpose_core.reconstruction.scale import ScaleError, ScaleEstimate

_NEIGHBOURS = 5
_REACH = 0.03  # of the image's larger side: how far from a pixel points are looked for
_NANOSECONDS = 1_000_000_000


@dataclass(frozen=True)
class KnownDistance:
    """A distance between two places.

    Attributes:
        first: an image (its file's name, its number, or a video's time as 12.5s), for the place that it was
            taken from; with @X,Y after it, for what is seen at that pixel.
        second: likewise.
        metres: how far they are apart.
    """

    first: str
    second: str
    metres: float


def parse_distance(first: str, second: str, metres: str) -> KnownDistance:
    """Read a distance as a command line gives it.

    Raises:
        HyperPoseError: the length is no positive number.
    """
    try:
        length = float(metres)
    except ValueError:
        length = -1.0
    if not 0.0 < length < np.inf:
        raise HyperPoseError(f"--distance: {metres!r} is no length in metres; give FROM TO METRES")
    return KnownDistance(first, second, length)


def scale_from_distance(model: Model, frames: FrameSet, known: KnownDistance) -> ScaleEstimate:
    """Find the scale from a known distance.

    Raises:
        ScaleError: an image is unknown or has no pose, nothing was reconstructed at a pixel, or both places
            are the same.
    """
    first, second = (_place(model, frames, text) for text in (known.first, known.second))
    length = float(np.linalg.norm(second - first))
    origin = f"{known.metres:g} m from {known.first} to {known.second}"
    extent = float(np.linalg.norm(np.ptp(model.centres(), axis=0)))
    if length < 1e-3 * extent:
        raise ScaleError(f"{origin}: both are at the same place in the model")
    share = length / extent if extent > 0.0 else 1.0
    return ScaleEstimate(
        origin, known.metres / length, None, detail=f"{100.0 * share:.0f}% of the cameras' extent"
    )


def _place(model: Model, frames: FrameSet, text: str) -> Array:
    image, separator, pixel = text.partition("@")
    frame = _frame(frames, image)
    if frame.name not in model.poses:
        raise ScaleError(f"--distance {text}: {frame.name} has no pose in the model")
    if not separator:
        return model.poses[frame.name].position
    match = re.fullmatch(r"(\d+(?:\.\d*)?),(\d+(?:\.\d*)?)", pixel)
    if match is None:
        raise ScaleError(f"--distance {text}: {pixel!r} is no pixel; give it as X,Y")
    return _point_at(model, frame.name, np.array([float(match[1]), float(match[2])]), text)


def _frame(frames: FrameSet, text: str) -> Frame:
    """Find a frame by its name, or that of a source's frame that is nearest to a number or a time."""
    named = [
        frame
        for frame in frames.frames
        if frame.name == text
        or frame.name.endswith(f"/{text}")
        or frame.name.rpartition(".")[0].endswith(f"/{text}")
    ]
    if len(named) == 1:
        return named[0]
    source, _, place = text.rpartition(":")
    of_source = [frame for frame in frames.frames if not source or frame.source == source]
    if named or not of_source or (not source and len(frames.sources) > 1):
        raise ScaleError(
            f"--distance {text}: names {len(named)} images; give a file below images/, or SOURCE:NUMBER"
        )
    if match := re.fullmatch(r"(\d+(?:\.\d*)?)s", place):
        stamped = [frame for frame in of_source if frame.stamp_ns is not None]
        wanted_ns = float(match[1]) * _NANOSECONDS
        if stamped:
            return min(stamped, key=lambda frame: abs((frame.stamp_ns or 0) - wanted_ns))
    if place.isdecimal():
        return min(of_source, key=lambda frame: abs(frame.number - int(place)))
    raise ScaleError(f"--distance {text}: no such image; give a file's name, a number, or a time as 12.5s")


def _point_at(model: Model, name: str, pixel: Array, text: str) -> Array:
    """Return the middle of the model's points that an image saw next to a pixel."""
    observed = model.observations[name]
    camera = model.cameras[name]
    distances = np.linalg.norm(observed.pixels - pixel, axis=1)
    nearest = np.argsort(distances)[:_NEIGHBOURS]
    nearest = nearest[distances[nearest] < _REACH * max(camera.width, camera.height)]
    if not len(nearest):
        raise ScaleError(f"--distance {text}: nothing was reconstructed there; choose a corner of something")
    return np.asarray(np.median(model.points[observed.points[nearest]], axis=0))
