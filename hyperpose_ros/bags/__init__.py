"""Bags: reading, writing and playing rosbag2 files, and making them from datasets."""
