"""The demonstration: simulate, train, replay, score."""
