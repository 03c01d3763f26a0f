"""The self-describing file that holds a trained network."""
