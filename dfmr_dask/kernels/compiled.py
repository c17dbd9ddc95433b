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
A tile is loaded once, serves E and M of all components while it is in cache, and is forgotten:
scratch memory does not depend on the number of rows. Sums are added up tile by tile in float64, in
the order of the rows: the result depends on nothing but rows, parameters and the processor's kind.

All that is compiled lies in one file: code kept on disk is made anew when the file of the function
that is called has changed, and only then. For the tuples of arrays see ``gaussian.Prepared``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.jit import compiled

FULL, TIED, DIAGONAL = 0, 1, 2  # how the components' covariances are stored
ROWS_A_LOGARITHM = 32  # products of so many sums of at most K exponentials do not overflow
Numbers = NDArray[Any]
Arrays = tuple[Any, ...]
SUMS = frozenset({"contract", "reassoc", "nsz"})  # sums over rows in vector registers
EXACT = frozenset({"contract"})  # where the order of operations is meant


@compiled(fastmath=SUMS)
def add_up(
    x: Numbers, row_weights: Numbers, frame: Numbers,
    model: Arrays, table: Arrays, scratch: Arrays, sums: Arrays,
) -> float:  # fmt: skip
    """Add to ``sums``, return the log likelihood; no ``row_weights`` when rows count once."""
    z, rz, y, r, top, total, powers, bits, counts = scratch
    tile, weighted, log_likelihood = z.shape[1], len(row_weights) > 0, 0.0
    for first in range(0, len(x), tile):
        m = min(tile, len(x) - first)
        turn(x, first, m, frame, z)
        counts[:m] = 1.0
        counts[m:] = 0.0
        if weighted:
            counts[:m] = row_weights[first : first + m]
        weigh(z, model, y, r)
        respond(r, top, total, powers, bits, table)
        log_likelihood += sum_logs(top, total, counts, m, weighted)
        for t in range(tile):
            total[t] = counts[t] / total[t]
        gather(z, model[0], r, total, counts, rz, sums)
    return log_likelihood


@compiled(fastmath=SUMS)
def answer(
    x: Numbers, first_answer: int, frame: Numbers,
    model: Arrays, table: Arrays, scratch: Arrays, out: Arrays,
) -> None:  # fmt: skip
    """Write log density (n,), responsibilities (n, K), label (n,); length 0: not wanted."""
    z, _, y, r, top, total, powers, bits, _ = scratch
    log_density, responsibilities, labels = out
    for first in range(0, len(x), z.shape[1]):
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


@compiled(fastmath=EXACT)
def turn(x: Numbers, first: int, m: int, frame: Numbers, z: Numbers) -> None:
    """Lay m rows on their side, shifted and scaled; zeros fill the rest of the tile."""
    for u in range(0, m, 8):  # eight rows at a time: short strides in x, and in z
        for j in range(x.shape[1]):
            shift, factor = frame[0, j], frame[1, j]
            for t in range(u, min(u + 8, m)):
                z[j, t] = (x[first + t, j] - shift) * factor
    z[:, m:] = 0.0


@compiled(fastmath=SUMS)
def weigh(z: Numbers, model: Arrays, y: Numbers, r: Numbers) -> None:
    """l_kt = c_k - |W_k z_t - W_k mu_k|^2, with the square root of 1/2 in W."""
    kind, constants, whiteners, offsets = model
    one = z.dtype.type(1)
    if kind == TIED:
        for i in range(len(z)):
            y[i, :] = 0.0
            add_multiples(z, whiteners[0, i], i + 1, y[i])
    for k in range(len(constants)):
        q, offset = r[k], offsets[k]
        q[:] = constants[k]
        if kind == FULL:
            take_whitened(z, whiteners[k], offset, y, q)
        for j in range(0 if kind == FULL else len(z)):
            whitened, shift = y[j] if kind == TIED else z[j], offset[j]
            factor = whiteners[k, 0, j] if kind == DIAGONAL else one
            for t in range(len(q)):
                q[t] -= (whitened[t] * factor - shift) ** 2


@compiled(fastmath=SUMS)
def take_whitened(z: Numbers, whitener: Numbers, offset: Numbers, y: Numbers, q: Numbers) -> None:
    """Take |W z_t - offset|^2 off q_t, four features of W z at a time."""
    d, tile = z.shape
    whole = d - d % 4
    y0, y1, y2, y3 = y[0], y[1], y[2], y[3]
    for i in range(0, whole, 4):
        for a in range(4):
            y[a, :] = -offset[i + a]
        for j in range(0, i + 4, 4):
            z0, z1, z2, z3 = z[j], z[j + 1], z[j + 2], z[j + 3]
            w = whitener[i : i + 4, j : j + 4]
            a0, a1, a2, a3 = w[0, 0], w[0, 1], w[0, 2], w[0, 3]
            b0, b1, b2, b3 = w[1, 0], w[1, 1], w[1, 2], w[1, 3]
            c0, c1, c2, c3 = w[2, 0], w[2, 1], w[2, 2], w[2, 3]
            d0, d1, d2, d3 = w[3, 0], w[3, 1], w[3, 2], w[3, 3]
            for t in range(tile):
                u0, u1, u2, u3 = z0[t], z1[t], z2[t], z3[t]
                y0[t] += a0 * u0 + a1 * u1 + a2 * u2 + a3 * u3
                y1[t] += b0 * u0 + b1 * u1 + b2 * u2 + b3 * u3
                y2[t] += c0 * u0 + c1 * u1 + c2 * u2 + c3 * u3
                y3[t] += d0 * u0 + d1 * u1 + d2 * u2 + d3 * u3
        for t in range(tile):
            q[t] -= y0[t] * y0[t] + y1[t] * y1[t] + y2[t] * y2[t] + y3[t] * y3[t]
    for i in range(whole, d):
        y0[:] = -offset[i]
        add_multiples(z, whitener[i], i + 1, y0)
        for t in range(tile):
            q[t] -= y0[t] * y0[t]


@compiled(fastmath=SUMS)
def add_multiples(z: Numbers, factors: Numbers, number: int, y: Numbers) -> None:
    """Add the first features of z, times their factors, to y; four at a time."""
    whole = number - number % 4
    for j in range(0, whole, 4):
        z0, z1, z2, z3 = z[j], z[j + 1], z[j + 2], z[j + 3]
        a, b, c, d = factors[j], factors[j + 1], factors[j + 2], factors[j + 3]
        for t in range(len(y)):
            y[t] += a * z0[t] + b * z1[t] + c * z2[t] + d * z3[t]
    for j in range(whole, number):
        zj, factor = z[j], factors[j]
        for t in range(len(y)):
            y[t] += factor * zj[t]


@compiled(fastmath=EXACT)
def respond(
    r: Numbers, top: Numbers, total: Numbers, powers: Numbers, bits: Numbers, table: Arrays
) -> None:
    """Turn l_kt into exp(l_kt - top_t), top_t the largest of them, and sum up over k.

    exp(v) = 2^j exp(f) with j the integer next to v / log 2, so that |f| <= log(2) / 2: adding
    ``magic`` rounds to an integer, which then stands in the lowest bits of ``powers``; moved to
    the place of the exponent (``bits`` is the same memory), they are 2^j. exp(f) is its series.
    Below exp(lowest) nothing gets smaller: denormal numbers are slow.
    """
    inverse, magic, high, low, lowest, one = table[0][:6]
    p13, p12, p11, p10, p9, p8, p7, p6, p5, p4, p3, p2 = table[0][6:]
    bias, place = table[1]
    top[:] = r[0]
    total[:] = 0.0
    for k in range(1, len(r)):
        for t in range(len(top)):
            top[t] = r[k, t] if r[k, t] > top[t] else top[t]
    for k in range(len(r)):
        e = r[k]
        for t in range(len(top)):
            v = e[t] - top[t]
            v = v if v > lowest else lowest  # so does NaN, infinity less infinity
            powers[t] = v * inverse + magic
            j = powers[t] - magic
            e[t] = (v - j * high) - j * low
        for t in range(len(top)):
            bits[t] = (bits[t] + bias) << place
        for t in range(len(top)):
            f = e[t]
            p = ((((p13 * f + p12) * f + p11) * f + p10) * f + p9) * f + p8
            p = ((((p * f + p7) * f + p6) * f + p5) * f + p4) * f + p3
            e[t] = (((p * f + p2) * f + one) * f + one) * powers[t]
            total[t] += e[t]


@compiled(fastmath=SUMS)
def sum_logs(top: Numbers, total: Numbers, counts: Numbers, m: int, weighted: bool) -> float:
    """Log likelihood of the m rows of a tile; several rows share one logarithm."""
    out = 0.0
    if weighted:
        for t in range(m):
            out += counts[t] * (top[t] + np.log(total[t])) if counts[t] > 0.0 else 0.0
        return out
    for first in range(0, m, ROWS_A_LOGARITHM):
        product = 1.0
        for t in range(first, min(first + ROWS_A_LOGARITHM, m)):
            out += top[t]
            product *= total[t]
        out += np.log(product)
    return out


@compiled(fastmath=SUMS)
def gather(
    z: Numbers, kind: int, r: Numbers, shares: Numbers, counts: Numbers, rz: Numbers, sums: Arrays
) -> None:
    """Add up responsibilities r_kt * shares_t, and their products with z and z z^T."""
    s0, s1, s2 = sums
    for j in range(len(z) if kind == DIAGONAL else 0):
        multiply(z[j], z[j], rz[j])
    for k in range(len(r)):
        s0[k] += multiply(r[k], shares, r[k])
        if kind == FULL:
            for j in range(len(z)):
                s1[k, j] += multiply(r[k], z[j], rz[j])
            add_products(rz, z, s2[k])
        else:
            add_dots(r[k], z, len(z), s1[k])
        if kind == DIAGONAL:
            add_dots(r[k], rz, len(z), s2[k, 0])
    if kind == TIED:  # the responsibilities of a row add up to how often it counts
        for j in range(len(z)):
            multiply(counts, z[j], rz[j])
        add_products(rz, z, s2[0])


@compiled(fastmath=SUMS)
def multiply(a: Numbers, b: Numbers, out: Numbers) -> Any:
    """Multiply element by element, and return the sum of the products."""
    total = a.dtype.type(0)
    for t in range(len(a)):
        product = a[t] * b[t]
        out[t] = product
        total += product
    return total


@compiled(fastmath=SUMS)
def add_dots(a: Numbers, z: Numbers, number: int, s: Numbers) -> None:
    """Add to s the sums of a z_j for the first features of z; four at a time."""
    whole = number - number % 4
    for j in range(0, whole, 4):
        z0, z1, z2, z3 = z[j], z[j + 1], z[j + 2], z[j + 3]
        s0 = s1 = s2 = s3 = a.dtype.type(0)
        for t in range(len(a)):
            s0, s1 = s0 + a[t] * z0[t], s1 + a[t] * z1[t]
            s2, s3 = s2 + a[t] * z2[t], s3 + a[t] * z3[t]
        s[j], s[j + 1], s[j + 2], s[j + 3] = s[j] + s0, s[j + 1] + s1, s[j + 2] + s2, s[j + 3] + s3
    for j in range(whole, number):
        total = a.dtype.type(0)
        for t in range(len(a)):
            total += a[t] * z[j, t]
        s[j] += total


@compiled(fastmath=SUMS)
def add_products(rz: Numbers, z: Numbers, s: Numbers) -> None:
    """s_ab += sum of r z_a z_b for b <= a, in blocks of 4 x 4 that stay in registers."""
    d, tile = z.shape
    whole = d - d % 4
    for a in range(0, whole, 4):
        r0, r1, r2, r3 = rz[a], rz[a + 1], rz[a + 2], rz[a + 3]
        for b in range(0, a + 4, 4):
            z0, z1, z2, z3 = z[b], z[b + 1], z[b + 2], z[b + 3]
            s00 = s01 = s02 = s03 = s10 = s11 = s12 = s13 = z.dtype.type(0)
            s20 = s21 = s22 = s23 = s30 = s31 = s32 = s33 = z.dtype.type(0)
            for t in range(tile):
                u0, u1, u2, u3 = z0[t], z1[t], z2[t], z3[t]
                v0, v1, v2, v3 = r0[t], r1[t], r2[t], r3[t]
                s00, s01, s02, s03 = s00 + v0 * u0, s01 + v0 * u1, s02 + v0 * u2, s03 + v0 * u3
                s10, s11, s12, s13 = s10 + v1 * u0, s11 + v1 * u1, s12 + v1 * u2, s13 + v1 * u3
                s20, s21, s22, s23 = s20 + v2 * u0, s21 + v2 * u1, s22 + v2 * u2, s23 + v2 * u3
                s30, s31, s32, s33 = s30 + v3 * u0, s31 + v3 * u1, s32 + v3 * u2, s33 + v3 * u3
            upper = (s00, s01, s02, s03), (s10, s11, s12, s13)
            block = *upper, (s20, s21, s22, s23), (s30, s31, s32, s33)
            for i in range(4):
                for j in range(4):
                    s[a + i, b + j] += block[i][j]
    for a in range(whole, d):
        add_dots(rz[a], z, a + 1, s[a])
