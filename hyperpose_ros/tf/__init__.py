"""Where frames are: from the trained world to the map and the robot's body."""
