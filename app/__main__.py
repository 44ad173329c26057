"""`python -m app`, the same as `convoscope`."""

from app.cli import main

main()
