"""Jacobian matrices as linear operators: known by their products, never written out."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ._arrays import Array, DType, Mask, as_float, as_floats, as_mask, cast, widened
from ._jacobians import softmax_jacobian
from ._layer import softmax_layer_jacobian
from ._linear import check_layer_rows
from ._linear_operator import Operator
from ._products import softmax_vjp

__all__ = ["SoftmaxJacobian", "SoftmaxLayerJacobian"]


class SoftmaxJacobian(Operator):
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


class SoftmaxLayerJacobian(Operator):
    r"""The Jacobian matrix of a softmax layer by its weights as a linear operator.

    Parameters
    ----------
    s : array_like, shape (..., K)
        What `softmax_layer` returned. Kept as it is, not copied, as `x` is.
    x : array_like, shape (..., J)
        What it was given.

    Attributes
    ----------
    shape : tuple of int
        ``(..., K, K*J)``. Row t is output t; column ``i*J + j`` is ``W[j, i]``.
    dtype : numpy.dtype
        The one that `s` and `x` promote to.
    ndim : int
        The number of axes.
    T : linear operator
        The transpose of each matrix, of shape ``(..., K*J, K)``.

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
    def T(self) -> Operator:
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


class _Transposed(Operator):
    """The transpose of an operator that can tell its own transposed products."""

    def __init__(self, operator: SoftmaxLayerJacobian) -> None:
        *lead, m, n = operator.shape
        self.shape = (*lead, n, m)
        self.dtype = operator.dtype
        self._operator = operator

    @property
    def T(self) -> Operator:
        return self._operator

    def todense(self) -> Array:
        return self._operator.todense().swapaxes(-1, -2)

    def _images(self, v: Array) -> Array:
        return self._operator._transposed_images(v)


def _product(s: Array, v: Array, mask: Mask | None = None) -> Array:
    """Multiply vectors ``(..., M, K)`` by the Jacobians of rows `s` of shape ``(..., K)``."""
    if mask is not None:
        mask = np.broadcast_to(mask, s.shape)[..., np.newaxis, :]
    s = s[..., np.newaxis, :]
    shape = np.broadcast_shapes(s.shape, v.shape)
    s, v = np.broadcast_to(s, shape), np.broadcast_to(v, shape)
    return softmax_vjp(s, v, where=mask, out=np.empty(shape, s.dtype))
