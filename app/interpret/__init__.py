"""What a network saw and why it answered as it did.

What belongs here: feature maps, heat maps (a module for each method), and what a layer does in words; functions over
arrays and an artifact's metadata. It knows no HTTP. It may import `inference`, `imaging` and the ground floor.
"""
