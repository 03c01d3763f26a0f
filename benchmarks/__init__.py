"""What measures the project's speed and size, and decides nothing in CI. `make benchmark` runs `run.py`."""
