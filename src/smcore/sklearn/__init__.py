"""Softmax regression for scikit-learn: exact multinomial logistic regression through smcore."""

from __future__ import annotations

try:
    import scipy.optimize  # noqa: F401
    import sklearn  # noqa: F401  # the framework: imports are absolute
except ImportError as _error:
    raise ImportError(
        "smcore.sklearn needs scikit-learn and SciPy: pip install 'softmax-core[sklearn]'"
    ) from _error

from ._estimator import SoftmaxRegression

__all__ = ["SoftmaxRegression"]
