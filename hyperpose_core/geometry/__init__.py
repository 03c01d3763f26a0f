"""Poses, cameras and worlds: the only place where conventions live."""
