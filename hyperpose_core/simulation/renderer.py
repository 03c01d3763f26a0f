"""Pictures of a scenery from any camera pose, by panda3d's software renderer: no GPU, no display."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Pose
from hyperpose_core.simulation.scenery import Scenery
from hyperpose_core.simulation.sky import HIGHEST_DEG, LOWEST_DEG

if TYPE_CHECKING:
    from panda3d import core

_NEAR_M = 0.25
_FAR_M = 900.0
_SKY_RADIUS_M = 500.0
_HAZE_REACH_M = 128.0
_SETTINGS = """
load-display p3tinydisplay
window-type offscreen
audio-library-name null
textures-power-2 up
notify-level error
"""


class Renderer:
    """Draws one scenery. A process can hold one renderer at a time.

    Poses are camera-to-town: the optical frame (x right, y down, z forward) in the town frame (x east,
    y north, z up). Pixel (0, 0) is the middle of the upper left pixel.
    """

    def __init__(
        self, scenery: Scenery, camera: CameraModel, haze: tuple[float, float, float] | None = None
    ) -> None:
        """Hand the scenery to panda3d.

        Args:
            scenery: what to draw.
            camera: of the pictures, without distortion.
            haze: colour in 0..1 that `render` fades to, with a visibility; None for no haze.

        Raises:
            HyperPoseError: panda3d is not installed or cannot open its software renderer.
        """
        self._core = _import_panda()
        self._camera_model = camera
        self._haze = None if haze is None else np.array(haze) * 255.0
        self._engine = self._core.GraphicsEngine()
        self._root = self._core.NodePath("root")
        self._town = self._root.attach_new_node("town")
        self._add_surfaces(scenery)
        self._sky = self._add_sky(scenery.sky)
        self._camera, self._picture = self._add_camera("picture", None)
        self._depth: tuple[Any, Any] | None = None
        if haze is not None:
            self._depth = self._add_camera("depth", self._depth_state())

    def close(self) -> None:
        """Give the buffers back."""
        self._engine.remove_all_windows()

    def render(self, pose: Pose, visibility_m: float = 0.0) -> npt.NDArray[np.uint8]:
        """Return the picture from a pose as RGB uint8 [height, width, 3].

        Args:
            pose: of the camera's optical frame in the town.
            visibility_m: distance at which 63% of a colour has turned to haze; 0 for none.
        """
        rotation = pose.rotation()
        matrix = np.eye(4)
        matrix[:3, :3] = np.stack([rotation[:, 0], rotation[:, 2], -rotation[:, 1]])
        matrix[3, :3] = pose.position
        placed = self._core.LMatrix4(*matrix.ravel().tolist())
        self._camera.set_mat(placed)
        self._sky.set_pos(*pose.position.tolist())
        if self._depth is not None:
            self._depth[0].set_mat(placed)
        self._engine.render_frame()
        image = self._read(self._picture)
        if self._depth is None or self._haze is None or visibility_m <= 0:
            return image
        levels = np.arange(256) * (_HAZE_REACH_M / 255.0)
        share = np.append(1.0 - np.exp(-levels[:-1] / visibility_m), 0.0).astype(np.float32)
        hazy = share[self._read(self._depth[1])[..., 0]]
        return np.asarray(
            cv2.blendLinear(image, np.full_like(image, self._haze), 1.0 - hazy, hazy), dtype=np.uint8
        )

    def _read(self, texture: Any) -> npt.NDArray[np.uint8]:
        data = np.frombuffer(texture.get_ram_image_as("RGB"), dtype=np.uint8)
        rows = data.reshape(self._camera_model.height, self._camera_model.width, 3)
        return np.ascontiguousarray(rows[::-1])

    def _add_camera(self, name: str, state: Any | None) -> tuple[Any, Any]:
        """Open an offscreen buffer; return its camera and the texture that it draws into."""
        panda, model = self._core, self._camera_model
        properties = panda.FrameBufferProperties()
        properties.set_rgb_color(True)
        properties.set_depth_bits(24)
        pipe = panda.GraphicsPipeSelection.get_global_ptr().make_pipe(
            "TinyOffscreenGraphicsPipe", "p3tinydisplay"
        )
        size = panda.WindowProperties.size(model.width, model.height)
        buffer = self._engine.make_output(
            pipe, name, 0, properties, size, panda.GraphicsPipe.BF_refuse_window
        )
        if buffer is None:
            raise HyperPoseError("simulation: panda3d cannot open its software renderer p3tinydisplay")
        buffer.set_clear_color((1, 1, 1, 1))
        texture = panda.Texture(name)
        buffer.add_render_texture(texture, panda.GraphicsOutput.RTM_copy_ram)
        lens = panda.PerspectiveLens()
        # Tinydisplay's picture is half a pixel short at its right and lower edge; panda measures from the
        # film's middle and upwards, a camera from the middle of the upper left pixel and down.
        film_width, film_height = model.width - 0.5, model.height - 0.5
        lens.set_film_size(film_width, film_height)
        lens.set_focal_length(model.fx)
        lens.set_film_offset(film_width / 2 - (model.cx + 0.5), (model.cy + 0.5) - film_height / 2)
        lens.set_near_far(_NEAR_M, _FAR_M)
        camera = panda.Camera(name, lens)
        if state is not None:
            camera.set_initial_state(state)
        path = self._root.attach_new_node(camera)
        buffer.make_display_region().set_camera(path)
        return path, texture

    def _depth_state(self) -> Any:
        """Return a state that paints everything with its distance along the view, up to the haze's reach."""
        panda = self._core
        ramp = panda.Texture("ramp")
        ramp.setup_2d_texture(256, 1, panda.Texture.T_unsigned_byte, panda.Texture.F_rgb)
        ramp.set_ram_image_as(np.repeat(np.arange(256, dtype=np.uint8), 3).tobytes(), "RGB")
        ramp.set_wrap_u(panda.SamplerState.WM_clamp)
        ramp.set_minfilter(panda.SamplerState.FT_nearest)
        ramp.set_magfilter(panda.SamplerState.FT_nearest)
        holder = panda.NodePath("holder")
        stage = panda.TextureStage("depth")
        holder.set_texture(stage, ramp, 100)
        holder.set_tex_gen(stage, panda.TexGenAttrib.M_eye_position, 100)
        scale = 1.0 / _HAZE_REACH_M
        along_view = panda.LMatrix4(0, 0, 0, 0, scale, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1)
        holder.set_tex_transform(stage, panda.TransformState.make_mat(along_view))
        holder.set_color((1, 1, 1, 1), 100)
        return holder.get_state()

    def _add_surfaces(self, scenery: Scenery) -> None:
        names = sorted({surface.texture for surface in scenery.surfaces})
        for name in names:
            chosen = [k for k, surface in enumerate(scenery.surfaces) if surface.texture == name]
            start, triangles, rows = 0, [], []
            for k in chosen:
                surface = scenery.surfaces[k]
                triangles.append(surface.triangles + start)
                rows.append(_rows(surface.positions, surface.texture_coordinates, scenery.colors[k]))
                start += len(surface.positions)
            path = self._town.attach_new_node(self._geometry(np.concatenate(rows), np.concatenate(triangles)))
            path.set_texture(self._texture(name, scenery.textures[name], clamped=name.startswith("ground")))

    def _add_sky(self, panorama: npt.NDArray[np.uint8]) -> Any:
        """Surround the camera with the panorama, drawn first and behind everything."""
        columns, rows = 32, 12
        azimuth, elevation = np.meshgrid(
            np.linspace(0, 2 * np.pi, columns + 1), np.radians(np.linspace(LOWEST_DEG, HIGHEST_DEG, rows + 1))
        )
        directions = np.stack(
            [np.sin(azimuth) * np.cos(elevation), np.cos(azimuth) * np.cos(elevation), np.sin(elevation)],
            axis=-1,
        ).reshape(-1, 3)
        u, v = np.meshgrid(np.linspace(0, 1, columns + 1), np.linspace(0, 1, rows + 1))
        corner = (np.arange(rows)[:, None] * (columns + 1) + np.arange(columns)).reshape(-1, 1)
        quads = corner + np.array([0, 1, columns + 2, 0, columns + 2, columns + 1])
        coordinates = np.stack([u.ravel(), v.ravel()], axis=1)
        table = _rows(directions * _SKY_RADIUS_M, coordinates, np.ones((len(directions), 3)))
        path = self._root.attach_new_node(self._geometry(table, quads.reshape(-1, 3)))
        path.set_texture(self._texture("sky", panorama, clamped=False))
        path.set_depth_write(False)
        path.set_bin("background", 0)
        path.set_two_sided(True)
        return path

    def _geometry(self, rows: npt.NDArray[np.void], triangles: npt.NDArray[np.int32]) -> core.GeomNode:
        panda = self._core
        data = panda.GeomVertexData("surface", panda.GeomVertexFormat.get_v3c4t2(), panda.Geom.UH_static)
        data.unclean_set_num_rows(len(rows))
        memoryview(data.modify_array(0)).cast("B").cast("B")[:] = rows.tobytes()
        primitive = panda.GeomTriangles(panda.Geom.UH_static)
        primitive.set_index_type(panda.Geom.NT_uint32)
        indices = primitive.modify_vertices()
        indices.unclean_set_num_rows(triangles.size)
        memoryview(indices).cast("B").cast("B")[:] = triangles.astype(np.uint32).tobytes()
        geometry = panda.Geom(data)
        geometry.add_primitive(primitive)
        node = panda.GeomNode("surface")
        node.add_geom(geometry)
        return node

    def _texture(self, name: str, image: npt.NDArray[np.uint8], clamped: bool) -> Any:
        panda = self._core
        texture = panda.Texture(name)
        texture.setup_2d_texture(
            image.shape[1], image.shape[0], panda.Texture.T_unsigned_byte, panda.Texture.F_rgb
        )
        texture.set_ram_image_as(np.ascontiguousarray(image[::-1]).tobytes(), "RGB")
        texture.set_minfilter(panda.SamplerState.FT_linear_mipmap_nearest)
        texture.set_magfilter(panda.SamplerState.FT_linear)
        mode = panda.SamplerState.WM_clamp if clamped else panda.SamplerState.WM_repeat
        texture.set_wrap_u(mode)
        texture.set_wrap_v(mode if name != "sky" else panda.SamplerState.WM_clamp)
        return texture


def _rows(
    positions: npt.NDArray[np.float64], coordinates: npt.NDArray[np.float64], colors: npt.NDArray[np.float64]
) -> npt.NDArray[np.void]:
    """Return the corners in panda3d's v3c4t2 layout."""
    layout = np.dtype([("position", "<f4", 3), ("color", "u1", 4), ("coordinates", "<f4", 2)])
    rows = np.zeros(len(positions), dtype=layout)
    rows["position"], rows["coordinates"] = positions, coordinates
    rows["color"][:, :3] = np.round(colors * 255.0)
    rows["color"][:, 3] = 255
    return rows


def check_panda() -> None:
    """Say in one line if the renderer cannot be had.

    Raises:
        HyperPoseError: panda3d is not installed.
    """
    try:
        import panda3d  # noqa: F401
    except ImportError as error:
        raise HyperPoseError(
            "the simulation needs panda3d, which is not installed: pip install hyperpose_ros[simulation]"
        ) from error


def _import_panda() -> Any:
    check_panda()
    from panda3d import core

    core.load_prc_file_data("hyperpose simulation", _SETTINGS)
    return core
