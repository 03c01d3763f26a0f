"""Adapter for the Oxford RobotCar dataset, and for what is simulated in its layout.

`<root>/<date>/stereo.timestamps`, `stereo/centre/<microseconds>.png` (Bayer mosaic), `gps/ins.csv`,
`gps/gps.csv`, `vo/vo.csv`, and the dataset's SDK at `<root>/sdk` or where the option `sdk` says. Poses are
those of the camera's optical frame in a local east-north-up world, not of the INS body that MapNet and AtLoc
regress. A folder of several such roots is a dataset of several scenes, which share one world.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from hyperpose_core.datasets.options import parse_flag, parse_names, parse_number, parse_numbers
from hyperpose_core.datasets.records import PosedImage, PosedImageSet
from hyperpose_core.datasets.robotcar_runs import INS_FILE, RobotCarRun, common_origin, load_run, run_names
from hyperpose_core.datasets.splits import MissingSplitError
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.files import read_text

# The runs that MapNet, AtLoc and the paper's Table 4 train and test on.
NAMED_SPLITS: Mapping[str, tuple[str, ...]] = {
    "loop/train": ("2014-06-26-08-53-56", "2014-06-26-09-24-58"),
    "loop/test": ("2014-06-23-15-36-04", "2014-06-23-15-41-25"),
    "loop/test1": ("2014-06-23-15-36-04",),
    "loop/test2": ("2014-06-23-15-41-25",),
    "full/train": ("2014-11-28-12-07-13", "2014-12-02-15-30-08"),
    "full/test": ("2014-12-12-10-45-15", "2014-12-09-13-21-02"),
    "full/test1": ("2014-12-12-10-45-15",),
    "full/test2": ("2014-12-09-13-21-02",),
}


def looks_like_robotcar(path: Path) -> bool:
    """Tell whether a folder is a RobotCar run, holds runs, or holds folders of runs."""
    marks = ("stereo.timestamps", INS_FILE.as_posix())
    return any(any(path.glob(f"{above}{mark}")) for mark in marks for above in ("", "*/", "*/*/"))


def is_choice_of_runs(path: Path, options: Mapping[str, object]) -> bool:
    """Tell whether a run's folder, or dates, say what to open: splits are none of a choice like that."""
    return "dates" in options or (path / INS_FILE).is_file()


def open_robotcar(
    path: Path | str,
    split: str | None = None,
    dates: str | Sequence[str] | None = None,
    camera: str = "stereo_centre",
    pose_source: str = "ins",
    sdk: Path | str | None = None,
    origin: str | Sequence[float] | None = None,
    start: str | float | None = None,
    end: str | float | None = None,
    require_images: str | bool = True,
    undistort: str | bool = True,
) -> PosedImageSet:
    """Open runs of RobotCar, all in one world.

    Every option may be given as text. A record's scene is the name of the folder that holds the runs, its
    sequence the run's date.

    Args:
        path: the dataset's folder, one run's folder in it, or a folder of several datasets (scenes).
        split: a name of `NAMED_SPLITS`, or "train", "test" or another name for which the dataset's folder has
            a file `<name>_split.txt` (a date a line, `#` before a comment). None takes `dates`, or else every
            run.
        dates: runs' folder names, separated by commas; not together with a split.
        camera: stereo_centre, stereo_left, stereo_right, mono_left, mono_right or mono_rear.
        pose_source: "ins", or "vo": visual odometry chained from the INS pose at the first image that has
            one.
        sdk: the SDK folder, if it is not `sdk` in the dataset's folder or beside it.
        origin: easting, northing, up of the world's zero in metres, separated by commas. By default a round
            number near the start of the dataset's first run, so that all splits of one folder share a world.
        start: leave out images before this many seconds after each run's first image.
        end: leave out images after this many seconds after each run's first image.
        require_images: false takes stamps without an image file too, for logs without images.
        undistort: false leaves images distorted where the SDK folder has a table to undistort them.

    Raises:
        HyperPoseError: a file, a row or an option is wrong; the message says which.
    """
    path = Path(path)
    names = list(parse_names(dates))
    if names and split is not None:
        raise MissingSplitError(
            f"options split ({split}) and dates ({', '.join(names)}) exclude each other; give one"
        )
    roots, names = _roots(path, names)
    zero = common_origin(roots[0]) if origin is None else parse_numbers("origin", origin, 3)
    runs = [
        load_run(
            root,
            date,
            camera=camera,
            sdk=sdk,
            pose_source=pose_source,
            origin=zero,
            start=None if start is None else parse_number("start", start),
            end=None if end is None else parse_number("end", end),
            require_images=parse_flag("require_images", require_images),
            undistort=parse_flag("undistort", undistort),
        )
        for root in roots
        for date in names or _dates_of(root, split)
    ]
    name = path.name if split is None else f"{path.name} {split}"
    return _joined(name, runs)


def _roots(path: Path, names: list[str]) -> tuple[list[Path], list[str]]:
    if (path / INS_FILE).is_file():
        if names and names != [path.name]:
            raise HyperPoseError(f"{path}: is one run; give its parent folder to open {', '.join(names)}")
        return [path.absolute().parent], [path.name]
    roots = [path] if run_names(path) else _scene_roots(path)
    if not roots:
        raise HyperPoseError(f"{path}: no RobotCar run in it (<date>/{INS_FILE.as_posix()})")
    return roots, names


def _scene_roots(path: Path) -> list[Path]:
    return sorted({path / ins.relative_to(path).parts[0] for ins in path.glob(f"*/*/{INS_FILE.as_posix()}")})


def _dates_of(root: Path, split: str | None) -> Sequence[str]:
    if split is None:
        return run_names(root)
    if split.lower() in NAMED_SPLITS:
        return NAMED_SPLITS[split.lower()]
    path = root / f"{split}_split.txt"
    if not path.is_file():
        raise MissingSplitError(
            f"RobotCar split {split!r} is unknown: there is no {path}, and the named ones are "
            f"{', '.join(NAMED_SPLITS)}"
        )
    lines = read_text(path, "split file", errors="replace").splitlines()
    dates = [date for date in (line.split("#")[0].strip() for line in lines) if date]
    if not dates:
        raise HyperPoseError(f"{path}: names no run; expected a date such as 2014-06-26-08-53-56 a line")
    return dates


def _joined(name: str, runs: Sequence[RobotCarRun]) -> PosedImageSet:
    images = [
        PosedImage(
            path=path,
            pose=pose,
            scene=run.folder.absolute().parent.name,
            sequence=run.date,
            stamp_ns=stamp_ns,
            condition=run.condition,
            reader=run.reader,
        )
        for run in runs
        for stamp_ns, path, pose in zip(
            run.stamps_ns.tolist(), run.image_paths, run.camera_poses, strict=True
        )
    ]
    dropped: Counter[str] = Counter()
    for run in runs:
        dropped.update(run.dropped)
    cameras = {run.camera for run in runs}
    return PosedImageSet(
        name=name,
        images=tuple(images),
        world=runs[0].world,
        camera=cameras.pop() if len(cameras) == 1 else None,
        dropped=dict(dropped),
    )
