"""What every node needs."""
