"""Cholesky factors of many small covariances, and their inverses, without a call for each of them.

For stacks of small matrices a call of a library takes longer than the arithmetic; large ones go
to LAPACK.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.jit import COMPILED, compiled

SMALL = 24  # features up to which compiled loops are faster than LAPACK
Array = NDArray[np.float64]


def factors(covariances: Array) -> tuple[Array, Array]:
    """Return lower Cholesky factors and their inverses of a stack (..., d, d).

    Raises
    ------
    numpy.linalg.LinAlgError
        When a matrix is not positive definite.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.families.factors import factors
    >>> lower, inverse = factors(np.array([[4.0, 2.0], [2.0, 10.0]]))
    >>> lower
    array([[2., 0.],
           [1., 3.]])
    """
    d = covariances.shape[-1]
    if not COMPILED or d > SMALL:
        large: Array = np.asarray(np.linalg.cholesky(covariances), dtype=np.float64)
        # Elimination with exchanged rows leaves rounding errors above the diagonal.
        return large, np.linalg.inv(large) * np.tri(d)
    stack = np.ascontiguousarray(covariances, dtype=np.float64).reshape(-1, d, d)
    lower, inverse = np.zeros(stack.shape), np.zeros(stack.shape)
    if not _factor(stack, lower, inverse):
        raise np.linalg.LinAlgError("Matrix is not positive definite")
    return lower.reshape(covariances.shape), inverse.reshape(covariances.shape)


@compiled()
def _factor(stack: Array, lower: Array, inverse: Array) -> bool:
    """Fill in factors and inverses row by row; tell whether all pivots were positive."""
    d = stack.shape[1]
    for k in range(len(stack)):
        c, low, inv = stack[k], lower[k], inverse[k]
        for i in range(d):
            for j in range(i + 1):
                rest = c[i, j]
                for a in range(j):
                    rest -= low[i, a] * low[j, a]
                if i > j:
                    low[i, j] = rest / low[j, j]
                elif rest > 0.0:
                    low[i, i] = np.sqrt(rest)
                else:
                    return False
            for j in range(i):
                rest = 0.0
                for a in range(j, i):
                    rest -= low[i, a] * inv[a, j]
                inv[i, j] = rest / low[i, i]
            inv[i, i] = 1.0 / low[i, i]
    return True
