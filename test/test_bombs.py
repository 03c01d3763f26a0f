"""Files that would fill memory, or never end, and those that only look like them."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import cv2
import pytest
import torch
from conftest import PROJECT_ROOT, draw_image
from test_exif import turned_by_exif

from hyperpose_core.images import decode_image
from hyperpose_core.inference.estimator import PoseEstimator

GIGABYTE = 1 << 30

MEASURE = """
import json, resource, sys
import hyperpose_core.cli.predict, hyperpose_core.cli.train, hyperpose_core.cli.import_released
from hyperpose_core.cli.main import main
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps([[peak(), 0]] + [[main(case), peak()][::-1] for case in json.load(sys.stdin)]))
"""


def png_of(width: int, height: int, colours: int = 0) -> bytes:
    """A PNG of black, a few bytes for any size, made in no time."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = next(rows for rows in (1000, 1) if height % rows == 0)
    row_bytes = 1 + width * (3 if colours == 2 else 1)
    compressor = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    # Behind a full flush the decoder remembers nothing: the same bytes say the same again.
    block = compressor.compress(bytes(rows * row_bytes)) + compressor.flush(zlib.Z_FULL_FLUSH)
    adler = (height * row_bytes % 65521) << 16 | 1
    stream = b"\x78\xda" + block * (height // rows) + compressor.flush() + struct.pack(">I", adler)
    header = struct.pack(">IIBBBBB", width, height, 8, colours, 0, 0, 0)
    begin = b"\x89PNG\r\n\x1a\n"
    return begin + chunk(b"IHDR", header) + chunk(b"IDAT", stream) + chunk(b"IEND", b"")


def anchor_bomb() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 9)]
    return "\n".join(lines)


def weights_bomb(path: Path) -> None:
    """A file of torch.save whose tensor is packed to a thousandth."""
    plain = path.with_suffix(".plain")
    torch.save({"weight": torch.zeros(25_000_000)}, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            with source.open(name) as part, target.open(name, "w", force_zip64=True) as copy:
                while piece := part.read(1 << 24):
                    copy.write(piece)
    plain.unlink()


def measured(cases: list[list[str]]) -> tuple[int, list[tuple[int, int]], str]:
    """Bytes that an idle process holds, at most; those after each command, with its exit code; errors."""
    ended = subprocess.run(
        [sys.executable, "-c", MEASURE],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=False,
        cwd=PROJECT_ROOT,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    (idle, _), *outcomes = json.loads(ended.stdout.splitlines()[-1])
    return idle, outcomes, ended.stderr


def test_what_would_fill_memory_is_refused_before_it_does(
    tiny_checkpoint: Path, seven_scenes_folder: Path, tmp_path: Path
) -> None:
    images = {
        "narrow.png": png_of(20_000, 1, 2),
        "wide.png": png_of(1, 20_000, 2),
        "large.png": png_of(30_000, 30_000),
        "claims.bmp": b"BM" + bytes(16) + struct.pack("<ii", 60_000, -60_000) + bytes(100),
        "claims.ppm": b"P6\n# a comment\n70000 70000\n255\n" + bytes(100),
    }
    for name, content in images.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "endless.png").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "bomb.yaml").write_text(anchor_bomb())
    weights_bomb(tmp_path / "bomb.pth")
    (tmp_path / "labels.csv").write_text(
        "scene,split,seq,img_path,t1,t2,t3,q1,q2,q3,q4\n"
        + "".join(f"s,train,a,large.png,{i},0,0,1,0,0,0\n" for i in range(4))
    )
    train = ["train", "--no-pretrained", "--output", str(tmp_path / "run"), "--data"]
    cases = [
        ["predict", str(tiny_checkpoint), str(tmp_path / name)]
        for name in (*images, "endless.png", "pipe.png")
    ]
    cases.append([*train, str(tmp_path / "labels.csv")])
    cases.append([*train, str(seven_scenes_folder), "--recipe", str(tmp_path / "bomb.yaml")])
    cases.append(
        ["import", "--model", "posenet", str(tmp_path / "bomb.pth"), "--output", str(tmp_path / "x")]
    )
    # As large as an image may be.
    (tmp_path / "largest.png").write_bytes(png_of(8_000, 8_000, 2))
    cases.append(["predict", str(tiny_checkpoint), str(tmp_path / "largest.png")])
    idle, outcomes, said = measured(cases)
    for case, (peak, code) in zip(cases, outcomes, strict=True):
        assert code == (0 if "largest.png" in case[-1] else 2), (case, said)
        assert peak - idle < GIGABYTE, f"{(peak - idle) / 1e6:.0f} MB: {case}"
    lines = said.splitlines()
    assert len(lines) == len(cases) - 1, lines
    assert all(line.startswith("hyperpose: error: ") for line in lines), lines
    assert "packed into" in lines[-1] and "aliases" in lines[-2]


def test_the_bombs_are_images() -> None:
    found = decode_image(png_of(300, 2000, 2), "black")
    assert found.shape == (2000, 300, 3) and not found.any()


def test_photographs_that_are_bombs_devices_or_damaged_are_left_out_of_a_reconstruction(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pycolmap", reason="pycolmap is missing: pip install 'hyperpose_ros[map]'")
    from hyperpose_core.reconstruction.gathering import GatheringSettings, gather_frames
    from hyperpose_core.reconstruction.sources import find_sources

    photographs = tmp_path / "photographs"
    photographs.mkdir()
    good = cv2.imencode(".jpg", draw_image(1))[1].tobytes()
    damaged = turned_by_exif(good, 6)
    (photographs / "good.jpg").write_bytes(good)
    (photographs / "damaged.jpg").write_bytes(damaged[: len(damaged) // 2])
    (photographs / "bomb.png").write_bytes(png_of(30_000, 30_000))
    (photographs / "endless.jpg").symlink_to("/dev/zero")
    os.mkfifo(photographs / "pipe.jpg")
    found = gather_frames(find_sources([photographs]), tmp_path / "images", GatheringSettings())
    assert [frame.name for frame in found.frames] == ["photographs/good.jpg"]
    assert sum(found.dropped.values()) == 4
    assert "JPEG" not in capfd.readouterr().err


def test_a_narrow_image_within_limits_is_an_image_like_any_other(tiny_checkpoint: Path) -> None:
    image = draw_image(1, 40, 2000)
    assert PoseEstimator.load(tiny_checkpoint, "cpu").estimate([image])[0].pose is not None
