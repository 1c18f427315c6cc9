"""``python -m benchmarks.compare``: smcore beside its peers, in one process, on the same work.

`card` says what is measured, `operands` makes the arrays, `peers` does the work, `measure` times
it, `comparison` has them do it cell after cell, `results` derives the ratios, `report` and `plot`
show them. `settings` prepares the process, and `environment` tells what ran in it.
"""
