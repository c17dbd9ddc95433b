"""Tiles of rows: turned on their side, and what each row's density is made of, compiled.

The formulas and the tiling are explained in ``compiled.py``. Nothing here calls a function of
another file: see there, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.jit import compiled

FULL, TIED, DIAGONAL = 0, 1, 2  # how the components' covariances are stored
ROWS_A_LOGARITHM = 32  # products of so many sums of at most K exponentials do not overflow
SHORT = 16  # features; longer rows are read one by one, as memory is fastest, shorter ones by eight
Numbers = NDArray[Any]
Arrays = tuple[Any, ...]
SUMS = frozenset({"contract", "reassoc", "nsz"})  # sums over rows in vector registers
EXACT = frozenset({"contract"})  # where the order of operations is meant


@compiled(fastmath=EXACT, part=True)
def turn(x: Numbers, first: int, m: int, frame: Numbers, z: Numbers) -> None:
    """Lay m rows on their side, shifted and scaled; zeros fill the rest of the tile."""
    d = x.shape[1]
    whole = m - m % 8 if d < SHORT else 0
    for u in range(0, whole, 8):  # eight rows at a time: short strides in x, and in z
        i = first + u
        for j in range(d):
            a, f, q = frame[0, j], frame[1, j], z[j]
            x0, x1, x2, x3 = x[i, j], x[i + 1, j], x[i + 2, j], x[i + 3, j]
            x4, x5, x6, x7 = x[i + 4, j], x[i + 5, j], x[i + 6, j], x[i + 7, j]
            q[u], q[u + 1], q[u + 2] = (x0 - a) * f, (x1 - a) * f, (x2 - a) * f
            q[u + 3], q[u + 4], q[u + 5] = (x3 - a) * f, (x4 - a) * f, (x5 - a) * f
            q[u + 6], q[u + 7] = (x6 - a) * f, (x7 - a) * f
    for t in range(whole, m):
        for j in range(d):
            z[j, t] = (x[first + t, j] - frame[0, j]) * frame[1, j]
    z[:, m:] = 0.0


@compiled(fastmath=SUMS, part=True)
def weigh(z: Numbers, model: Arrays, y: Numbers, r: Numbers) -> None:
    """l_kt = c_k - |W_k z_t - W_k mu_k|^2, with the square root of 1/2 in W."""
    kind, constants, whiteners, offsets, size = model
    one = z.dtype.type(1)
    if kind == TIED:
        for i in range(len(z)):
            y[i, :] = 0.0
            add_multiples(z, whiteners[0, i], i + 1, y[i])
    for k in range(len(constants)):
        q, offset = r[k], offsets[k]
        q[:] = constants[k]
        if kind == FULL and len(size) > 0:
            take_few_whitened(z, whiteners[k], offset, q, size)
        elif kind == FULL:
            take_whitened(z, whiteners[k], offset, y, q)
        elif kind == DIAGONAL and len(size) > 0:
            take_few_scaled(z, whiteners[k, 0], offset, q, size)
            continue
        for j in range(0 if kind == FULL else len(z)):
            whitened, shift = y[j] if kind == TIED else z[j], offset[j]
            factor = whiteners[k, 0, j] if kind == DIAGONAL else one
            for t in range(len(q)):
                q[t] -= (whitened[t] * factor - shift) ** 2


@compiled(fastmath=SUMS, part=True)
def take_few_whitened(
    z: Numbers, whitener: Numbers, offset: Numbers, q: Numbers, size: Arrays
) -> None:
    """Take |W z_t - offset|^2 off q_t; the compiler knows how often its two short loops run."""
    for t in range(len(q)):
        rest = q[t]
        for i in range(len(size)):
            y = -offset[i]
            for j in range(i + 1):
                y += whitener[i, j] * z[j, t]
            rest -= y * y
        q[t] = rest


@compiled(fastmath=SUMS, part=True)
def take_few_scaled(
    z: Numbers, factors: Numbers, offset: Numbers, q: Numbers, size: Arrays
) -> None:
    """The same for a diagonal W."""
    for t in range(len(q)):
        rest = q[t]
        for j in range(len(size)):
            y = factors[j] * z[j, t] - offset[j]
            rest -= y * y
        q[t] = rest


@compiled(fastmath=SUMS, part=True)
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


@compiled(fastmath=SUMS, part=True)
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


@compiled(fastmath=EXACT, part=True)
def respond(
    r: Numbers, top: Numbers, total: Numbers, powers: Numbers, bits: Numbers, table: Arrays
) -> None:
    """Turn l_kt into exp(l_kt - top_t), top_t the largest of them, and sum up over k.

    exp(v) = 2^j exp(f) with j the integer next to v / log 2, so that |f| <= log(2) / 2: adding
    ``magic`` rounds to an integer, which then stands in the lowest bits of ``powers``; moved to
    the place of the exponent (``bits`` is the same memory), they are 2^j. exp(f) is its series,
    cut short in single precision (``table[2]`` is empty then, which the compiler knows).
    Below exp(lowest) nothing gets smaller: denormal numbers are slow.
    """
    inverse, magic, high, low, lowest, one = table[0][:6]
    p12, p11, p10, p9, p8, p7, p6, p5, p4, p3, p2 = table[0][6:]
    bias, place = table[1]
    for t in range(len(top)):
        top[t], total[t] = r[0, t], 0.0
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
            p = p7
            if len(table[2]) > 0:
                p = ((((p12 * f + p11) * f + p10) * f + p9) * f + p8) * f + p7
            p = (((p * f + p6) * f + p5) * f + p4) * f + p3
            e[t] = (((p * f + p2) * f + one) * f + one) * powers[t]
            total[t] += e[t]


@compiled(fastmath=SUMS, part=True)
def sum_logs(top: Numbers, total: Numbers, counts: Numbers, m: int, weighted: bool) -> float:
    """Log likelihood of the m rows of a tile; several rows share one logarithm."""
    out = 0.0
    if weighted:
        for t in range(m):
            out += counts[t] * (top[t] + np.log(total[t])) if counts[t] > 0.0 else 0.0
        return out
    for t in range(m):
        out += top[t]
    whole = m - m % ROWS_A_LOGARITHM
    for first in range(0, whole, ROWS_A_LOGARITHM):
        product = total.dtype.type(1)
        for t in range(first, first + ROWS_A_LOGARITHM):
            product *= total[t]
        out += np.log(product)
    for t in range(whole, m):
        out += np.log(total[t])
    return out
