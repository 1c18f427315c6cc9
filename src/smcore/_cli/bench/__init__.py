"""``python -m smcore bench``: smcore beside its peers, in one process, on the same work.

`card` says what is measured, `operands` makes the arrays, `peers` does the work, `measure` times
it, `results` derives the ratios, `report` writes them down and `command` puts it all together.
"""
