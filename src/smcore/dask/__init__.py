"""smcore for Dask: rows of arrays larger than memory, or spread over a cluster.

Functions with the names and arguments of those of `smcore`, for `dask.array`. They are lazy, take
any chunks, those of a row included, and are as accurate as in memory. Where rows lie in one chunk
each, a chunk is given to the function of `smcore`. Where they do not, each chunk becomes a record
of its part of each row (`smcore._parts`), and a tree of tasks joins the records.

A softmax of rows in several chunks reads each chunk twice, or all of them would have to be held:
once for the logsumexp of its row, and again when that is known.
"""

from ._cross_entropy import cross_entropy
from ._softmax import log_softmax, logsumexp, softmax

__all__ = ["cross_entropy", "log_softmax", "logsumexp", "softmax"]
