"""What a camera would have seen from another orientation or from beside where it was."""
