"""The same networks with cheaper layers, for training on a CPU. What comes out is an ordinary network."""
