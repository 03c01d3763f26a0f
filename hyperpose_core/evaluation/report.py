"""The evaluation's folder: results.json, TUM files, plots and one self-contained report.html."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, StrictUndefined
from numpy.typing import NDArray

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.evaluation.comparison import Comparison
from hyperpose_core.evaluation.documents import plain_data
from hyperpose_core.evaluation.metrics import Scores, Summary, score
from hyperpose_core.evaluation.plots import Plot, write_plots
from hyperpose_core.evaluation.published import PublishedComparison
from hyperpose_core.evaluation.refined_scores import RefinedScores, score_refined
from hyperpose_core.evaluation.tables import (
    COVARIANCE_NOT_MEASURED,
    degrees,
    interval_text,
    metres,
    number,
    percent,
)
from hyperpose_core.evaluation.tum import (
    ESTIMATE_FILE,
    REFINED_FILE,
    TRUTH_FILE,
    has_usable_stamps,
    write_estimates,
    write_tum_files,
)
from hyperpose_core.files import replace_text
from hyperpose_core.geometry.poses import Array

REPORT_FILE = "report.html"
RESULTS_FILE = "results.json"

_PICTURE_WIDTH = 480
_JPEG_QUALITY = 85


@dataclass(frozen=True, eq=False)
class Picture:
    """A sample picture for the report: RGB uint8 [H, W, 3] and the line under it."""

    caption: str
    image: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class PictureRow:
    """Pictures that belong side by side, under a heading."""

    title: str
    pictures: tuple[Picture, ...]


def write_report(
    directory: Path,
    comparison: Comparison,
    *,
    title: str,
    metadata: Mapping[str, object] | None = None,
    pictures: Sequence[PictureRow] = (),
    published: Sequence[PublishedComparison] = (),
    refined: Comparison | None = None,
    retrieval: Comparison | None = None,
    training_positions: Mapping[str, Array] | None = None,
) -> Path:
    """Score a comparison and write everything about it into a folder.

    The folder, made where it is missing, gets `results.json` (all figures; what is infinite because frames
    have no estimate is null), `estimate.tum` and `ground_truth.tum`, the plots as PNG files, and
    `report.html`, which holds the plots and pictures itself and refers to nothing else.

    Args:
        directory: where to write.
        comparison: what to score.
        title: heading of the report.
        metadata: what was evaluated on what (checkpoint, data, device, ...), as plain data.
        pictures: sample pictures, such as the best and the worst frames.
        published: published figures to set beside the result (`compare_with_published`).
        refined: what a landmark map made of the same frames, unanswered where it verified nothing; None where
            no map was asked. Its poses are written to `refined.tum`.
        retrieval: the same frames with the poses of the training images that look most alike: a network that
            is no better has learned nothing but these. None where it remembers none.
        training_positions: of each scene, [M, 3] metres, drawn under the trajectory; None draws none.

    Returns:
        path of `report.html`.

    Raises:
        HyperPoseError: the folder cannot be written.
    """
    directory = Path(directory)
    scores = score(comparison)
    refined_scores = None if refined is None else score_refined(refined)
    retrieval_scores = None if retrieval is None else score(retrieval).overall
    document = results_document(scores, title, metadata or {}, published, refined_scores, retrieval_scores)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        results = json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False)
        replace_text(directory / RESULTS_FILE, results + "\n", "results")
        write_tum_files(directory, comparison)
        if refined is not None:
            write_estimates(directory / REFINED_FILE, refined)
        plots = write_plots(directory, comparison, scores, refined, training_positions)
        report = directory / REPORT_FILE
        page = _render(
            document, comparison, scores, plots, pictures, published, refined_scores, retrieval_scores
        )
        replace_text(report, page, "report")
    except OSError as error:
        raise HyperPoseError(f"{directory}: cannot write the report: {error.strerror or error}") from error
    return report


def results_document(
    scores: Scores,
    title: str,
    metadata: Mapping[str, object],
    published: Sequence[PublishedComparison] = (),
    refined: RefinedScores | None = None,
    retrieval: Summary | None = None,
) -> dict[str, Any]:
    """Return what `results.json` holds: plain data without NaN or infinity, which become null."""
    return {
        "title": title,
        "metadata": plain_data(metadata),
        "alignment": "none",
        "units": {"position": "m", "orientation": "deg", "timing": "ms"},
        **plain_data(asdict(scores)),
        "refined": None if refined is None else plain_data(asdict(refined)),
        "retrieval": None if retrieval is None else plain_data(asdict(retrieval)),
        "published": [
            {"scene": item.scene, "note": item.note, "results": [asdict(result) for result in item.results]}
            for item in published
        ],
    }


def _render(
    document: Mapping[str, Any],
    comparison: Comparison,
    scores: Scores,
    plots: Sequence[Plot],
    pictures: Sequence[PictureRow],
    published: Sequence[PublishedComparison],
    refined: RefinedScores | None,
    retrieval: Summary | None,
) -> str:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals.update(
        covariance_not_measured=COVARIANCE_NOT_MEASURED,
        metres=metres,
        degrees=degrees,
        percent=percent,
        three_digits=lambda value: number(value, 3),
    )
    environment.filters.update(
        metres=metres,
        degrees=degrees,
        interval=interval_text,
        percent=percent,
        number=number,
        text=_text,
        inline_png=lambda plot: _data_url("png", plot.path.read_bytes()),
        inline_jpeg=lambda picture: _data_url("jpeg", _jpeg(picture.image)),
    )
    source = files("hyperpose_core.evaluation").joinpath("report_template.html").read_text(encoding="utf-8")
    return environment.from_string(source).render(
        title=document["title"],
        metadata=document["metadata"],
        epoch=_epoch(document["metadata"]),
        scores=scores,
        retrieval=retrieval,
        refined=refined,
        plots=plots,
        picture_rows=pictures,
        published=published,
        tum_files=(ESTIMATE_FILE, TRUTH_FILE),
        refined_file=REFINED_FILE,
        tum_has_stamps=has_usable_stamps(comparison),
    )


def _epoch(metadata: Mapping[str, Any]) -> str:
    """Say of which epoch the network is and why it was chosen, where its training says so; else ""."""
    training = metadata.get("training")
    if not isinstance(training, Mapping) or "chosen" not in training:
        return ""
    return f"The network is of epoch {training.get('epochs')}: {training['chosen']}"


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_text(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(_text(item) for item in value)
    return "-" if value is None else str(value)


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    height, width = image.shape[:2]
    if width > _PICTURE_WIDTH:
        size = (_PICTURE_WIDTH, max(1, round(height * _PICTURE_WIDTH / width)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return bytes(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1])


def _data_url(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
