"""`convoscope batch`: predictions for millions of pictures, written to a file, without a service.

Read in this order: `run` (one job from its inputs to its summary), `sources` (which pictures there are), `pipeline`
(decode, infer, in parallel and in order), `rows` (what becomes of each picture), `journal` (what is written, and how a
job goes on after a kill), `formats` (CSV, JSON lines, Parquet). `parquet` is the only module that imports pyarrow.
"""
