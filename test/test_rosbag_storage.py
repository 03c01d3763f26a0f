"""Bags whose storage holds more, or less, than a reader would give: nothing is passed over in silence."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
import yaml
from dataset_layouts import BagContent, shots, write_bag

from hyperpose_core.cli.main import main
from hyperpose_core.datasets import open_dataset
from hyperpose_core.errors import HyperPoseError
from hyperpose_ros.bags import player
from hyperpose_ros.bags.reader import BagReader


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    return write_bag(tmp_path / "run", shots(), BagContent(storage="sqlite3"))


def test_a_write_ahead_log_is_named_with_what_puts_it_in(bag: Path) -> None:
    """A recorder that died: half of the messages are in the log only."""
    (file,) = bag.glob("*.db3")
    crashed = bag.with_name("crashed")
    crashed.mkdir()
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA wal_autocheckpoint=0")
    rows = connection.execute("SELECT * FROM messages ORDER BY timestamp").fetchall()
    connection.execute("DELETE FROM messages WHERE timestamp > ?", (rows[len(rows) // 2][2],))
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    columns = ",".join("?" * len(rows[0]))
    connection.executemany(f"INSERT OR IGNORE INTO messages VALUES ({columns})", rows)
    connection.commit()
    for part in bag.glob("*.db3*"):
        shutil.copy(part, crashed / part.name)
    connection.close()
    for path in (crashed, crashed / file.name):
        with pytest.raises(HyperPoseError, match="a crash has left messages in .*db3-wal.*wal_checkpoint"):
            open_dataset(path)
    with pytest.raises(HyperPoseError, match="a crash has left messages"):
        BagReader(crashed / file.name)
    recovered = sqlite3.connect(crashed / file.name)
    recovered.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    recovered.close()
    assert len(open_dataset(crashed / file.name).images) == 10


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_metadata_that_is_not_the_storages_is_noticed(
    storage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """QoS edited by hand in metadata.yaml: the reader finds the topics, but no message of theirs."""
    bag = write_bag(tmp_path / "edited", shots(), BagContent(storage=storage))
    metadata = yaml.safe_load((bag / "metadata.yaml").read_text())
    information = metadata["rosbag2_bagfile_information"]
    for topic in information["topics_with_message_count"]:
        topic["message_count"] += 2
    information["message_count"] += 6
    (bag / "metadata.yaml").write_text(yaml.safe_dump(metadata))
    assert main(["dataset", "check", str(bag)]) == 2
    assert "12 messages by its metadata, of which 10 can be read" in capsys.readouterr().err
    with BagReader(bag) as reader, pytest.raises(HyperPoseError, match="of which 30 can be read.*reindex"):
        list(reader.raw_messages())


def test_parts_of_one_recording_without_metadata_are_not_taken_for_two(tmp_path: Path) -> None:
    folder = tmp_path / "split"
    folder.mkdir()
    for number in range(2):
        part = write_bag(tmp_path / f"part{number}", shots(5, 5 * number))
        (file,) = part.glob("*.mcap")
        shutil.copy(file, folder / f"drive_{number}.mcap")
    with pytest.raises(
        HyperPoseError, match="2 files of one recording, drive_N, without metadata.yaml.*reindex"
    ):
        open_dataset(folder)
    (folder / "drive_1.mcap").rename(folder / "evening.mcap")
    assert {image.sequence for image in open_dataset(folder).images} == {"drive_0", "evening"}


@pytest.mark.parametrize(
    ("name", "message"),
    [("run_0.db3.zstd", "unzstd"), ("run_0.mcap.zst", "unzstd")],
)
def test_bags_to_be_decompressed_first_are_not_read_as_label_files(
    name: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    path.write_bytes(b"#ROSBAG V2.0\n" + bytes(100))
    assert main(["dataset", "check", str(path)]) == 2
    assert message in capsys.readouterr().err
    assert player.main([str(path)]) == 2
    assert message in capsys.readouterr().err


def test_what_only_looks_like_a_bag_of_ros_1_is_named_and_none_is_replayed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "old.bag"
    path.write_bytes(b"#ROSBAG V2.0\n" + bytes(100))
    assert main(["dataset", "check", str(path)]) == 2
    assert "old.bag: not a readable bag" in capsys.readouterr().err
    assert player.main([str(path)]) == 2
    assert "a ROS 1 bag, which cannot be replayed; convert it first" in capsys.readouterr().err
