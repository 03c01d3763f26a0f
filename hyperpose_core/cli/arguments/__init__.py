"""Arguments of each verb, which need neither torch nor OpenCV: help comes at once."""
