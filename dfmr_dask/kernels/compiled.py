"""The fused E- and M-step of Gaussian mixtures over tiles of rows, compiled.

For row x_i and component k, with W_k the inverse Cholesky factor of the covariance,

    l_ik = log w_k + log f(x_i; theta_k) = c_k - |W_k (x_i - mu_k)|^2 / 2,
    r_ik = exp(l_ik) / sum_j exp(l_ij),

and the sums over rows are  s0_k = sum r_ik,  s1_k = sum r_ik z_i,  s2_k = sum r_ik z_i z_i^T.

How the tiling goes. Rows are taken a tile at a time and turned on their side: z[j, t] is feature j
of row t, shifted and scaled (by powers of two, which costs no digits) so that sums about the
origin lose nothing. So every inner loop runs over t with unit stride, and becomes vector
instructions. W_k z and the sums of products go in blocks of 4 x 4 features, so that the eight
vectors that are loaded serve sixteen products; only blocks on or below the diagonal are computed.
Few features need no blocks: their number is part of a type (``size`` is a tuple as long as it), so
that the compiler lays out all of W_k z in registers, in code made for that number of features.
A tile is loaded once, serves E and M of all components while it is in cache, and is forgotten:
scratch memory does not depend on the number of rows. Sums are added up tile by tile in float64, in
the order of the rows: the result depends on nothing but rows, parameters and the processor's kind.

Code kept on disk is made anew when the file of the function that is called has changed; that other
files have, it does not see. Therefore the functions that are called close over a number that stands
for the other files: numba keeps code for each value of what a function closes over. And those
other files call nothing outside themselves. For the tuples of arrays see ``gaussian.Prepared``.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dfmr_dask.jit import compiled
from dfmr_dask.kernels import densities, moments
from dfmr_dask.kernels.densities import SUMS, Arrays, Numbers, respond, sum_logs, turn, weigh
from dfmr_dask.kernels.moments import gather

Entry = Callable[..., Any]


def entries(sources: int) -> tuple[Entry, Entry]:
    """Return ``add_up`` and ``answer``, compiled for one state of the other files."""

    @compiled(fastmath=SUMS)
    def add_up(
        x: Numbers, row_weights: Numbers, frame: Numbers,
        model: Arrays, table: Arrays, scratch: Arrays, sums: Arrays,
    ) -> float:  # fmt: skip
        """Add to ``sums``, return the log likelihood; no ``row_weights`` when rows count once."""
        z, y, r, top, total, powers, bits, counts = scratch
        tile, weighted, log_likelihood = z.shape[1], len(row_weights) > 0, 0.0 * sources
        for first in range(0, len(x), tile):
            m = min(tile, len(x) - first)
            turn(x, first, m, frame, z)
            counts[:m] = 1.0
            counts[m:] = 0.0
            for t in range(m if weighted else 0):
                counts[t] = row_weights[first + t]
            weigh(z, model, y, r)
            respond(r, top, total, powers, bits, table)
            log_likelihood += sum_logs(top, total, counts, m, weighted)
            for t in range(tile):
                total[t] = counts[t] / total[t]
            gather(z, model[0], r, total, counts, y, sums)
        return log_likelihood

    @compiled(fastmath=SUMS)
    def answer(
        x: Numbers, first_answer: int, frame: Numbers,
        model: Arrays, table: Arrays, scratch: Arrays, out: Arrays,
    ) -> None:  # fmt: skip
        """Write log density (n,), responsibilities (n, K), label (n,); length 0: not wanted."""
        z, y, r, top, total, powers, bits, _ = scratch
        log_density, responsibilities, labels = out
        for first in range(0 * sources, len(x), z.shape[1]):
            m = min(z.shape[1], len(x) - first)
            turn(x, first, m, frame, z)
            weigh(z, model, y, r)
            for t in range(m if len(labels) else 0):
                best = 0
                for k in range(1, len(r)):
                    if r[k, t] > r[best, t]:
                        best = k
                labels[first_answer + first + t] = best
            if len(log_density) or len(responsibilities):
                respond(r, top, total, powers, bits, table)
            for t in range(m if len(log_density) else 0):
                log_density[first_answer + first + t] = top[t] + np.log(total[t])
            for t in range(m if len(responsibilities) else 0):
                for k in range(len(r)):
                    responsibilities[first_answer + first + t, k] = r[k, t] / total[t]

    return add_up, answer


def checksum(*modules: Any) -> int:
    """Return a number that changes with the modules' sources; 0 where these are not at hand."""
    files = [Path(module.__file__) for module in modules]
    return zlib.crc32(b"".join(file.read_bytes() for file in files if file.exists()))


add_up, answer = entries(checksum(densities, moments))
