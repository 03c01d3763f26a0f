"""HyperPose absolute pose regression: models, data, training, evaluation and inference, without ROS."""

__version__ = "0.1.0"
