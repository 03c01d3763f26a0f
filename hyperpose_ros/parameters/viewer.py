"""The viewer's parameters, declared once: name, default, range, description."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hyperpose_core.errors import HyperPoseError
from hyperpose_ros.parameters.declaration import Change, parameter

_RECORDING_SUFFIX = ".rrd"


@dataclass(frozen=True)
class ViewerParameters:
    """The viewer's parameters, read once, when it starts."""

    record: str = parameter(
        "",
        Change.START,
        "Write the recording FILE.rrd instead of showing the run; `rerun FILE.rrd` opens it. Empty: show it.",
    )
    web: bool = parameter(
        False,
        Change.START,
        "Show the run in a web browser instead of a window. The page's data is served to browsers on this "
        "machine only: forward both ports with `ssh -L` to view it from another one.",
    )
    web_port: int = parameter(9090, Change.START, "With web: port of the page.", minimum=1024, maximum=65535)
    data_port: int = parameter(
        9876,
        Change.START,
        "Port that serves the data of the window or, with web, of the page.",
        minimum=1024,
        maximum=65535,
    )
    image_transport: str = parameter(
        "raw",
        Change.START,
        "raw for sensor_msgs/Image on `image`; compressed for sensor_msgs/CompressedImage on "
        "`image/compressed`.",
        choices=("raw", "compressed"),
    )
    max_image_rate: float = parameter(
        10.0,
        Change.START,
        "Maximum number of images shown per second of their stamps; 0 shows all. All poses are shown.",
        minimum=0.0,
        maximum=1000.0,
    )
    ground_truth_type: str = parameter(
        "pose",
        Change.START,
        "Type of the ground truth: pose (geometry_msgs/PoseStamped) or odometry (nav_msgs/Odometry).",
        choices=("pose", "odometry"),
    )
    match_tolerance: float = parameter(
        0.0,
        Change.START,
        "Seconds by which the stamps of an estimate and its true pose may differ; 0 requires equal stamps.",
        minimum=0.0,
        maximum=10.0,
    )
    pose_of: str = parameter(
        "camera",
        Change.START,
        "Frame of the poses: camera (its optical frame, drawn as a frustum) or base (the robot's body, "
        "drawn as axes).",
        choices=("camera", "base"),
    )
    field_of_view_deg: float = parameter(
        60.0,
        Change.START,
        "Horizontal field of view of the drawn camera, degrees.",
        minimum=1.0,
        maximum=170.0,
    )
    path_length: int = parameter(
        1000,
        Change.START,
        "Number of latest poses in the drawn paths.",
        minimum=2,
        maximum=100_000,
    )

    def __post_init__(self) -> None:
        """Refuse what no declaration can: a recording whose name Rerun would not open.

        Raises:
            HyperPoseError: `record` has another suffix.
        """
        if self.record and Path(self.record).suffix != _RECORDING_SUFFIX:
            raise HyperPoseError(
                f"parameter record must name a file that ends in {_RECORDING_SUFFIX}, not {self.record}"
            )
