"""What every classifier of scikit-learn is, with the types that scikit-learn does not give it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any, Self

    from numpy.typing import ArrayLike

    class Classifier:
        """Parameters by name, and the mean accuracy."""

        def get_params(self, deep: bool = True) -> dict[str, Any]: ...
        def set_params(self, **params: Any) -> Self: ...
        def score(
            self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
        ) -> float: ...

else:
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Classifier(ClassifierMixin, BaseEstimator):
        """A classifier of scikit-learn."""


__all__ = ["Classifier"]
