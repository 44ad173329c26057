"""Masks, and the convolution, correlation and pooling of arrays: pure functions over arrays.

What belongs here: the arithmetic of `/convolve` and `/pool`. It knows no HTTP, no pictures' formats and no network. It
may import the ground floor only.
"""
