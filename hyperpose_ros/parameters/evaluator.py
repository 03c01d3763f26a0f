"""The evaluator's parameters, declared once: name, default, range, description."""

from __future__ import annotations

from dataclasses import dataclass

from hyperpose_ros.parameters.declaration import Change, parameter


@dataclass(frozen=True)
class EvaluatorParameters:
    """The evaluator's parameters, read once, when it starts."""

    output_directory: str = parameter("evaluation", Change.START, "Folder of the report; created if missing.")
    title: str = parameter("Localizer against ground truth", Change.START, "Heading of the report.")
    match_tolerance: float = parameter(
        0.0,
        Change.START,
        "Seconds by which the stamps of an estimate and its true pose may differ; 0 requires equal stamps.",
        minimum=0.0,
        maximum=10.0,
    )
    ground_truth_type: str = parameter(
        "pose",
        Change.START,
        "Type of the ground truth: pose (geometry_msgs/PoseStamped) or odometry (nav_msgs/Odometry); "
        "poses of another frame, or in another world, are moved by transforms that stand still, or refused.",
        choices=("pose", "odometry"),
    )
    camera_frame: str = parameter(
        "",
        Change.START,
        "The camera's optical frame, to which TF moves an odometry's poses; empty takes a frame that is "
        "called optical for it, and a geometry_msgs/PoseStamped is always the camera's.",
    )
    count_unanswered: bool = parameter(
        False,
        Change.START,
        "Count true poses without an estimate as failed frames, instead of only reporting their number.",
    )
    idle_timeout: float = parameter(
        5.0,
        Change.START,
        "Seconds without a pose, after the first true pose, that end the run.",
        minimum=0.1,
        maximum=86400.0,
    )
    start_timeout: float = parameter(
        0.0,
        Change.START,
        "Seconds to wait for the first true pose; 0 waits for ever.",
        minimum=0.0,
        maximum=86400.0,
    )
    expected_frames: int = parameter(
        0,
        Change.START,
        "End as soon as this many frames are matched; 0 sets no number.",
        minimum=0,
        maximum=2**31,
    )
