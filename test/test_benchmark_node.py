"""`hyperpose benchmark node` as its user runs it: a localizer and a camera in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="rclpy is missing")

from ros_helpers import ros_environment  # noqa: E402

STAGES = ("queue", "convert", "preprocess", "network", "judge", "publish")


def benchmark(domain_id: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hyperpose_core", "benchmark", "node", *map(str, arguments)]
    return subprocess.run(
        command, env=ros_environment(domain_id), capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def measured(tiny_checkpoint: Path, domain_id: int) -> dict:
    options = ["--size", "128x96", "--rate", "20", "--seconds", "3", "--transport", "compressed"]
    done = benchmark(domain_id, tiny_checkpoint, *options, "--device", "cpu", "--threads", "1", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_image_sent_is_accounted_for(measured: dict) -> None:
    frames = measured["frames"]
    settled = [
        frames["published"],
        *(sum(frames[key].values()) for key in ("withheld", "refused", "dropped")),
    ]
    assert measured["sent"] == 60
    assert frames["received"] == sum(settled) <= 60
    assert frames["published"] > 30


def test_the_stages_make_up_the_way_from_receipt_to_publication(measured: dict) -> None:
    stages = measured["stages"]
    assert set(stages) == {"transport", *STAGES, "total", "age"}
    assert all(0 < stage["median_ms"] <= stage["p95_ms"] for stage in stages.values())
    # Sums of medians, so no more than nearly.
    assert sum(stages[name]["median_ms"] for name in STAGES) < 1.5 * stages["total"]["median_ms"]
    assert stages["total"]["median_ms"] < stages["age"]["median_ms"]
    assert 0 < measured["network_alone"]["median_ms"]
    assert measured["added_ms"] == pytest.approx(
        stages["total"]["median_ms"] - measured["network_alone"]["median_ms"]
    )
    assert 0 < measured["ready_s"] < measured["first_pose_s"]
    assert 0 < measured["rate_hz"] < 40


def test_a_localizer_that_cannot_start_ends_the_benchmark_with_its_reason(
    tmp_path: Path, domain_id: int
) -> None:
    done = benchmark(domain_id, tmp_path / "missing.safetensors")
    assert done.returncode == 2
    assert "missing.safetensors: no such checkpoint" in done.stderr.splitlines()[-1]


def test_a_size_that_is_none_is_refused(tmp_path: Path, domain_id: int) -> None:
    done = benchmark(domain_id, tmp_path / "any.safetensors", "--size", "640")
    assert done.returncode == 2
    assert "'640' is no size such as 640x480" in done.stderr
