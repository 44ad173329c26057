"""Offline training: CIFAR-10 in, an artifact under models/ out. The service never imports this package."""

import os

# Before TensorFlow is imported: its start-up notes help nobody here.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
