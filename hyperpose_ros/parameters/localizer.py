"""Every parameter of the localizer, declared once.

`LocalizerParameters` is the declaration and, filled in, the values; `on_node.py` ties it to a node.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from hyperpose_ros.parameters.declaration import Change, Declaration, declarations, parameter


@dataclass(frozen=True)
class LocalizerParameters:
    """The localizer's parameters; an instance holds the values at one moment."""

    autostart: bool = parameter(
        True,
        Change.START,
        "Configure and activate the node by itself; false leaves both to a lifecycle manager.",
    )
    checkpoint: str = parameter(
        "",
        Change.LOADING,
        "Path of the trained network, a .safetensors file, or the .onnx file that `hyperpose export` made of "
        "it. Required, or place. Setting it on a configured node takes "
        "effect with the service ~/load_checkpoint, which keeps the former network where the new one fails.",
    )
    place: str = parameter(
        "",
        Change.LOADING,
        "Folder that `hyperpose build` has made; its network and landmark map are used where checkpoint is "
        "not set.",
    )
    device: str = parameter(
        "auto",
        Change.UNCONFIGURED,
        "Device the network runs on: auto (a GPU if there is one), cpu, cuda or cuda:N.",
    )
    engine: str = parameter(
        "auto",
        Change.UNCONFIGURED,
        "What runs the network: eager (PyTorch, the network prepared for inference), exported (OpenVINO, on "
        "the CPU); auto is exported for a .onnx file, and eager on a GPU. For a checkpoint on the CPU, in "
        "float32, it starts with what was faster here before, else eager; 20 s later the two are raced, once "
        "a machine and checkpoint, and from then on the one that is faster under the load of the moment "
        "answers.",
        choices=("auto", "eager", "exported"),
    )
    precision: str = parameter(
        "auto",
        Change.UNCONFIGURED,
        "Arithmetic of the network: float32, bfloat16 (CPUs with AVX512-BF16, GPUs from compute capability "
        "8.0 on), float16 (GPUs); auto is float32, or what an exported file has. Poses are computed in "
        "float32 at any rate.",
        choices=("auto", "float32", "bfloat16", "float16"),
    )
    threads: int = parameter(
        0,
        Change.UNCONFIGURED,
        "CPU threads of one inference; 0 uses every core, or OMP_NUM_THREADS if set. If other nodes share "
        "the machine, leave them a core.",
        minimum=0,
        maximum=256,
    )
    map: str = parameter(
        "",
        Change.LOADING,
        "Path of the landmark map that `hyperpose map build` or training has made, for refinement. Not set: "
        "the one beside the checkpoint, of the same name with .map, where there is one. ~/load_checkpoint "
        "loads it along with the checkpoint.",
    )
    refinement: str = parameter(
        "verify",
        Change.UNCONFIGURED,
        "What the landmark map is for: off; verify (poses are the network's, ~/status says of as many as the "
        "map has time for whether it confirms them, ~/verified_pose is where it says the camera was); refine "
        "(~/pose, ~/pose_with_covariance and ~/path are the map's too, and only its verified poses move the "
        "transform). Without a map verify is off.",
        choices=("off", "verify", "refine"),
    )
    network_until_verified: bool = parameter(
        False,
        Change.ANY_TIME,
        "With refinement refine, whether the network's poses update the transform and the path until the "
        "map has verified the first one.",
    )
    image_transport: str = parameter(
        "raw",
        Change.UNCONFIGURED,
        "raw subscribes to sensor_msgs/Image on `image`; compressed to sensor_msgs/CompressedImage (JPEG, "
        "PNG) on `image/compressed`, where `image` is the topic after remapping.",
        choices=("raw", "compressed"),
    )
    image_reliability: str = parameter(
        "auto",
        Change.UNCONFIGURED,
        "Reliability requested by the image subscription. auto matches the publishers' offer, reliable "
        "while there are none, and resubscribes when the offers change. A qos_overrides parameter takes "
        "precedence.",
        choices=("auto", "reliable", "best_effort"),
    )
    use_camera_info: bool = parameter(
        False,
        Change.UNCONFIGURED,
        "Listen to sensor_msgs/CameraInfo on `camera_info` in the images' namespace, rectify images of a "
        "lens that distorts (plumb_bob, rational_polynomial, equidistant), warn of a field of view that is "
        "not training's. Images are dropped until it has come. A network that was trained on distorted "
        "images gets them as they are where its checkpoint knows their distortion; else leave this off.",
    )
    field_of_view_margin_deg: float = parameter(
        5.0,
        Change.ANY_TIME,
        "Degrees by which the network's horizontal or vertical field of view may differ from training "
        "before a warning; needs use_camera_info.",
        minimum=0.0,
        maximum=180.0,
    )
    cameras: tuple[str, ...] = parameter(
        (),
        Change.UNCONFIGURED,
        "Names of several cameras whose images are answered together with one pose of base_frame. The camera "
        "NAME subscribes to `NAME/image`, and its pose in base_frame is the parameter NAME.camera_extrinsics "
        "or comes from TF. Not set: one camera, on `image`, whose pose is camera_extrinsics.",
        names=True,
    )
    sync_tolerance: float = parameter(
        0.03,
        Change.ANY_TIME,
        "Seconds by which the stamps of images of several cameras may differ to be processed together, and "
        "for which the first to arrive waits for the others. Less than a camera's period.",
        minimum=0.001,
        maximum=10.0,
    )
    map_frame: str = parameter("map", Change.UNCONFIGURED, "TF frame of the poses: the trained world.")
    base_frame: str = parameter(
        "base_link",
        Change.UNCONFIGURED,
        "TF frame of the robot's body, the transform's child if the extrinsics are known.",
    )
    odom_frame: str = parameter(
        "odom", Change.UNCONFIGURED, "TF frame of odometry: child of map_odom, parent of base_frame on /tf."
    )
    world_to_map: tuple[float, ...] = parameter(
        (),
        Change.UNCONFIGURED,
        "Pose of the trained world in map_frame: [x, y, z, qx, qy, qz, qw], or [x, y, z, roll, pitch, yaw] "
        "as camera_extrinsics, metres and radians; `hyperpose align` fits it. Not set: the trained world is "
        "the map.",
        lengths=(6, 7),
    )
    camera_extrinsics: tuple[float, ...] = parameter(
        (),
        Change.UNCONFIGURED,
        "Pose of the camera's optical frame (x right, y down, z forward) in base_frame: "
        "[x, y, z, qx, qy, qz, qw], or [x, y, z, roll, pitch, yaw] with R = Rz(yaw) Ry(pitch) "
        "Rx(roll), metres and radians. A camera that looks ahead has roll -1.5708, pitch 0, yaw -1.5708. Not "
        "set: as TF says, where base_frame leads to the image's frame there.",
        lengths=(6, 7),
    )
    tf_mode: str = parameter(
        "auto",
        Change.UNCONFIGURED,
        "Transform on /tf: map_odom (map_frame to odom_frame, for a robot whose odometry is on /tf; needs "
        "odometry_source), map_base (map_frame to base_frame), map_camera (map_frame to the image's frame), "
        "none; auto is map_base, and map_camera as long as the only camera's place on the robot is not "
        "known. Nothing is sent while another node gives the same frame a parent.",
        choices=("auto", "map_odom", "map_base", "map_camera", "none"),
    )
    transform_tolerance: float = parameter(
        0.1,
        Change.ANY_TIME,
        "Seconds by which the stamp of map_odom's transform is ahead of the image's, so that lookups need "
        "not wait for the next one. It is also repeated, at most 20 times a second, as far ahead of "
        "odom_frame's transforms on /tf.",
        minimum=0.0,
        maximum=10.0,
    )
    odometry_source: str = parameter(
        "none",
        Change.UNCONFIGURED,
        "Where odometry comes from, for map_odom and jump_gate: topic (nav_msgs/Odometry on `odometry`, from "
        "odom_frame to base_frame), tf (the same transform on /tf), none. It is interpolated "
        "at the image's stamp, and extrapolated by 0.1 s at most.",
        choices=("none", "topic", "tf"),
    )
    pose_of: str = parameter(
        "auto",
        Change.UNCONFIGURED,
        "Frame whose pose ~/pose, ~/pose_with_covariance and ~/path carry: camera (the image's optical "
        "frame) or base (base_frame, if the camera's extrinsics are known); auto is camera for one camera "
        "and base for several.",
        choices=("auto", "camera", "base"),
    )
    path_length: int = parameter(
        1000,
        Change.ANY_TIME,
        "Number of latest poses in ~/path; 0 publishes none.",
        minimum=0,
        maximum=100_000,
    )
    max_age: float = parameter(
        0.0,
        Change.ANY_TIME,
        "Images older than this many seconds, by their stamp, are dropped; 0 sets no limit. Set a limit "
        "only if the stamps and this node share a clock (in a replay: use_sim_time with /clock).",
        minimum=0.0,
        maximum=3600.0,
    )
    max_rate: float = parameter(
        0.0,
        Change.ANY_TIME,
        "Maximum number of images processed per second, or of sets of images with several cameras; 0 sets "
        "no limit. Images received sooner after the last accepted one are dropped, whatever their stamp.",
        minimum=0.0,
        maximum=1000.0,
    )
    image_timeout: float = parameter(
        5.0,
        Change.ANY_TIME,
        "Seconds without an image after which /diagnostics warns.",
        minimum=0.1,
        maximum=3600.0,
    )
    on_invalid: str = parameter(
        "withhold",
        Change.ANY_TIME,
        "What to do with an invalid pose: withhold publishes ~/status only, inflate publishes it with its "
        "covariance multiplied by inflation. Neither updates the transform, and non-finite output is "
        "always withheld.",
        choices=("withhold", "inflate"),
    )
    inflation: float = parameter(
        100.0,
        Change.ANY_TIME,
        "Factor on the variances of an invalid pose if on_invalid is inflate; 100 makes standard "
        "deviations ten times as large.",
        minimum=1.0,
        maximum=1e12,
    )
    min_scene_probability: float = parameter(
        0.5,
        Change.ANY_TIME,
        "A pose is invalid if the network's probability of the chosen scene is lower; 0 accepts any. "
        "Single-scene networks have none.",
        minimum=0.0,
        maximum=1.0,
    )
    region_margin: float = parameter(
        -1.0,
        Change.ANY_TIME,
        "A pose is invalid if it is more than this many metres from every training position; 0 sets no "
        "limit. Negative: five times the spacing of the training positions plus three standard deviations "
        "of the pose. Imported checkpoints have no training positions.",
        minimum=-1.0,
        maximum=1e6,
    )
    jump_gate: float = parameter(
        0.999,
        Change.ANY_TIME,
        "Innovation gate: a pose is invalid beyond this chi-squared quantile on the Mahalanobis distance "
        "to the odometry-propagated last accepted pose, given the covariances of both poses and of "
        "odometry; 0 disables it. Needs odometry and camera_extrinsics.",
        minimum=0.0,
        maximum=0.999999,
    )
    odometry_noise: float = parameter(
        0.05,
        Change.ANY_TIME,
        "Standard deviation of odometry's error, for jump_gate: metres per metre travelled and radians per "
        "radian turned, where a metre travelled counts as 0.1 radians turned, too.",
        minimum=0.0,
        maximum=10.0,
    )
    jump_recovery: int = parameter(
        5,
        Change.ANY_TIME,
        "After this many consecutive poses that jump_gate rejected and that agree with one another, the "
        "last of them is accepted: the robot was kidnapped, or the first pose was wrong.",
        minimum=2,
        maximum=1000,
    )
    lost_after: float = parameter(
        1.0,
        Change.ANY_TIME,
        "Seconds, by the images' stamps, for which the last trusted pose stands: longer without another one, "
        "the robot is lost. Poses are those that the landmark map verifies; without a map, the network's. An "
        "image in which there is nothing to see, three times in a row, loses the robot at once.",
        minimum=0.05,
        maximum=3600.0,
    )
    initial_pose: str = parameter(
        "off",
        Change.ANY_TIME,
        "When `initialpose` tells others (AMCL, SLAM Toolbox) where base_frame is, once: off (only when "
        "~/relocalize is called), on_start (once the robot is found after activation or ~/reset), on_lost "
        "(that, and each time that it is found again after it was lost). Waits for a subscriber.",
        choices=("off", "on_start", "on_lost"),
    )
    initial_pose_unverified: bool = parameter(
        False,
        Change.ANY_TIME,
        "Whether the network's poses may find the robot, too, where no landmark map has verified them.",
    )
    initial_pose_position_floor: float = parameter(
        0.2,
        Change.ANY_TIME,
        "Smallest standard deviation of the position on `initialpose`, metres; poses count as no more exact "
        "than this where they are asked whether they agree.",
        minimum=0.001,
        maximum=100.0,
    )
    initial_pose_rotation_floor_deg: float = parameter(
        3.0,
        Change.ANY_TIME,
        "The same of the orientation, degrees.",
        minimum=0.01,
        maximum=180.0,
    )
    relocalize_poses: int = parameter(
        3,
        Change.ANY_TIME,
        "So many verified poses that agree with one another, and with odometry in between where there is "
        "any, find a robot that is lost, as it is at the start.",
        minimum=1,
        maximum=50,
    )
    relocalize_window: float = parameter(
        3.0,
        Change.ANY_TIME,
        "Seconds within which they must be taken, by the images' stamps.",
        minimum=0.1,
        maximum=3600.0,
    )
    relocalize_max_speed: float = parameter(
        10.0,
        Change.ANY_TIME,
        "Metres a second that the robot drives at most, for poses to agree without odometry; it is taken to "
        "turn by 2 radians a second at most.",
        minimum=0.0,
        maximum=1000.0,
    )
    relocalize_timeout: float = parameter(
        10.0,
        Change.ANY_TIME,
        "Seconds after which ~/relocalize gives up and says why.",
        minimum=0.1,
        maximum=3600.0,
    )


def camera_declarations(cameras: Iterable[str]) -> tuple[Declaration, ...]:
    """Return the parameters that each of several cameras has, by the cameras' names."""
    every = declarations(LocalizerParameters)
    (extrinsics,) = (entry for entry in every if entry.name == "camera_extrinsics")
    return tuple(replace(extrinsics, name=f"{camera}.{extrinsics.name}") for camera in cameras)
