"""The RobotCar adapter on gaps, damaged files, splits and options."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from robotcar_layout import (
    DOWN,
    EASTING,
    IMAGE_COUNT,
    INS_HEADER,
    NORTHING,
    SPEED,
    START_US,
    image_stamps_us,
    ins_lines,
    ins_row,
    ride_east,
    write_ins,
    write_run,
    write_sdk,
)

from hyperpose_core.cli.main import main
from hyperpose_core.datasets import open_dataset
from hyperpose_core.datasets.robotcar import looks_like_robotcar, open_robotcar
from hyperpose_core.datasets.robotcar_runs import load_run, run_names
from hyperpose_core.errors import HyperPoseError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A dataset with one run that drives east, past a world zero that is given in the tests."""
    folder = tmp_path / "town"
    write_sdk(folder)
    write_run(folder, "2014-06-26-08-53-56")
    return folder


def test_images_in_a_gap_of_good_rows_or_outside_the_ins_are_dropped_and_counted(root: Path) -> None:
    run = root / "2014-06-26-08-53-56"
    seconds = [0.02 * index for index in range(275)]
    # Good from 0.2 s to 4.5 s but for 1.0 to 1.9 s (rows marked bad) and 3.0 to 3.4 s (rows absent).
    lines = [
        ins_row(
            START_US + round(when * 1e6),
            ride_east,
            "INS_BAD_GPS_AGREEMENT" if 1.0 < when < 1.9 else "INS_SOLUTION_GOOD",
        )
        for when in seconds
        if 0.2 <= when <= 4.5 and not 3.0 < when < 3.4
    ]
    write_ins(run, lines)

    dataset = open_robotcar(root, origin=f"{EASTING},{NORTHING},{-DOWN}")

    # Images are at 0.1, 0.35, 0.6, ... 4.85 s: 1.1, 1.35, 1.6, 1.85 are in the gap; 0.1, 4.6, 4.85 outside.
    assert dataset.dropped == {"outside the range of INS": 3, "in a gap of INS over 0.5 s": 4}
    assert len(dataset.images) == IMAGE_COUNT - 7
    when = np.array([(image.stamp_ns or 0) - START_US * 1000 for image in dataset.images]) * 1e-9
    np.testing.assert_allclose(dataset.positions()[:, 0], SPEED * when + 1.7, atol=1e-5)


def test_start_and_end_choose_a_part_of_the_run(root: Path) -> None:
    part = open_robotcar(root, start="1.0", end="2.0")

    assert [image.stamp_ns for image in part.images] == [stamp * 1000 for stamp in image_stamps_us()[4:9]]
    with pytest.raises(HyperPoseError, match=r"from 0 to 4\.8 s"):
        open_robotcar(root, start="60")


def test_damaged_files_give_the_poses_of_whole_ones(root: Path) -> None:
    whole = open_robotcar(root)
    run = root / "2014-06-26-08-53-56"
    lines = ins_lines()
    damaged = [
        *lines[100:-1],
        "12,INS_SOLUTION_GOOD,nonsense",
        lines[3].replace("30U", "nan,x"),
        *lines[:100],
    ]
    damaged += [lines[7], lines[8].replace(f"{START_US + 160000}", "140353785"), "\0\0\0", ""]
    cut_off = lines[-1][:-7]
    text = "\r\n".join(["\ufeff" + INS_HEADER, *damaged, cut_off])
    (run / "gps" / "ins.csv").write_bytes(text.encode())
    stamps = image_stamps_us()
    odd_lines = [f"{stamp} 1" for stamp in reversed(stamps)] + ["", "garbage", f"{stamps[0]} 1", "14035378"]
    (run / "stereo.timestamps").write_bytes("\r\n".join(odd_lines).encode())

    dataset = open_robotcar(root)

    assert dataset.dropped == {"unreadable rows of ins.csv": 6, "unreadable lines of stereo.timestamps": 3}
    assert [image.stamp_ns for image in dataset.images] == [stamp * 1000 for stamp in stamps]
    np.testing.assert_allclose(dataset.positions(), whole.positions(), atol=1e-6)
    np.testing.assert_allclose(dataset.orientations(), whole.orientations(), atol=1e-9)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("gps/ins.csv", None, r"ins\.csv: no such log"),
        ("gps/ins.csv", "timestamp,ins_status\n1,2\n", r"ins\.csv, row 1: column 'latitude' is missing"),
        ("gps/ins.csv", INS_HEADER + "\n1,2,3\n", r"ins\.csv, row 2: not 15 fields"),
        ("gps/ins.csv", INS_HEADER + "\n", r"ins\.csv: no row"),
        (
            "gps/ins.csv",
            ins_row(START_US, ride_east, "BAD").join([INS_HEADER + "\n", "\n"]),
            "marked INS_SOLUTION_GOOD",
        ),
        (
            "gps/ins.csv",
            "\n".join([INS_HEADER, *ins_lines()]).replace("30U", "U") + "\n",
            "'U' is no UTM zone",
        ),
        ("stereo.timestamps", None, r"stereo\.timestamps: no such log"),
        ("stereo.timestamps", "nothing\n", r"stereo\.timestamps: no line"),
        ("vo/vo.csv", "a,b\n", r"vo\.csv, row 1: column 'source_timestamp'"),
        ("../sdk/extrinsics/ins.txt", "1 2 3\n", r"ins\.txt: 3 numbers; expected 6"),
        ("../sdk/extrinsics/stereo.txt", None, r"stereo\.txt: no such SDK"),
        ("../sdk/models/stereo_narrow_left.txt", "1 2 3 four\n", r"stereo_narrow_left\.txt.*four"),
    ],
)
def test_an_unusable_file_is_one_line_that_names_it(
    root: Path, file: str, content: str | None, message: str
) -> None:
    date = "2014-06-26-08-53-56"
    path = root / date / file
    path.unlink() if content is None else path.write_text(content)

    with pytest.raises(HyperPoseError, match=message) as error:
        load_run(root, date)
    assert "\n" not in str(error.value)


def test_a_run_that_cannot_be_used_does_not_keep_the_others_from_being_opened(root: Path) -> None:
    (root / "2013-broken" / "gps").mkdir(parents=True)
    (root / "2013-broken" / "gps" / "ins.csv").write_text("")

    assert len(open_robotcar(root, dates="2014-06-26-08-53-56").images) == IMAGE_COUNT


def test_splits_by_name_and_by_file(root: Path) -> None:
    for date in ("2014-06-26-09-24-58", "2014-06-23-15-36-04"):
        write_run(root, date)
    (root / "train_split.txt").write_text("# 2014-06-23-15-36-04\n2014-06-26-09-24-58 # sunny\r\n\n")

    def dates(split: str) -> list[str]:
        return sorted({image.sequence for image in open_dataset(root, split=split).images})

    assert dates("loop/train") == ["2014-06-26-08-53-56", "2014-06-26-09-24-58"]
    assert dates("LOOP/test1") == ["2014-06-23-15-36-04"]
    assert dates("train") == ["2014-06-26-09-24-58"]
    with pytest.raises(HyperPoseError, match="2014-06-23-15-41-25: no such run"):
        open_dataset(root, split="loop/test2")
    with pytest.raises(HyperPoseError, match=r"test_split\.txt.*loop/train"):
        open_dataset(root, split="test")
    (root / "test_split.txt").write_text("# nothing\n")
    with pytest.raises(HyperPoseError, match=r"test_split\.txt: names no run"):
        open_dataset(root, split="test")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"camera": "stereo_top"}, "no camera 'stereo_top'; use one of stereo_centre"),
        ({"pose_source": "gps"}, "pose_source 'gps' is unknown; use ins or vo"),
        ({"dates": "2014-01-01"}, "no such run; runs in .*: 2014-06-26-08-53-56"),
        ({"origin": "1,2"}, "option origin is '1,2'; give 3 numbers"),
        ({"origin": "51.7,-1.25,100"}, "km away .*easting, northing and up"),
        ({"start": "soon"}, "option start is 'soon'; give a number"),
        ({"require_images": "perhaps"}, "option require_images is 'perhaps'; give true or false"),
        ({"sdk": "/nowhere"}, "no RobotCar SDK folder .*/nowhere.*github.*option sdk"),
        ({"split": "loop/train", "dates": "a"}, "exclude each other"),
    ],
)
def test_a_wrong_option_is_named_with_what_would_be_right(
    root: Path, options: dict[str, str], message: str
) -> None:
    with pytest.raises(HyperPoseError, match=message):
        open_dataset(root, "robotcar", **options)


def test_the_sdk_is_found_beside_the_dataset_or_where_the_option_says(root: Path, tmp_path: Path) -> None:
    (root / "sdk").rename(tmp_path / "sdk")
    assert len(open_robotcar(root).images) == IMAGE_COUNT
    (tmp_path / "sdk").rename(tmp_path / "robotcar-dataset-sdk")
    assert len(open_robotcar(root, sdk=str(tmp_path / "robotcar-dataset-sdk")).images) == IMAGE_COUNT
    with pytest.raises(HyperPoseError, match=r"no RobotCar SDK folder.*github\.com/ori-mrg.*option sdk"):
        open_robotcar(root)


def test_the_layout_is_recognised(root: Path, tmp_path: Path) -> None:
    assert looks_like_robotcar(root)
    assert looks_like_robotcar(root / "2014-06-26-08-53-56")
    assert looks_like_robotcar(root.parent)
    (tmp_path / "chess" / "seq-01").mkdir(parents=True)
    assert not looks_like_robotcar(tmp_path / "chess")


def test_a_folder_of_datasets_is_a_set_of_scenes_in_one_world(tmp_path: Path) -> None:
    towns = tmp_path / "towns"
    for name in ("abbey", "market"):
        write_sdk(towns / name)
        write_run(towns / name, "noon")
        (towns / name / "sdk" / "tags" / "noon.yaml").write_text("- roadworks\n- sun\n")

    dataset = open_dataset(towns)

    assert dataset.scenes == ("abbey", "market")
    assert len(dataset.images) == 2 * IMAGE_COUNT
    assert {image.condition for image in dataset.images} == {"sun"}
    assert dataset.camera is not None and dataset.camera.width == 16


def test_conditions_come_from_the_dataset_or_the_sdks_tags(root: Path) -> None:
    (root / "sdk" / "tags" / "2014-06-26-08-53-56.yaml").write_text("- overcast\n- detour")
    assert open_robotcar(root).images[0].condition == "overcast"
    (root / "conditions.json").write_text('{"2014-06-26-08-53-56": "dusk"}')
    assert open_robotcar(root).images[0].condition == "dusk"
    (root / "conditions.json").write_text('["dusk"]')
    with pytest.raises(HyperPoseError, match=r"conditions\.json: expected"):
        open_robotcar(root)


@pytest.mark.parametrize(("lasting", "left_out"), [(True, 2), (False, 4)])
def test_jumps_that_no_vehicle_makes_are_left_out_and_located(
    lasting: bool, left_out: int, tmp_path: Path
) -> None:
    """Good rows that jump 2.8 m at 2 s, for good or for half a second: no image near has a pose."""

    def ride(seconds: float) -> tuple[float, ...]:
        northing, *others = ride_east(seconds)
        jumped = seconds >= 2.0 and (lasting or seconds < 2.5)
        return northing + (2.8 if jumped else 0.0), *others

    write_sdk(tmp_path)
    write_run(tmp_path, "2014-06-26-08-53-56", ride)
    data = open_dataset(tmp_path)
    (jumps,) = [cause for cause in data.dropped if "jumps of INS that no vehicle makes" in cause]
    assert data.dropped[jumps] == (1 if lasting else 2)
    assert "first 1.90 s after the first image" in jumps
    assert len(data.images) == IMAGE_COUNT - left_out
    offsets = data.positions()[:, 1] - data.positions()[0, 1]
    assert set(np.round(offsets, 1)) == ({0.0, 2.8} if lasting else {0.0})


def test_runs_chosen_by_date_are_checked_as_one_whole(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    date = run_names(root)[0]
    for arguments in ([str(root), "--data-option", f"dates={date}"], [str(root / date)]):
        main(["dataset", "check", *arguments, "--no-images"])
        told = capsys.readouterr().out
        assert "exclude each other" not in told and "both in train and in test" not in told
        assert "  all" in told
