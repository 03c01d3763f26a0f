"""From the network's estimates to one fix, and whether it is to be trusted."""
