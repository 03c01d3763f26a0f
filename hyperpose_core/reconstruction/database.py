"""COLMAP's database of a reconstruction: cameras, features and matches, filled bit by bit.

What is in it is not computed again, so that an interrupted reconstruction goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pycolmap
from tqdm import tqdm

from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.reconstruction.frames import CameraGuess, Frame, FrameSet

FEATURES_AN_IMAGE = 4096
LARGEST_SIDE = 1600
"""Images are reduced to this size for features, pixels."""

# Images with a smaller larger side are doubled first: three times the features for four times the work.
_SMALL_SIDE = 1000
_IMAGES_A_STEP = 8
_PAIRS_A_STEP = 64
_USUAL_FOCAL_LENGTH = 1.2  # as a share of the larger side, where nothing says it
_SEED = 0

Pair = tuple[str, str]


@contextmanager
def opened(path: Path) -> Iterator[pycolmap.Database]:
    """Open a database, made where it is missing, and close it."""
    database = pycolmap.Database.open(path)
    try:
        yield database
    finally:
        database.close()


def extract_features(path: Path, image_folder: Path, frames: FrameSet) -> None:
    """Find the SIFT features of all frames that have none yet (Lowe, IJCV 2004)."""
    with opened(path) as database:
        cameras = _cameras(database, frames)
        done = _names_with_features(database)
    options = pycolmap.FeatureExtractionOptions()
    options.max_image_size = LARGEST_SIDE
    options.sift.max_num_features = FEATURES_AN_IMAGE
    is_small = all(max(guess.width, guess.height) < _SMALL_SIDE for guess in frames.cameras.values())
    options.sift.first_octave = -1 if is_small else 0
    missing = [frame for frame in frames.frames if frame.name not in done]
    with tqdm(total=len(frames.frames), initial=len(done), desc="features", unit="image") as progress:
        for step in _steps_of_one_camera(missing):
            pycolmap.extract_features(
                path,
                image_folder,
                [frame.name for frame in step],
                reader_options=pycolmap.ImageReaderOptions(existing_camera_id=cameras[step[0].camera]),
                extraction_options=options,
            )
            progress.update(len(step))


def match_pairs(path: Path, pairs: Sequence[Pair]) -> None:
    """Match the features of pairs of images, by name, and keep what agrees with one two-view geometry."""
    with opened(path) as database:
        ids = image_ids(database)
        missing = [
            pair for pair in pairs if not database.exists_two_view_geometry(*(ids[name] for name in pair))
        ]
    verification = pycolmap.TwoViewGeometryOptions()
    verification.ransac.random_seed = _SEED
    listing = path.with_name("pairs.txt")
    with tqdm(total=len(pairs), initial=len(pairs) - len(missing), desc="matching", unit="pair") as progress:
        for start in range(0, len(missing), _PAIRS_A_STEP):
            step = missing[start : start + _PAIRS_A_STEP]
            listing.write_text("".join(f"{first} {second}\n" for first, second in step), encoding="utf-8")
            pycolmap.match_image_pairs(
                path,
                pairing_options=pycolmap.ImportedPairingOptions(match_list_path=listing),
                verification_options=verification,
            )
            progress.update(len(step))


def solve_focal_lengths(path: Path) -> None:
    """Find the focal lengths of cameras of which nothing is known from all fundamental matrices at once.

    Sweeney et al., Optimizing the viewing graph for structure-from-motion (ICCV 2015). Where that fails, the
    usual focal length stays, from which mapping starts.
    """
    with opened(path) as database:
        if all(camera.has_prior_focal_length for camera in database.read_all_cameras()):
            return
    pycolmap.calibrate_view_graph(path)


def image_ids(database: pycolmap.Database) -> dict[str, int]:
    """Return the database's images, name -> id."""
    return {image.name: image.image_id for image in database.read_all_images()}


def read_descriptors(database: pycolmap.Database, image_id: int) -> npt.NDArray[np.uint8]:
    """Return an image's descriptors [N, 128]."""
    return np.asarray(database.read_descriptors(image_id).data, dtype=np.uint8).reshape(-1, 128)


def verified_matches(database: pycolmap.Database) -> dict[Pair, int]:
    """Return how many matches of each pair, names in alphabetical order, agree with a two-view geometry."""
    names = {number: name for name, number in image_ids(database).items()}
    pair_ids, counts = database.read_two_view_geometry_num_inliers()
    pairs = (pycolmap.pair_id_to_image_pair(pair_id) for pair_id in pair_ids)
    named = (tuple(sorted((names[first], names[second]))) for first, second in pairs)
    return {(a, b): int(count) for (a, b), count in zip(named, counts, strict=True) if count > 0}


def colmap_camera(guess: CameraGuess) -> pycolmap.Camera:
    """Return COLMAP's camera for what is known of one; its pixel centres lie at 0.5."""
    side = max(guess.width, guess.height)
    if guess.known is None or not guess.is_exact:
        focal = guess.known.fx if guess.known is not None else _USUAL_FOCAL_LENGTH * side
        camera = pycolmap.Camera.create_from_model_name(0, "SIMPLE_RADIAL", focal, guess.width, guess.height)
    else:
        camera = _exact_camera(guess.known)
    camera.has_prior_focal_length = guess.known is not None
    return camera


def camera_model(camera: pycolmap.Camera) -> CameraModel:
    """Return this project's camera for one of COLMAP's with plumb-bob distortion."""
    matrix = camera.calibration_matrix()
    by_name = dict(zip((name.strip() for name in camera.params_info.split(",")), camera.params, strict=True))
    k1 = float(by_name.get("k1", by_name.get("k", 0.0)))
    distortion = (k1, *(float(by_name.get(name, 0.0)) for name in ("k2", "p1", "p2", "k3")))
    return CameraModel(
        camera.width,
        camera.height,
        float(matrix[0, 0]),
        float(matrix[1, 1]),
        float(matrix[0, 2]) - 0.5,
        float(matrix[1, 2]) - 0.5,
        distortion if any(distortion) else (),
    )


def _exact_camera(known: CameraModel) -> pycolmap.Camera:
    k1, k2, p1, p2, k3 = known.distortion or (0.0,) * 5
    centre = known.cx + 0.5, known.cy + 0.5
    parameters = [known.fx, known.fy, *centre, k1, k2, p1, p2, k3, 0.0, 0.0, 0.0]
    if not any(known.distortion):
        model, count = "PINHOLE", 4
    elif k3 == 0.0:
        model, count = "OPENCV", 8
    else:
        model, count = "FULL_OPENCV", 12
    return pycolmap.Camera(model=model, width=known.width, height=known.height, params=parameters[:count])


def _cameras(database: pycolmap.Database, frames: FrameSet) -> dict[str, int]:
    """Return the id of each camera in the database, which gets those that it lacks."""
    known = {camera.camera_id for camera in database.read_all_cameras()}
    result = {}
    for number, (name, guess) in enumerate(frames.cameras.items(), start=1):
        result[name] = number
        if number in known:
            continue
        camera = colmap_camera(guess)
        camera.camera_id = number
        database.write_camera(camera, use_camera_id=True)
        rig = pycolmap.Rig(rig_id=number)
        rig.add_ref_sensor(camera.sensor_id)
        database.write_rig(rig, use_rig_id=True)
    return result


def _names_with_features(database: pycolmap.Database) -> set[str]:
    return {
        name
        for name, number in image_ids(database).items()
        if database.exists_keypoints(number) and database.exists_descriptors(number)
    }


def _steps_of_one_camera(frames: Iterable[Frame]) -> Iterator[list[Frame]]:
    for _, group in groupby(frames, key=lambda frame: frame.camera):
        members = list(group)
        for start in range(0, len(members), _IMAGES_A_STEP):
            yield members[start : start + _IMAGES_A_STEP]
