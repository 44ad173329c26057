"""The command line: `convoscope serve | predict | batch | convolve | feature-maps`, and those of `python -m training`.

What belongs here: a module for each command, with its options and what it does; `dispatch` has the table of them and
turns every failure into one line. A command imports what it needs when it runs: the service starts sooner, and asking
another one needs no engine.
"""

from app.cli.dispatch import main

__all__ = ["main"]
