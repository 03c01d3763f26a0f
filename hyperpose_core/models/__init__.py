"""Pose networks: one file an architecture, the parts that they share beside them, and a registry by name."""
