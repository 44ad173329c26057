"""Protocols of other model servers, so that their clients work unchanged: one thin adapter each.

An adapter reads its protocol's body, lets `classify` answer for its pictures, and writes its protocol's answer. No
adapter imports another; what several need (Base64 in JSON, tensors, compressed bodies) is in `wire`. Failures have the
form that these protocols' clients read, `{"error": "…"}`; `wire.problems` gives it to every path below.
"""
