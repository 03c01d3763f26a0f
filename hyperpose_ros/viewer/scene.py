"""What the viewer draws, and where it goes: a window, a web page or a file. All that knows Rerun."""

from __future__ import annotations

import math
import os
from collections import deque
from pathlib import Path
from urllib.parse import quote

import numpy as np
import rerun as rr
import rerun.blueprint as rrb

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.poses import Pose
from hyperpose_ros.parameters.viewer import ViewerParameters
from hyperpose_ros.viewer.errors import PoseError

_ESTIMATE, _TRUTH = "estimate", "ground_truth"
_WORLD = "world"
_TIMELINE = "stamp"
_COLOURS = {_ESTIMATE: (255, 140, 0), _TRUTH: (0, 170, 80)}
_ERROR_COLOUR = (220, 30, 30)
_AXES = np.eye(3)  # metres
_AXIS_COLOURS = ((220, 30, 30), (0, 170, 80), (40, 90, 220))
# A viewer that looks on for hours, and a page that nobody opens, keep this much.
_MEMORY_LIMIT = "1GB"
_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")


class Scene:
    """A recording in Rerun: the camera in the map, its image, both paths, the errors over time."""

    def __init__(self, parameters: ViewerParameters) -> None:
        """Open the window, the page or the file.

        Raises:
            HyperPoseError: it cannot be opened.
        """
        self._parameters = parameters
        self._shows_camera = parameters.pose_of == "camera"
        self._image_entity = f"{_WORLD}/{_ESTIMATE}/image" if self._shows_camera else "image"
        self._paths = {name: _Trail(parameters.path_length) for name in _COLOURS}
        self._recording = rr.RecordingStream("hyperpose_ros")
        try:
            self.target = self._open()
        except (OSError, RuntimeError, ValueError) as error:
            raise HyperPoseError(f"the viewer cannot be opened: {error}") from error
        self._recording.log(_WORLD, rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)

    def close(self) -> None:
        """Hand on or write what is still in memory."""
        self._recording.flush()
        self._recording.disconnect()

    def add_image(self, stamp_ns: int, jpeg: bytes, size: tuple[int, int]) -> None:
        """Show an image.

        Args:
            stamp_ns: its stamp, nanoseconds.
            jpeg: a JPEG file.
            size: its height and width, pixels.
        """
        self._at(stamp_ns)
        if self._shows_camera:
            self._log_frustum(_ESTIMATE, size)
            self._log_frustum(_TRUTH, size)
        self._recording.log(self._image_entity, rr.EncodedImage(contents=jpeg, media_type="image/jpeg"))

    def add_estimate(self, stamp_ns: int, pose: Pose) -> None:
        """Move the estimated camera to its pose in the map, and lengthen its path."""
        self._move(_ESTIMATE, stamp_ns, pose)

    def add_truth(self, stamp_ns: int, pose: Pose) -> None:
        """Move the true camera to its pose in the map, and lengthen its path."""
        self._move(_TRUTH, stamp_ns, pose)

    def add_error(self, error: PoseError) -> None:
        """Show an error over time, and as a line from the estimate to the true position."""
        self._at(error.stamp_ns)
        self._recording.log("error/position_m", rr.Scalars(error.position_m))
        self._recording.log("error/orientation_deg", rr.Scalars(error.orientation_deg))
        ends = np.stack([error.estimate.position, error.truth.position])
        self._recording.log(f"{_WORLD}/error", rr.LineStrips3D([ends], colors=[_ERROR_COLOUR]))

    def add_text(self, stamp_ns: int, text: str, level: str) -> None:
        """Show a line of text with a level: INFO, WARN or ERROR."""
        self._at(stamp_ns)
        self._recording.log("status", rr.TextLog(text, level=level))

    def _open(self) -> str:
        parameters, layout = self._parameters, _layout(self._image_entity)
        if parameters.record:
            path = Path(parameters.record).expanduser().absolute()
            path.parent.mkdir(parents=True, exist_ok=True)
            self._recording.save(path, default_blueprint=layout)
            return f"recording into {path}"
        if parameters.web:
            source = self._recording.serve_grpc(
                grpc_port=parameters.data_port, default_blueprint=layout, server_memory_limit=_MEMORY_LIMIT
            )
            rr.serve_web_viewer(web_port=parameters.web_port, open_browser=False, connect_to=source)
            return (
                f"open http://localhost:{parameters.web_port}/?url={quote(source, safe='')}; from another "
                f"machine: ssh -L {parameters.web_port}:localhost:{parameters.web_port} "
                f"-L {parameters.data_port}:localhost:{parameters.data_port} first"
            )
        if not any(os.environ.get(name) for name in _DISPLAYS):
            raise HyperPoseError(
                f"there is no screen to open a window on (neither {' nor '.join(_DISPLAYS)} is set): "
                "set web:=true to look from a browser, or record:=FILE.rrd to look later"
            )
        self._recording.spawn(port=parameters.data_port, memory_limit=_MEMORY_LIMIT, default_blueprint=layout)
        return "showing in a window"

    def _move(self, name: str, stamp_ns: int, pose: Pose) -> None:
        self._at(stamp_ns)
        entity = f"{_WORLD}/{name}"
        # No quaternion: the last Rerun for NumPy 1 cannot take one.
        self._recording.log(entity, rr.Transform3D(translation=pose.position, mat3x3=pose.rotation()))
        if not self._shows_camera:
            self._recording.log(entity, rr.Arrows3D(vectors=_AXES, colors=_AXIS_COLOURS))
        points = self._paths[name].add(stamp_ns, pose.position)
        self._recording.log(f"{_WORLD}/{name}_path", rr.LineStrips3D([points], colors=[_COLOURS[name]]))

    def _at(self, stamp_ns: int) -> None:
        self._recording.set_time(_TIMELINE, timestamp=np.datetime64(stamp_ns, "ns"))

    def _log_frustum(self, name: str, size: tuple[int, int]) -> None:
        height, width = size
        focal_length = width / 2 / math.tan(math.radians(self._parameters.field_of_view_deg) / 2)
        self._recording.log(
            f"{_WORLD}/{name}/image",
            rr.Pinhole(resolution=[width, height], focal_length=focal_length),
        )


class _Trail:
    """The latest positions of one pose; it starts anew where time jumps back."""

    def __init__(self, length: int) -> None:
        self._positions: deque[np.ndarray] = deque(maxlen=length)
        self._latest_ns = 0

    def add(self, stamp_ns: int, position: np.ndarray) -> np.ndarray:
        """Add a position [3] and return all, [N, 3]."""
        if stamp_ns < self._latest_ns:
            self._positions.clear()
        self._latest_ns = stamp_ns
        self._positions.append(position)
        return np.stack(self._positions)


def _layout(image_entity: str) -> rrb.Blueprint:
    plots = [
        rrb.TimeSeriesView(origin="error/position_m", name="position error, m"),
        rrb.TimeSeriesView(origin="error/orientation_deg", name="orientation error, degrees"),
    ]
    return rrb.Blueprint(
        rrb.Horizontal(
            rrb.Spatial3DView(origin=_WORLD, name="map"),
            rrb.Vertical(
                rrb.Spatial2DView(origin=image_entity, name="image"),
                *plots,
                rrb.TextLogView(origin="status", name="status"),
                row_shares=[3, 2, 2, 2],
            ),
            column_shares=[3, 2],
        ),
        collapse_panels=True,
    )
