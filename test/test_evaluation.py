"""What an evaluation leaves on disk."""

from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from conftest import draw_image
from evo.core import metrics, sync
from evo.tools.file_interface import read_tum_trajectory_file
from PIL import Image

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.evaluation import (
    Comparison,
    Picture,
    PictureRow,
    compare_with_published,
    score,
    write_report,
)
from hyperpose_core.geometry.poses import Pose, rotation_vector_to_quaternion

START_NS = 1_403_536_564_123_456_789


def a_walk(frames: int = 40, **fields) -> Comparison:
    """A curved path and estimates near it; frame 7 has no estimate."""
    generator = np.random.default_rng(5)
    angles = np.linspace(0.0, 5.0, frames)
    looks_ahead = Pose(np.zeros(3), [0.5, -0.5, 0.5, -0.5])
    true, estimated = [], []
    for angle in angles:
        turn = Pose(
            [8.0 * np.cos(angle), 5.0 * np.sin(angle), 1.6], rotation_vector_to_quaternion([0, 0, angle])
        )
        true.append(turn @ looks_ahead)
        error = Pose(
            generator.normal(scale=0.2, size=3),
            rotation_vector_to_quaternion(generator.normal(scale=0.03, size=3)),
        )
        estimated.append(Pose(true[-1].position + error.position, (error @ true[-1]).orientation))
    answers = [None if row == 7 else pose for row, pose in enumerate(estimated)]
    fields.setdefault("stamps_ns", [START_NS + 66_666_667 * row for row in range(frames)])
    return Comparison.from_poses(answers, true, **fields)


class References(HTMLParser):
    """Collects everything that a page points to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.targets: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.targets += [
            value for name, value in attrs if name in ("src", "href", "srcset", "data", "action")
        ]


@pytest.fixture(scope="module")
def full_report(tmp_path_factory):
    """The folder of a report with everything in it, and the comparison behind it."""
    frames = 40
    comparison = a_walk(
        frames,
        scenes=["redkitchen"] * frames,
        conditions=["noon"] * 20 + ["dusk"] * 20,
        milliseconds=[20.0] * frames,
        covariances=[np.diag([0.04] * 3 + [0.0009] * 3)] * frames,
    )
    report = write_report(
        tmp_path_factory.mktemp("report") / "new" / "folder",
        comparison,
        title="A walk <script>",
        metadata={"checkpoint": "model.safetensors", "training": {"epochs": 3, "loss": float("nan")}},
        pictures=[PictureRow("Worst frames", (Picture("frame 12: 0.4 m", draw_image(12, 600, 800)),))],
        published=compare_with_published(score(comparison)),
    )
    return report.parent, comparison


def test_tum_files_are_read_back_by_evo(full_report):
    folder, comparison = full_report
    truth = read_tum_trajectory_file(str(folder / "ground_truth.tum"))
    estimate = read_tum_trajectory_file(str(folder / "estimate.tum"))

    assert truth.num_poses == 40
    assert estimate.num_poses == 39
    np.testing.assert_allclose(truth.timestamps, comparison.stamps_ns / 1e9, rtol=0, atol=1e-6)
    np.testing.assert_allclose(truth.positions_xyz, comparison.true_positions, atol=1e-9)
    np.testing.assert_allclose(truth.orientations_quat_wxyz, comparison.true_orientations, atol=1e-9)
    np.testing.assert_allclose(
        estimate.positions_xyz, comparison.estimated_positions[comparison.estimated], atol=1e-9
    )
    first_line = (folder / "ground_truth.tum").read_text().splitlines()[1]
    assert first_line.startswith("1403536564.123456789 ")


def test_evo_finds_the_same_errors(full_report):
    folder, comparison = full_report
    truth, estimate = sync.associate_trajectories(
        read_tum_trajectory_file(str(folder / "ground_truth.tum")),
        read_tum_trajectory_file(str(folder / "estimate.tum")),
    )
    position = metrics.APE(metrics.PoseRelation.translation_part)
    position.process_data((truth, estimate))
    angle = metrics.APE(metrics.PoseRelation.rotation_angle_deg)
    angle.process_data((truth, estimate))

    rows = comparison.estimated
    estimated = score(
        Comparison(
            comparison.estimated_positions[rows],
            comparison.estimated_orientations[rows],
            comparison.true_positions[rows],
            comparison.true_orientations[rows],
        )
    ).overall
    for ours, theirs in ((estimated.position_m, position), (estimated.orientation_deg, angle)):
        assert ours.median == pytest.approx(theirs.get_statistic(metrics.StatisticsType.median), abs=1e-6)
        assert ours.mean == pytest.approx(theirs.get_statistic(metrics.StatisticsType.mean), abs=1e-6)
        assert ours.maximum == pytest.approx(theirs.get_statistic(metrics.StatisticsType.max), abs=1e-6)


@pytest.mark.parametrize("stamps_ns", [None, [START_NS] * 40])
def test_without_usable_stamps_tum_files_are_numbered(tmp_path, stamps_ns):
    report = write_report(tmp_path, a_walk(stamps_ns=stamps_ns), title="No clock")

    truth = read_tum_trajectory_file(str(tmp_path / "ground_truth.tum"))
    estimate = read_tum_trajectory_file(str(tmp_path / "estimate.tum"))

    np.testing.assert_array_equal(truth.timestamps, np.arange(40.0))
    assert 7.0 not in estimate.timestamps
    assert "frame numbers" in report.read_text()


def test_tum_files_are_in_the_order_of_time(tmp_path):
    backwards = [START_NS - 1_000_000_000 * row for row in range(40)]
    comparison = a_walk(stamps_ns=backwards)

    write_report(tmp_path, comparison, title="Backwards")

    truth = read_tum_trajectory_file(str(tmp_path / "ground_truth.tum"))
    assert (np.diff(truth.timestamps) > 0).all()
    np.testing.assert_allclose(truth.positions_xyz, comparison.true_positions[::-1], atol=1e-9)


def test_results_are_strict_json_with_every_figure(full_report):
    folder, comparison = full_report

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    results = json.loads((folder / "results.json").read_text(), parse_constant=refuse)

    scores = score(comparison)
    overall = results["overall"]
    assert overall["position_m"]["median"] == scores.overall.position_m.median
    assert overall["orientation_deg"]["p95"] == scores.overall.orientation_deg.p95
    assert overall["position_m"]["mean"] is None
    assert (overall["frames"], overall["failed"]) == (40, 1)
    assert [row["fraction"] for row in overall["recalls"]] == [row.fraction for row in scores.overall.recalls]
    assert overall["timing"] == {"median_ms": 20.0, "p95_ms": 20.0}
    assert [row["label"] for row in results["conditions"]] == ["noon", "dusk"]
    assert sum(sector["frames"] for sector in results["headings"]) == 40
    assert results["consistency"]["position"]["coverage_95"] == scores.consistency.position.coverage_95
    assert results["metadata"]["training"] == {"epochs": 3, "loss": None}
    assert results["alignment"] == "none"
    assert results["published"][0]["scene"] == "redkitchen"


def test_the_report_needs_no_other_file(full_report):
    folder, _ = full_report
    page = (folder / "report.html").read_text()

    references = References(page)

    assert references.targets and all(target.startswith("data:image/") for target in references.targets)
    assert not {"script", "link", "iframe", "object"} & set(references.tags)
    text = re.sub(r"data:image/[a-z]+;base64,[^\"]+", "", page)
    assert "http" not in text and "url(" not in text and "@import" not in text


def test_the_reports_pictures_are_the_plots_and_the_samples(full_report):
    folder, _ = full_report
    page = (folder / "report.html").read_text()

    inlined = [base64.b64decode(text) for text in re.findall(r"data:image/[a-z]+;base64,([^\"]+)", page)]

    plots = {path.name: path.read_bytes() for path in folder.glob("*.png")}
    assert set(plots) == {
        "trajectory.png",
        "cumulative_error.png",
        "error_over_time.png",
        "error_by_heading.png",
        "error_by_condition.png",
        "reliability.png",
    }
    assert set(plots.values()) < set(inlined)
    (sample,) = (Image.open(io.BytesIO(content)) for content in inlined if content not in plots.values())
    assert sample.size == (480, 360)
    for content in plots.values():
        width, height = Image.open(io.BytesIO(content)).size
        assert width >= 800 and height >= 400


def test_the_report_says_what_a_reader_looks_for(full_report):
    folder, comparison = full_report
    page = (folder / "report.html").read_text()
    overall = score(comparison).overall

    for text in (
        "A walk &lt;script&gt;",
        f"{overall.position_m.median:.3f} m",
        f"{overall.orientation_deg.median:.2f}&deg;",
        "1 of 40 frames have no estimate",
        "frame 12: 0.4 m",
        "dusk",
        "MS-HyperPose",
        "model.safetensors",
        "in the 95% region",
    ):
        assert text in page


@pytest.mark.parametrize("frames", [1, 2])
def test_a_report_of_very_few_frames(tmp_path, frames):
    report = write_report(tmp_path, a_walk(frames), title="Few")
    assert json.loads((tmp_path / "results.json").read_text())["overall"]["frames"] == frames
    assert report.is_file()


def test_a_report_when_nothing_was_answered(tmp_path):
    walk = a_walk(3)
    nothing = Comparison(
        np.full((3, 3), np.nan), np.full((3, 4), np.nan), walk.true_positions, walk.true_orientations
    )

    write_report(tmp_path, nothing, title="Nothing")

    assert json.loads((tmp_path / "results.json").read_text())["overall"]["position_m"]["median"] is None
    assert (tmp_path / "estimate.tum").read_text().count("\n") == 1


def test_a_report_of_several_scenes(tmp_path):
    walk = a_walk(scenes=["north"] * 25 + ["south"] * 15)
    write_report(tmp_path, walk, title="Two scenes")
    assert (tmp_path / "error_by_scene.png").is_file()
    assert "By scene" in (tmp_path / "report.html").read_text()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(HyperPoseError, match=r"file: cannot write the report"):
        write_report(tmp_path / "file", a_walk(), title="Nowhere")
