"""Offline training: CIFAR-10 in, an artifact under models/ out. The service never imports this package."""
