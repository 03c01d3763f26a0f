"""The frames that a reconstruction is made of, kept on disk so that an interrupted one goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.files import read_bytes, replace_text
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.limits import LARGEST_TABLE_BYTES
from hyperpose_core.untrusted import parse_json


@dataclass(frozen=True)
class Frame:
    """An image that is to get a pose.

    Attributes:
        name: its file, below the folder of images: "walk/000123.jpg".
        source: the video, folder or bag it is from.
        number: its place in the source, from 0.
        camera: which of the frame set's cameras took it.
        stamp_ns: when it was taken, nanoseconds since 1970 or since the start of a video; None where nothing
            says it.
        starts_shot: whether nothing of the frame before was found in it at a glance, as after a cut.
        location: latitude and longitude in degrees and altitude in metres, where the file says them.
    """

    name: str
    source: str
    number: int
    camera: str
    stamp_ns: int | None = None
    starts_shot: bool = False
    location: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class CameraGuess:
    """What is known of a camera before anything is solved.

    Attributes:
        width: of its images, pixels.
        height: of its images, pixels.
        known: its intrinsics; None where nothing says them.
        is_exact: whether `known` is to be kept as it is; else it is where solving starts.
        origin: where `known` is from, for people.
    """

    width: int
    height: int
    known: CameraModel | None = None
    is_exact: bool = False
    origin: str = "solved"


@dataclass(frozen=True)
class FrameSet:
    """All frames of a reconstruction, source after source, in the order of their recording.

    Attributes:
        frames: see `Frame`.
        cameras: by their names.
        consecutive: the sources whose frames follow each other as a video's do.
        dropped: why frames of the sources were left out, as cause -> count.
        notes: what else a person should know of the sources, one line each.
    """

    frames: tuple[Frame, ...]
    cameras: Mapping[str, CameraGuess]
    consecutive: tuple[str, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources' names, in their order."""
        return tuple(dict.fromkeys(frame.source for frame in self.frames))


def save_frames(path: Path, frames: FrameSet, fingerprint: str) -> None:
    """Write a frame set, and what it was made from."""
    text = json.dumps({"fingerprint": fingerprint, **asdict(frames)})
    replace_text(path, text, "list of frames")


def load_frames(path: Path, fingerprint: str) -> FrameSet | None:
    """Read what `save_frames` wrote; None where there is no file, or it was made from something else.

    Raises:
        HyperPoseError: the file is damaged.
    """
    if not path.exists():
        return None
    try:
        content = parse_json(read_bytes(path, "list of frames", LARGEST_TABLE_BYTES), path)
        if content.pop("fingerprint") != fingerprint:
            return None
        return FrameSet(
            frames=tuple(_frame(entry) for entry in content["frames"]),
            cameras={name: _guess(entry) for name, entry in content["cameras"].items()},
            consecutive=tuple(content["consecutive"]),
            dropped=dict(content["dropped"]),
            notes=tuple(content["notes"]),
        )
    except (HyperPoseError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise HyperPoseError(f"{path}: damaged; delete it to pick the frames anew: {error}") from error


def _frame(entry: dict[str, object]) -> Frame:
    location = entry.pop("location")
    return Frame(**entry, location=None if location is None else tuple(location))  # type: ignore[arg-type]


def _guess(entry: dict[str, object]) -> CameraGuess:
    known = entry.pop("known")
    if isinstance(known, dict):
        known = CameraModel.from_dict(known)
    return CameraGuess(**entry, known=known)  # type: ignore[arg-type]
