"""The viewer: shows a run without RViz."""
