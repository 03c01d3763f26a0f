"""ROS 2 nodes around `hyperpose_core`: the localizer, the bag tools and the evaluator. No learning code."""
