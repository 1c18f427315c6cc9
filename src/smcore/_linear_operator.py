"""Matrices known by their products: what makes a linear operator of these.

Inside, vectors lie along the last axis, as everywhere in the package: a product with `M` vectors
takes ``(..., M, n)``. `matmat` and ``@``, whose vectors are columns, swap the axes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from numbers import Real
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from ._arrays import Array, DType, as_array, as_float, as_real, cast, common_dtype, compute_dtype

__all__ = ["Operator"]


class Operator(ABC):
    """A matrix ``(m, n)``, or a stack of them ``(..., m, n)``, known by its products."""

    __array_ufunc__ = None  # so that ``ndarray @ operator`` is asked of the operator

    shape: tuple[int, ...]
    dtype: DType

    @property
    def ndim(self) -> int:
        """The number of axes of the stack: 2 for a single matrix."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]  # as that of the array; SciPy's annotations ask for it

    @property
    @abstractmethod
    def T(self) -> Operator:
        """The transpose of each matrix, as an operator."""

    @abstractmethod
    def todense(self) -> Array:
        """Return the matrices as an array."""

    @abstractmethod
    def _images(self, v: Array) -> Array:
        """Return ``(..., M, m)``, the products with the vectors `v` of shape ``(..., M, n)``."""

    def matvec(self, v: ArrayLike) -> Array:
        """Multiply vectors, each by its matrix.

        Parameters
        ----------
        v : array_like, shape (..., n)
            Vectors along the last axis; leading axes are broadcast against those of the stack. A
            single operator also takes one column, (n, 1), as SciPy's solvers pass it.

        Returns
        -------
        ndarray, shape (..., m)
            In the dtype that operator and `v` promote to. One column for a column.

        Raises
        ------
        TypeError
            If `v` is not real.
        ValueError
            If `v` has the wrong shape.
        """
        v = as_float(v, "v")
        if self.ndim == 2 and v.shape == (self.shape[-1], 1):
            return self.matmat(v)
        self._check(v, "v", v.shape[-1:], v.shape[:-1], "(..., {n})")
        product: Array = self._images(v[..., np.newaxis, :])[..., 0, :]
        return product

    def matmat(self, V: ArrayLike) -> Array:
        """Multiply matrices: what ``@`` does, for operands of two axes or more.

        Parameters
        ----------
        V : array_like, shape (..., n, M)
            Vectors as columns; leading axes are broadcast against those of the stack.

        Returns
        -------
        ndarray, shape (..., m, M)
            In the dtype that operator and `V` promote to.

        Raises
        ------
        TypeError
            If `V` is not real.
        ValueError
            If `V` has the wrong shape.
        """
        V = as_float(V, "V")
        self._check(V, "V", V.shape[-2:-1], V.shape[:-2], "(..., {n}, M)")
        return self._images(V.swapaxes(-1, -2)).swapaxes(-1, -2)

    def toarray(self) -> Array:
        """Return the matrices as an array: `todense`, by SciPy's other name."""
        return self.todense()

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError(f"{self!r} cannot become an array without writing out its matrices")
        return self.todense().astype(dtype or self.dtype, copy=False)

    def rmatvec(self, g: ArrayLike) -> Array:
        """Multiply vectors by the transposes: `matvec` of `T`."""
        return self.T.matvec(g)

    def rmatmat(self, G: ArrayLike) -> Array:
        """Multiply matrices by the transposes: `matmat` of `T`."""
        return self.T.matmat(G)

    def __matmul__(self, V: ArrayLike) -> Array:
        V = as_float(V, "V")
        return self.matvec(V) if V.ndim == 1 else self.matmat(V)

    def __rmatmul__(self, V: ArrayLike) -> Array:
        V = as_float(V, "V")
        if V.ndim == 1:
            return self.T.matvec(V)
        return self.T.matmat(V.swapaxes(-1, -2)).swapaxes(-1, -2)

    @overload
    def __add__(self, other: Operator) -> Operator: ...
    @overload
    def __add__(self, other: ArrayLike) -> Array: ...
    def __add__(self, other: Any) -> Any:
        if isinstance(other, Operator):
            return _Sum((1.0, self), (1.0, other))
        return self.todense() + as_array(other, "the array added")

    def __radd__(self, other: ArrayLike) -> Array:
        return self + other

    @overload
    def __sub__(self, other: Operator) -> Operator: ...
    @overload
    def __sub__(self, other: ArrayLike) -> Array: ...
    def __sub__(self, other: Any) -> Any:
        if isinstance(other, Operator):
            return _Sum((1.0, self), (-1.0, other))
        return self.todense() - as_array(other, "the array subtracted")

    def __rsub__(self, other: ArrayLike) -> Array:
        return as_array(other, "the array added") - self.todense()

    def __mul__(self, factor: float | np.number[Any]) -> Operator:
        if not isinstance(factor, Real):
            return NotImplemented
        return _Sum((as_real(factor, "the factor of an operator"), self))

    __rmul__ = __mul__

    def __truediv__(self, divisor: float | np.number[Any]) -> Operator:
        if not isinstance(divisor, Real):
            return NotImplemented
        return self * (1 / divisor)

    def __neg__(self) -> Operator:
        return self * -1.0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of shape {self.shape} and dtype {self.dtype}>"

    def _check(
        self, V: Array, name: str, n: tuple[int, ...], lead: tuple[int, ...], form: str
    ) -> None:
        """Raise unless vectors of length `n` and the axes `lead` before fit the stack."""
        try:
            fits = n == self.shape[-1:]
            np.broadcast_shapes(lead, self.shape[:-2])
        except ValueError:
            fits = False
        if not fits:
            form = form.format(n=self.shape[-1])
            raise ValueError(
                f"{name} must have shape {form}, its leading axes broadcastable to those of an "
                f"operator of shape {self.shape}; found {V.shape}"
            )


class _Sum(Operator):
    """A sum of operators, each with a factor."""

    def __init__(self, *terms: tuple[float, Operator]) -> None:
        operators = [operator for _, operator in terms]
        matrices = {operator.shape[-2:] for operator in operators}
        try:
            (matrix,) = matrices
            lead = np.broadcast_shapes(*(operator.shape[:-2] for operator in operators))
        except ValueError:
            shapes = " and ".join(str(operator.shape) for operator in operators)
            raise ValueError(f"operators of shapes {shapes} cannot be added") from None
        self.shape = (*lead, *matrix)
        self.dtype = common_dtype(operator.dtype for operator in operators)
        self._terms = terms

    @property
    def T(self) -> Operator:
        return _Sum(*((factor, operator.T) for factor, operator in self._terms))

    def todense(self) -> Array:
        return self._total([operator.todense() for _, operator in self._terms])

    def _images(self, v: Array) -> Array:
        return self._total([operator._images(v) for _, operator in self._terms])

    def _total(self, arrays: list[Array]) -> Array:
        dtype = common_dtype(array.dtype for array in arrays)
        wide = compute_dtype(dtype)
        factors = [wide.type(factor) for factor, _ in self._terms]
        with np.errstate(all="ignore"):
            total = cast(arrays[0], wide) * factors[0]
            for array, factor in zip(arrays[1:], factors[1:], strict=True):
                total = total + cast(array, wide) * factor
        return cast(total, dtype)
