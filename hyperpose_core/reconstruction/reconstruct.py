"""Poses from images, from start to end; what is done already is not done again."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pycolmap

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.files import locked_folder
from hyperpose_core.geometry.poses import Array, Pose
from hyperpose_core.geometry.similarity import Similarity
from hyperpose_core.geometry.world import World
from hyperpose_core.reconstruction.appearance import read_signatures
from hyperpose_core.reconstruction.database import extract_features, match_pairs, solve_focal_lengths
from hyperpose_core.reconstruction.distance import KnownDistance, scale_from_distance
from hyperpose_core.reconstruction.frames import FrameSet, load_frames, save_frames
from hyperpose_core.reconstruction.gathering import GatheringSettings, gather_frames
from hyperpose_core.reconstruction.loops import closed_loops, load_matches, save_matches, summarise_matches
from hyperpose_core.reconstruction.mapping import Mapper, map_images
from hyperpose_core.reconstruction.model import Model, read_model
from hyperpose_core.reconstruction.pairs import choose_pairs
from hyperpose_core.reconstruction.report import NOT_METRIC, Reconstruction, quality_problems, write_report
from hyperpose_core.reconstruction.scale import ScaleEstimate, best_scale, disagreements
from hyperpose_core.reconstruction.sources import Source, find_sources, image_files
from hyperpose_core.reconstruction.tags import TagSettings, scale_from_tags
from hyperpose_core.reconstruction.track_fit import scale_from_track
from hyperpose_core.reconstruction.tracks import read_track
from hyperpose_core.reconstruction.upright import find_ground, image_up, scale_from_height, upright_pose
from hyperpose_core.reconstruction.writing import (
    IMAGE_FOLDER,
    MODEL_FOLDER,
    common_camera,
    write_labels,
    write_models,
)

_WORK_FOLDER = "work"
_FRAMES_FILE = "frames.json"
_MATCHES_FILE = "matches.json"
_MODELS = "models"
_DATABASE = "database.db"
_FATAL_ONLY = 3
_SIDEWAYS_COSINE = 0.7  # beyond 45 degrees off, a track's z is hardly up


@dataclass(frozen=True)
class ReconstructionSettings:
    """How a place is reconstructed.

    Attributes:
        gathering: how frames are chosen and what is known of their camera.
        mapper: how poses are found, see `map_images`.
        tags: the size of tags that may be in view; None where there are none.
        track: where the images were taken by something else, see `read_track`; None where nothing says it.
        track_offset_s: what is to be added to an image's stamp to have the track's.
        distances: distances that somebody measured.
        camera_height_m: of the camera above the ground, where it hardly changes.
    """

    gathering: GatheringSettings = field(default_factory=GatheringSettings)
    mapper: Mapper = "auto"
    tags: TagSettings | None = None
    track: str | None = None
    track_offset_s: float = 0.0
    distances: tuple[KnownDistance, ...] = ()
    camera_height_m: float | None = None


def reconstruct(paths: Sequence[Path], output: Path, settings: ReconstructionSettings) -> Reconstruction:
    """Find the poses of images that have none, and write them where every other verb can use them.

    Writes `labels.csv`, `labels.json` (camera and world), `images/`, COLMAP's model in `sparse/` and a
    report. An interrupted reconstruction goes on; a finished one is only placed anew, as by another track.

    Args:
        paths: videos, folders of images and bags of one place.
        output: the place's folder: new, empty, or from a reconstruction before.
        settings: see the class.

    Raises:
        HyperPoseError: a source cannot be read or shows too little, the folder holds something else, another
            process reconstructs there, or no images could be joined.
    """
    sources = find_sources(paths)
    work = _work_folder(output)
    with locked_folder(output, "reconstruction"):
        return _reconstruct(sources, output, work, settings)


def _reconstruct(
    sources: Sequence[Source], output: Path, work: Path, settings: ReconstructionSettings
) -> Reconstruction:
    started = time.monotonic()
    # COLMAP tells of every step otherwise.
    pycolmap.logging.minloglevel = _FATAL_ONLY
    frames = _gather(sources, output, work, settings)
    folders = _solve(frames, output, work, settings)
    free = read_model(folders[0])
    others = [read_model(folder).names for folder in folders[1:]]
    estimates, problems = _scales(free, frames, sources, output / IMAGE_FOLDER, settings)
    chosen = best_scale(estimates)
    placed, world = _place(free, chosen, frames, output)
    write_models(output, folders, placed)
    model = read_model(output / MODEL_FOLDER / "0")
    write_labels(output, output.absolute().name, frames, dict(model.poses), common_camera(model), world)
    problems = [*quality_problems(frames, model, others), *problems]
    if chosen is not None:
        problems += disagreements(estimates, chosen)
    matches = load_matches(work / _MATCHES_FILE)
    result = Reconstruction(
        output=output,
        frames=frames,
        model=model,
        world=world,
        scale=chosen,
        others=others,
        pairs=matches.pairs,
        verified=matches.verified,
        loops=closed_loops(frames, matches, model.names),
        cuts=matches.cuts,
        problems=problems,
        seconds=time.monotonic() - started,
    )
    write_report(result)
    return result


def _work_folder(output: Path) -> Path:
    work = output / _WORK_FOLDER
    if output.exists() and not work.is_dir() and (not output.is_dir() or any(output.iterdir())):
        raise HyperPoseError(f"{output}: exists and is no reconstruction; give --output another folder")
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HyperPoseError(f"{output}: cannot write: {error.strerror}") from error
    return work


def _gather(
    sources: Sequence[Source], output: Path, work: Path, settings: ReconstructionSettings
) -> FrameSet:
    fingerprint = _fingerprint(sources, settings)
    frames = load_frames(work / _FRAMES_FILE, fingerprint)
    if frames is None:
        shutil.rmtree(work)
        work.mkdir()
        frames = gather_frames(sources, output / IMAGE_FOLDER, settings.gathering)
        save_frames(work / _FRAMES_FILE, frames, fingerprint)
    return frames


def _solve(frames: FrameSet, output: Path, work: Path, settings: ReconstructionSettings) -> list[Path]:
    """Return the models' folders, the largest model's first."""
    database, images, models = work / _DATABASE, output / IMAGE_FOLDER, work / _MODELS
    if not (work / _MATCHES_FILE).exists() or database.exists():
        extract_features(database, images, frames)
        pairs, far = choose_pairs(frames, read_signatures(database, frames))
        match_pairs(database, pairs)
        save_matches(work / _MATCHES_FILE, summarise_matches(database, frames, pairs, far))
        solve_focal_lengths(database)
    folders = map_images(database, images, models, frames, settings.mapper)
    database.unlink(missing_ok=True)
    return folders


def _scales(
    model: Model,
    frames: FrameSet,
    sources: Sequence[Source],
    image_folder: Path,
    settings: ReconstructionSettings,
) -> tuple[list[ScaleEstimate], list[str]]:
    """Find the scale in all ways asked for; return what worked, and why the others did not, one line each."""
    ways: list[Callable[[], ScaleEstimate]] = []
    if (track := settings.track) is not None:
        topic = settings.gathering.image_topic
        ways.append(
            lambda: scale_from_track(
                model, read_track(track, settings.track_offset_s, frames, sources, topic)
            )
        )
    if (tags := settings.tags) is not None:
        ways.append(lambda: scale_from_tags(model, image_folder, tags))
    ways += [partial(scale_from_distance, model, frames, known) for known in settings.distances]
    if (height := settings.camera_height_m) is not None:
        ways.append(lambda: scale_from_height(model, height))
    estimates, problems = [], []
    for way in ways:
        try:
            estimates.append(way())
        except HyperPoseError as error:
            problems.append(str(error))
    return estimates, problems


def _place(
    model: Model, scale: ScaleEstimate | None, frames: FrameSet, output: Path
) -> tuple[Similarity, World]:
    """Say where the model is to lie: in a track's frame, else upright over its ground or its first camera."""
    name = f"{output.absolute().name}, reconstructed"
    up = image_up(list(model.poses.values()))
    if scale is not None and scale.placed is not None:
        up = scale.placed.pose.rotation() @ up
        is_level = up[2] > _SIDEWAYS_COSINE
        vertical = (0.0, 0.0, 1.0) if is_level else (float(up[0]), float(up[1]), float(up[2]))
        return scale.placed, World(description=f"{name}, in {scale.frame}", up=vertical)
    unit = 1.0 if scale is None else scale.metres_per_unit
    first = next(frame.name for frame in frames.frames if frame.name in model.poses)
    placed = _upright(model, model.poses[first], up, unit)
    what = f"scale from {scale.origin}" if scale is not None else NOT_METRIC
    return placed, World(description=f"{name} ({what})", up=(0.0, 0.0, 1.0), is_metric=scale is not None)


def _upright(model: Model, first: Pose, up: Array, unit: float) -> Similarity:
    """Put the ground below the first camera at zero, that camera itself where no ground is seen."""
    ground = find_ground(model, up)
    origin = first.position
    if ground is not None:
        up = ground.up
        origin = origin - (origin @ up - ground.offset) * up
    turn = upright_pose(up, first.rotation()[:, 2])
    return Similarity(unit, replace(turn, position=-unit * (turn.rotation() @ origin)))


def _fingerprint(sources: Sequence[Source], settings: ReconstructionSettings) -> str:
    """Return what tells this reconstruction from one of other images, or of other frames of them."""
    files: list[list[object]] = []
    for source in sources:
        is_file = source.path.is_file()
        members = [source.path] if is_file else image_files(source.path) or sorted(source.path.iterdir())
        for file in members:
            status = file.stat()
            files.append([source.kind, str(file.resolve()), status.st_size, status.st_mtime_ns])
    text = json.dumps([files, repr(settings.gathering), settings.mapper])
    return hashlib.sha256(text.encode()).hexdigest()
