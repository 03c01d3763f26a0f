"""A small simulated RobotCar: towns, weather, drives and sensors, written the way RobotCar lies on disk."""
