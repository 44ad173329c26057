"""A network that somebody else trained becomes an artifact: `convoscope import NETWORK --labels FILE --name NAME`.

`importing` goes through it step by step. `keras_file` and `onnx_file` read the two kinds of files; `onnx_graph`
rewrites an ONNX graph, and `onnx_original` computes the file as it is, for comparison.
"""
