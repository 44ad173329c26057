"""From weights to an artifact: evaluate, calibrate, out-of-distribution, export, quantise, card."""
