"""A network that somebody else trained becomes an artifact: `convoscope import NETWORK --labels FILE --name NAME`.

`importing` goes through it step by step; `onnx_file` and `keras_file` read the two kinds of files.
"""
