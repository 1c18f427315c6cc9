"""Jacobian matrices as linear operators: known by their products, never written out.

Inside, vectors lie along the last axis, as everywhere in the package: a product with `M` vectors
takes ``(..., M, n)``. `matmat` and ``@``, whose vectors are columns, swap the axes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from numbers import Real
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from ._arrays import (
    Array,
    DType,
    Mask,
    as_array,
    as_float,
    as_floats,
    as_mask,
    as_real,
    cast,
    common_dtype,
    compute_dtype,
    widened,
)
from ._derivatives import softmax_jacobian, softmax_vjp
from ._layer import check_layer_rows, softmax_layer_jacobian

__all__ = ["SoftmaxJacobian", "SoftmaxLayerJacobian"]


class _Operator(ABC):
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
    def T(self) -> _Operator:
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
    def __add__(self, other: _Operator) -> _Operator: ...
    @overload
    def __add__(self, other: ArrayLike) -> Array: ...
    def __add__(self, other: Any) -> Any:
        if isinstance(other, _Operator):
            return _Sum((1.0, self), (1.0, other))
        return self.todense() + as_array(other, "the array added")

    def __radd__(self, other: ArrayLike) -> Array:
        return self + other

    @overload
    def __sub__(self, other: _Operator) -> _Operator: ...
    @overload
    def __sub__(self, other: ArrayLike) -> Array: ...
    def __sub__(self, other: Any) -> Any:
        if isinstance(other, _Operator):
            return _Sum((1.0, self), (-1.0, other))
        return self.todense() - as_array(other, "the array subtracted")

    def __rsub__(self, other: ArrayLike) -> Array:
        return as_array(other, "the array added") - self.todense()

    def __mul__(self, factor: float | np.number[Any]) -> _Operator:
        if not isinstance(factor, Real):
            return NotImplemented
        return _Sum((as_real(factor, "the factor of an operator"), self))

    __rmul__ = __mul__

    def __truediv__(self, divisor: float | np.number[Any]) -> _Operator:
        if not isinstance(divisor, Real):
            return NotImplemented
        return self * (1 / divisor)

    def __neg__(self) -> _Operator:
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


class _Transposed(_Operator):
    """The transpose of an operator that can tell its own transposed products."""

    def __init__(self, operator: SoftmaxLayerJacobian) -> None:
        *lead, m, n = operator.shape
        self.shape = (*lead, n, m)
        self.dtype = operator.dtype
        self._operator = operator

    @property
    def T(self) -> _Operator:
        return self._operator

    def todense(self) -> Array:
        return self._operator.todense().swapaxes(-1, -2)

    def _images(self, v: Array) -> Array:
        return self._operator._transposed_images(v)


class _Sum(_Operator):
    """A sum of operators, each with a factor."""

    def __init__(self, *terms: tuple[float, _Operator]) -> None:
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
    def T(self) -> _Operator:
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


class SoftmaxJacobian(_Operator):
    r"""The Jacobian matrix of softmax as a linear operator, one for each row.

    Parameters
    ----------
    s : array_like, shape (..., K)
        What `softmax` returned, rows along the last axis. Kept as it is, not copied.
    where : array_like of bool, optional
        Which entries take part, as `softmax` was told, broadcastable to `s`. The others are never
        looked at, in the vectors multiplied neither; their rows and columns are 0.

    Attributes
    ----------
    shape : tuple of int
        ``(..., K, K)``.
    dtype : numpy.dtype
        That of `s`.
    ndim : int
        The number of axes: 2 for the operator of a single row.
    T : SoftmaxJacobian
        The transpose of each matrix: the operator itself, as the matrices are symmetric.

    Raises
    ------
    TypeError
        If `s` is not real, or `where` not boolean.
    ValueError
        If `s` has no axis, or `where` the wrong shape.

    See Also
    --------
    softmax_jacobian : The matrices themselves.
    softmax_jvp : One product for each row.
    SoftmaxLayerJacobian : The derivative by the weights of a layer.
    cross_entropy_hvp : The same product, scaled as a loss is: its Hessian.

    Notes
    -----
    The operator stands for ``softmax_jacobian(s)`` and gives what that array would:

    - ``J @ V`` and ``V @ J`` follow `numpy.matmul`. `V` of shape (K,) is one vector, the same for
      every row. Else `V` is ``(..., K, M)``, with vectors as columns, and its leading axes are
      broadcast against those of `s`; so a 2-D `V` is one matrix, the same for every row.
    - ``matvec(v)`` takes a vector for each row: `v` is ``(..., K)``, broadcast in the same way.
      `rmatvec`, `matmat` and `rmatmat` are as in SciPy.
    - ``todense()``, ``toarray()`` and `numpy.asarray` return the array.
    - Sums of operators, and products with a number, are operators again; the sum with an array is
      an array.

    The products are those of `softmax_jvp`,

    .. math:: (\operatorname{diag}(s) - s s^T)\, v = s \circ (v - s^T v),

    with its accuracy. They take memory for their result alone, O(K) for a vector.

    For a single row, `scipy.sparse.linalg.aslinearoperator` and the solvers there (``cg``,
    ``eigsh``, ...) accept the operator. The matrix is singular: it maps constant vectors to zero.

    Examples
    --------
    >>> import numpy as np
    >>> from smcore import SoftmaxJacobian, softmax
    >>> J = SoftmaxJacobian(softmax([1.0, 2.0, 3.0]))
    >>> J
    <SoftmaxJacobian of shape (3, 3) and dtype float64>
    >>> (J @ [1.0, 0.0, 0.0]).round(4)
    array([ 0.0819, -0.022 , -0.0599])
    >>> np.allclose(J @ np.eye(3), J.todense())
    True

    A vector for each of two rows, which `softmax_jvp` would multiply too:

    >>> J = SoftmaxJacobian(softmax([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]))
    >>> J.matvec([[1.0, 0.0, 0.0], [0.0, 0.0, 9.0]]).round(4)
    array([[ 0.0819, -0.022 , -0.0599],
           [-1.    , -1.    ,  2.    ]])
    """

    def __init__(self, s: ArrayLike, *, where: ArrayLike | None = None) -> None:
        self._s = as_float(s, "s")
        if self._s.ndim == 0:
            raise ValueError("s must have at least one axis; found shape ()")
        self._mask = None if where is None else as_mask(where, self._s.shape)
        self.shape: tuple[int, ...] = (*self._s.shape, self._s.shape[-1])
        self.dtype: DType = self._s.dtype

    @property
    def T(self) -> SoftmaxJacobian:
        """The operator itself."""
        return self

    def todense(self) -> Array:
        """Return ``softmax_jacobian(s)``, of shape ``(..., K, K)``."""
        return softmax_jacobian(self._s, where=self._mask)

    def matvec(self, v: ArrayLike) -> Array:
        if type(v) is np.ndarray and v.shape == self._s.shape and v.dtype == self.dtype:
            return softmax_vjp(self._s, v, where=self._mask)  # nothing to broadcast
        return super().matvec(v)

    def _images(self, v: Array) -> Array:
        s, v = as_floats(s=self._s, v=v)
        return _product(s, v, self._mask)


class SoftmaxLayerJacobian(_Operator):
    r"""The Jacobian matrix of a softmax layer by its weights as a linear operator.

    Parameters
    ----------
    s : array_like, shape (K,) or (N, K)
        What `softmax_layer` returned. Kept as it is, not copied, as `x` is.
    x : array_like, shape (J,) or (N, J)
        What it was given.

    Attributes
    ----------
    shape : tuple of int
        ``(K, K*J)`` or ``(N, K, K*J)``. Row t is output t; column ``i*J + j`` is ``W[j, i]``.
    dtype : numpy.dtype
        The one that `s` and `x` promote to.
    ndim : int
        The number of axes, 2 or 3.
    T : linear operator
        The transpose of each matrix, of shape ``(K*J, K)`` or ``(N, K*J, K)``.

    Raises
    ------
    TypeError
        If an argument is not real.
    ValueError
        If an argument has the wrong shape.

    See Also
    --------
    softmax_layer_jacobian : The matrices themselves.
    softmax_layer_vjp : The backward pass, summed over the batch.
    SoftmaxJacobian : The derivative by the logits.

    Notes
    -----
    The operator stands for ``softmax_layer_jacobian(s, x)``. Products, among them ``@`` over a
    batch, are described at `SoftmaxJacobian`. A direction `v` of the weights is a vector of length
    ``K*J``, class by class: ``dW.T.reshape(-1)`` of a matrix `dW` of the shape of the weights. With
    its rows :math:`v_i` of length J,

    .. math:: (A v)_t = s_t \Bigl(z_t - \sum_i s_i z_i\Bigr), \quad z_i = x^T v_i, \qquad
              (A^T g)_{iJ + j} = s_i \Bigl(g_i - \sum_t g_t s_t\Bigr)\, x_j.

    Besides the vectors multiplied, that takes O(K + J) memory for each row.

    Examples
    --------
    >>> from smcore import SoftmaxLayerJacobian, softmax_layer
    >>> x, W = [1.0, 2.0], [[0.0, 1.0], [0.0, 1.0]]
    >>> A = SoftmaxLayerJacobian(softmax_layer(x, W), x)
    >>> A.shape
    (2, 4)
    >>> (A @ [1.0, 0.0, 0.0, 0.0]).round(4)
    array([ 0.0452, -0.0452])
    >>> (A.T @ [1.0, 0.0]).round(4)
    array([ 0.0452,  0.0904, -0.0452, -0.0904])
    """

    def __init__(self, s: ArrayLike, x: ArrayLike) -> None:
        self._s, self._x = as_floats(s=s, x=x)
        check_layer_rows(self._s, self._x)
        K, J = self._s.shape[-1], self._x.shape[-1]
        self.shape: tuple[int, ...] = (*self._s.shape, K * J)
        self.dtype: DType = self._s.dtype

    @property
    def T(self) -> _Operator:
        """The transpose of each matrix."""
        return _Transposed(self)

    def todense(self) -> Array:
        """Return ``softmax_layer_jacobian(s, x)``."""
        return softmax_layer_jacobian(self._s, self._x)

    def _images(self, v: Array) -> Array:
        s, x, v, dtype = self._wide(v)
        by_class = v.reshape(*v.shape[:-1], s.shape[-1], x.shape[-1])
        with np.errstate(all="ignore"):
            z = np.matmul(by_class, x[..., np.newaxis, :, np.newaxis])[..., 0]
        return cast(_product(s, z), dtype)

    def _transposed_images(self, g: Array) -> Array:
        s, x, g, dtype = self._wide(g)
        by_logits = _product(s, g)
        with np.errstate(all="ignore"):
            by_weights = by_logits[..., np.newaxis] * x[..., np.newaxis, np.newaxis, :]
        *lead, K, J = by_weights.shape
        return cast(by_weights.reshape(*lead, K * J), dtype)

    def _wide(self, v: Array) -> tuple[Array, Array, Array, DType]:
        """Return both operands and vectors in the dtype to compute in, and that of the result."""
        operands = as_floats(s=self._s, x=self._x, v=v)
        s, x, v = widened(*operands)
        return s, x, v, operands[0].dtype


def _product(s: Array, v: Array, mask: Mask | None = None) -> Array:
    """Multiply vectors ``(..., M, K)`` by the Jacobians of rows `s` of shape ``(..., K)``."""
    if mask is not None:
        mask = np.broadcast_to(mask, s.shape)[..., np.newaxis, :]
    s = s[..., np.newaxis, :]
    shape = np.broadcast_shapes(s.shape, v.shape)
    s, v = np.broadcast_to(s, shape), np.broadcast_to(v, shape)
    return softmax_vjp(s, v, where=mask, out=np.empty(shape, s.dtype))
