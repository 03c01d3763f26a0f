"""From image topics to frames that wait for the network."""
