"""Convoscope's service: a web API around a CIFAR-10 network. It never imports `training` or TensorFlow."""

__version__ = "0.1.0"
