"""Encoded pictures to RGB arrays, and arrays to pictures.

What belongs here: which formats are read, the limits on them, colour and orientation, the reduction to a network's
input, and rendering arrays as PNG. It knows no HTTP and no network. It may import the ground floor only.
"""
