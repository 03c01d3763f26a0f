"""One RobotCar run as a whole: images and their poses, INS, visual odometry, GPS, calibration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hyperpose_core.datasets.robotcar_logs import (
    GpsLog,
    InsLog,
    Stamps,
    VoLog,
    read_gps,
    read_ins,
    read_stamps,
    read_vo,
)
from hyperpose_core.datasets.robotcar_sdk import (
    BASE_LINK_FROM_VEHICLE,
    Calibration,
    CameraFiles,
    RobotCarImageReader,
    camera_files,
    find_sdk,
    read_calibration,
    read_condition,
    read_raw,
    read_undistortion,
)
from hyperpose_core.datasets.robotcar_tracks import (
    LONGEST_GAP_NS,
    InsRows,
    Track,
    VoSteps,
    ins_rows,
    vo_steps,
    world_of,
)
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Pose
from hyperpose_core.geometry.world import World

POSE_SOURCES = ("ins", "vo")

INS_FILE = Path("gps", "ins.csv")
GPS_FILE = Path("gps", "gps.csv")
VO_FILE = Path("vo", "vo.csv")

_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True, eq=False)
class RobotCarRun:
    """One run, seen by one camera. Poses are in the local east-north-up world.

    Attributes:
        folder: the run's folder, `<root>/<date>`.
        world: the world of all poses.
        stamps_ns: stamps of the images that have a pose, int64 [N], strictly increasing.
        image_paths: N image files.
        camera_poses: N poses of the camera's optical frame in the world.
        reader: turns an image file into undistorted RGB.
        camera: the pinhole model of what the reader gives.
        condition: light and weather, where the dataset or the SDK says it.
        ins: the INS rows, good and bad.
        vo: the visual odometry's steps, or None where the run has no `vo/vo.csv`.
        gps: the GPS rows, or None where the run has no `gps/gps.csv`.
        base_link_from_optical: the camera's optical frame in base_link (x forward, y left, z up).
        base_link_from_ins: the INS body (x forward, y right, z down) in base_link.
        dropped: images without a pose or a file, and unreadable rows, as cause -> count.
    """

    folder: Path
    world: World
    stamps_ns: Stamps
    image_paths: tuple[Path, ...]
    camera_poses: tuple[Pose, ...]
    reader: RobotCarImageReader
    camera: CameraModel
    condition: str
    ins: InsRows
    vo: VoSteps | None
    gps: GpsLog | None
    base_link_from_optical: Pose
    base_link_from_ins: Pose
    dropped: Mapping[str, int]

    @property
    def date(self) -> str:
        """The name of the run's folder."""
        return self.folder.name

    def ins_base_link_track(self) -> Track:
        """Return base_link in the world at the good INS rows."""
        return self.ins.good_track().moved(Pose.identity(), self.base_link_from_ins.inverse())

    def vo_base_link_track(self) -> Track:
        """Return base_link by visual odometry, in base_link's frame at the first stamp.

        Raises:
            HyperPoseError: the run has no visual odometry.
        """
        if self.vo is None:
            raise HyperPoseError(f"{self.folder / VO_FILE}: no such file, so the run has no visual odometry")
        return self.vo.track().moved(BASE_LINK_FROM_VEHICLE, BASE_LINK_FROM_VEHICLE.inverse())


def load_run(
    root: Path | str,
    date: str,
    *,
    camera: str = "stereo_centre",
    sdk: Path | str | None = None,
    pose_source: str = "ins",
    origin: Sequence[float] | None = None,
    start: float | None = None,
    end: float | None = None,
    require_images: bool = True,
    undistort: bool = True,
) -> RobotCarRun:
    """Load one run's logs; images are read later, through `RobotCarRun.reader`.

    Args:
        root: the dataset's folder.
        date: the run's folder within it.
        camera: a name of `robotcar_sdk.CAMERAS`.
        sdk: the SDK folder; by default `sdk` in the dataset's folder or beside it.
        pose_source: "ins", or "vo": visual odometry chained from the INS pose at the first image that has
            one.
        origin: (easting, northing, up) of the world's zero, metres; by default near the first run of the
            folder.
        start: leave out images before this many seconds after the run's first image.
        end: leave out images after this many seconds after the run's first image.
        require_images: drop stamps that have no image file; False loads logs without images.
        undistort: undistort images where the SDK folder has the camera's table.

    Raises:
        HyperPoseError: a file, a row or an argument is wrong, or no image is left.
    """
    if pose_source not in POSE_SOURCES:
        raise HyperPoseError(f"pose_source {pose_source!r} is unknown; use {' or '.join(POSE_SOURCES)}")
    root, files = Path(root), camera_files(camera)
    folder = root / date
    if not folder.is_dir():
        raise HyperPoseError(f"{folder}: no such run; runs in {root}: {', '.join(run_names(root)) or 'none'}")
    sdk_folder = find_sdk(root, sdk)
    calibration = read_calibration(sdk_folder, files)
    logs = _read_logs(folder, files, with_vo=pose_source == "vo" or (folder / VO_FILE).is_file())
    world = world_of(logs.ins, folder / INS_FILE, common_origin(root) if origin is None else origin)
    rows = ins_rows(logs.ins, folder / INS_FILE, world)
    steps = None if logs.vo is None else vo_steps(logs.vo)

    dropped = Counter(logs.unreadable)
    if jumps := rows.jumps():
        seconds = (int(rows.stamps_ns[jumps[0]]) - int(logs.stamps_ns[0])) * 1e-9
        dropped[f"jumps of INS that no vehicle makes (first {seconds:.2f} s after the first image)"] = len(
            jumps
        )
    stamps, paths = _with_files(
        folder / files.images, _within(logs.stamps_ns, start, end), require_images, dropped
    )
    track = rows.good_track().moved(Pose.identity(), calibration.vehicle_from_ins.inverse())
    if pose_source == "vo" and steps is not None:
        track = _anchored(steps.track(), track, stamps, folder)
    kept, vehicle_poses = _interpolated(track, stamps, pose_source.upper(), dropped)
    if not kept:
        raise HyperPoseError(f"{folder}: no image has a pose; left out: {_described(dropped)}")
    reader, model = _open_camera(calibration, files, paths[kept[0]], undistort)
    return RobotCarRun(
        folder=folder,
        world=world,
        stamps_ns=stamps[kept],
        image_paths=tuple(paths[index] for index in kept),
        camera_poses=tuple(pose @ calibration.vehicle_from_optical for pose in vehicle_poses),
        reader=reader,
        camera=model,
        condition=read_condition(root, sdk_folder, date),
        ins=rows,
        vo=steps,
        gps=logs.gps,
        base_link_from_optical=BASE_LINK_FROM_VEHICLE @ calibration.vehicle_from_optical,
        base_link_from_ins=BASE_LINK_FROM_VEHICLE @ calibration.vehicle_from_ins,
        dropped=dict(dropped),
    )


def run_names(root: Path) -> list[str]:
    """Return the names of the run folders in a dataset's folder: those with an INS log."""
    return sorted(folder.parent.parent.name for folder in root.glob(f"*/{INS_FILE.as_posix()}"))


def common_origin(root: Path) -> Sequence[float] | None:
    """Return the origin that all runs of a dataset's folder share: near the first usable run's start.

    Whichever runs are opened, together or one by one, they are then in one world. None for a folder without
    usable runs.
    """
    for name in run_names(root):
        path = root / name / INS_FILE
        try:
            return world_of(read_ins(path), path, None).origin.tolist()
        except HyperPoseError:
            # Opening that run gives this error; it must not keep the others from being opened.
            continue
    return None


@dataclass(frozen=True, eq=False)
class _Logs:
    stamps_ns: Stamps
    ins: InsLog
    vo: VoLog | None
    gps: GpsLog | None
    unreadable: Mapping[str, int]


def _read_logs(folder: Path, files: CameraFiles, with_vo: bool) -> _Logs:
    stamps_ns, unreadable_stamps = read_stamps(folder / files.stamps)
    ins = read_ins(folder / INS_FILE)
    vo = read_vo(folder / VO_FILE) if with_vo else None
    gps = read_gps(folder / GPS_FILE) if (folder / GPS_FILE).is_file() else None
    unreadable = {f"unreadable lines of {files.stamps}": unreadable_stamps}
    for path, log in ((INS_FILE, ins), (VO_FILE, vo), (GPS_FILE, gps)):
        if log is not None:
            unreadable[f"unreadable rows of {path.name}"] = log.unreadable_rows
    return _Logs(stamps_ns, ins, vo, gps, {cause: count for cause, count in unreadable.items() if count})


def _within(stamps_ns: Stamps, start: float | None, end: float | None) -> Stamps:
    seconds = (stamps_ns - stamps_ns[0]) * 1e-9
    first = -np.inf if start is None else start
    last = np.inf if end is None else end
    chosen = stamps_ns[(seconds >= first) & (seconds <= last)]
    if not len(chosen):
        raise HyperPoseError(
            f"no image between start {first:g} s and end {last:g} s; the run has images from 0 to "
            f"{seconds[-1]:.1f} s"
        )
    return chosen


def _with_files(
    folder: Path, stamps_ns: Stamps, require_images: bool, dropped: Counter[str]
) -> tuple[Stamps, list[Path]]:
    files = {}
    if folder.is_dir():
        files = {path.stem: path for path in folder.iterdir() if path.suffix.lower() in _IMAGE_SUFFIXES}
    names = [str(stamp // 1000) for stamp in stamps_ns.tolist()]
    if not require_images:
        return stamps_ns, [files.get(name, folder / f"{name}.png") for name in names]
    present = [index for index, name in enumerate(names) if name in files]
    if not present:
        raise HyperPoseError(
            f"{folder}: no image for any of {len(names)} stamps, the first being {names[0]}.png; for logs "
            "without images set the option require_images=false"
        )
    if len(present) < len(names):
        dropped["image file missing"] += len(names) - len(present)
    return stamps_ns[present], [files[names[index]] for index in present]


def _anchored(vo_track: Track, ins_track: Track, stamps_ns: Stamps, folder: Path) -> Track:
    for stamp in stamps_ns.tolist():
        there, here = ins_track.at(stamp), vo_track.at(stamp)
        if there is not None and here is not None:
            return vo_track.moved(there @ here.inverse(), Pose.identity())
    raise HyperPoseError(f"{folder}: no image has both an INS pose to start from and visual odometry")


def _interpolated(
    track: Track, stamps_ns: Stamps, source: str, dropped: Counter[str]
) -> tuple[list[int], list[Pose]]:
    kept, poses = [], []
    for index, stamp in enumerate(stamps_ns.tolist()):
        pose = track.at(stamp)
        if pose is not None:
            kept.append(index)
            poses.append(pose)
        elif track.covers(stamp):
            dropped[f"in a gap of {source} over {LONGEST_GAP_NS / 1e9:g} s"] += 1
        else:
            dropped[f"outside the range of {source}"] += 1
    return kept, poses


def _open_camera(
    calibration: Calibration, files: CameraFiles, image: Path, undistort: bool
) -> tuple[RobotCarImageReader, CameraModel]:
    width, height, is_mosaic = files.width, files.height, True
    if image.is_file():
        raw = read_raw(image)
        height, width, is_mosaic = raw.shape[0], raw.shape[1], raw.ndim == 2
    table = None
    if undistort and is_mosaic and calibration.distortion_table is not None:
        table = read_undistortion(calibration.distortion_table, width, height)
    return RobotCarImageReader(files.bayer_pattern, table), calibration.camera_model(width, height)


def _described(dropped: Mapping[str, int]) -> str:
    return ", ".join(f"{cause}: {count}" for cause, count in dropped.items())
