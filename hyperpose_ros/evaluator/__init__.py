"""The evaluator: scores a live or replayed run against ground truth."""
