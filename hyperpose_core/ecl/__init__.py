"""Variants of test frames in other light and season, as in the Extended Cambridge Landmarks (ECL).

The paper (section 4) shows the test frames of Cambridge Landmarks in the evening, in winter and in summer,
made with InstructPix2Pix from the original images, whose poses they keep. This package makes such variants of
any dataset.
"""
