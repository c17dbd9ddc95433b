"""Sums over the rows of a tile for the M-step, compiled.

Products go in blocks of 4 x 4 features, so that the eight vectors that are loaded serve sixteen
products and the sums stay in registers; what d features leave over goes by two, and by one. Blocks
at the diagonal need no product twice. Nothing here calls a function of another file: see
``compiled.py``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dfmr_dask.jit import compiled
from dfmr_dask.kernels.densities import DIAGONAL, FULL, SUMS, TIED, Arrays, Numbers


@compiled(fastmath=SUMS, part=True)
def gather(
    z: Numbers, kind: int, r: Numbers, shares: Numbers, counts: Numbers, rz: Numbers, sums: Arrays
) -> None:
    """Add up responsibilities r_kt * shares_t, and their products with z and z z^T."""
    s0, s1, s2 = sums
    for k in range(len(r)):
        s0[k] += multiply(r[k], shares, r[k])
        if kind == FULL:
            add_moments(r[k], z, rz, s1[k], s2[k])
        elif kind == DIAGONAL:
            add_squares(r[k], z, s1[k], s2[k, 0])
        else:
            add_dots(r[k], z, len(z), s1[k])
    if kind == TIED:  # the responsibilities of a row add up to how often it counts
        add_moments(counts, z, rz, np.zeros(len(z)), s2[0])


@compiled(fastmath=SUMS, part=True)
def multiply(a: Numbers, b: Numbers, out: Numbers) -> Any:
    """Multiply element by element, and return the sum of the products."""
    total = a.dtype.type(0)
    for t in range(len(a)):
        product = a[t] * b[t]
        out[t] = product
        total += product
    return total


@compiled(fastmath=SUMS, part=True)
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


@compiled(fastmath=SUMS, part=True)
def add_squares(r: Numbers, z: Numbers, s1: Numbers, s2: Numbers) -> None:
    """s1_j += sum of r z_j and s2_j += sum of r z_j^2; two features at a time, an odd one twice."""
    last = len(z) - 1
    for j in range(0, last + 1, 2):
        z0, z1 = z[j], z[min(j + 1, last)]
        m0 = m1 = s00 = s11 = z.dtype.type(0)
        for t in range(len(r)):
            p0, p1 = r[t] * z0[t], r[t] * z1[t]
            m0, m1, s00, s11 = m0 + p0, m1 + p1, s00 + p0 * z0[t], s11 + p1 * z1[t]
        s1[j], s2[j] = s1[j] + m0, s2[j] + s00
        if j < last:
            s1[j + 1], s2[j + 1] = s1[j + 1] + m1, s2[j + 1] + s11


@compiled(fastmath=SUMS, part=True)
def add_moments(r: Numbers, z: Numbers, rz: Numbers, s1: Numbers, s2: Numbers) -> None:
    """s1_a += sum of r z_a, and s2_ab += sum of r z_a z_b for b <= a; rz is memory for four."""
    d = len(z)
    whole = d - d % 4
    for a in range(0, whole, 4):
        add_corner_of_4(r, z, a, rz, s1, s2)
        for b in range(0, a, 4):
            add_block_of_4(rz, z, a, b, s2)
    if d - whole > 1:
        add_corner_of_2(r, z, whole, rz, s1, s2)
        for b in range(0, whole, 4):
            add_block_of_2(rz, z, whole, b, s2)
    if d % 2:
        s1[d - 1] += multiply(r, z[d - 1], rz[0])
        add_dots(rz[0], z, d, s2[d - 1])


@compiled(fastmath=SUMS, part=True)
def add_corner_of_4(r: Numbers, z: Numbers, a: int, rz: Numbers, s1: Numbers, s2: Numbers) -> None:
    """Products of four features with one another; r times these features is left in rz."""
    z0, z1, z2, z3 = z[a], z[a + 1], z[a + 2], z[a + 3]
    r0, r1, r2, r3 = rz[0], rz[1], rz[2], rz[3]
    m0 = m1 = m2 = m3 = s00 = s10 = s11 = z.dtype.type(0)
    s20 = s21 = s22 = s30 = s31 = s32 = s33 = z.dtype.type(0)
    for t in range(len(r)):
        u0, u1, u2, u3 = z0[t], z1[t], z2[t], z3[t]
        v0, v1, v2, v3 = r[t] * u0, r[t] * u1, r[t] * u2, r[t] * u3
        r0[t], r1[t], r2[t], r3[t] = v0, v1, v2, v3
        m0, m1, m2, m3 = m0 + v0, m1 + v1, m2 + v2, m3 + v3
        s00, s10, s11 = s00 + v0 * u0, s10 + v1 * u0, s11 + v1 * u1
        s20, s21, s22 = s20 + v2 * u0, s21 + v2 * u1, s22 + v2 * u2
        s30, s31, s32, s33 = s30 + v3 * u0, s31 + v3 * u1, s32 + v3 * u2, s33 + v3 * u3
    above = z.dtype.type(0)  # the diagonal: that is not summed
    upper = (s00, above, above, above), (s10, s11, above, above)
    add_to(s2, a, a, (*upper, (s20, s21, s22, above), (s30, s31, s32, s33)))
    s1[a], s1[a + 1] = s1[a] + m0, s1[a + 1] + m1
    s1[a + 2], s1[a + 3] = s1[a + 2] + m2, s1[a + 3] + m3


@compiled(fastmath=SUMS, part=True)
def add_corner_of_2(r: Numbers, z: Numbers, a: int, rz: Numbers, s1: Numbers, s2: Numbers) -> None:
    """The same for two features."""
    z0, z1 = z[a], z[a + 1]
    r0, r1 = rz[0], rz[1]
    m0 = m1 = s00 = s10 = s11 = z.dtype.type(0)
    for t in range(len(r)):
        u0, u1 = z0[t], z1[t]
        v0, v1 = r[t] * u0, r[t] * u1
        r0[t], r1[t] = v0, v1
        m0, m1 = m0 + v0, m1 + v1
        s00, s10, s11 = s00 + v0 * u0, s10 + v1 * u0, s11 + v1 * u1
    s1[a], s1[a + 1] = s1[a] + m0, s1[a + 1] + m1
    add_to(s2, a, a, ((s00,), (s10,)))
    s2[a + 1, a + 1] += s11


@compiled(fastmath=SUMS, part=True)
def add_block_of_4(rz: Numbers, z: Numbers, a: int, b: int, s2: Numbers) -> None:
    """Products of four features from b on with the features from a on that rz was made of."""
    r0, r1, r2, r3 = rz[0], rz[1], rz[2], rz[3]
    z0, z1, z2, z3 = z[b], z[b + 1], z[b + 2], z[b + 3]
    s00 = s01 = s02 = s03 = s10 = s11 = s12 = s13 = z.dtype.type(0)
    s20 = s21 = s22 = s23 = s30 = s31 = s32 = s33 = z.dtype.type(0)
    for t in range(z.shape[1]):
        u0, u1, u2, u3 = z0[t], z1[t], z2[t], z3[t]
        v0, v1, v2, v3 = r0[t], r1[t], r2[t], r3[t]
        s00, s01, s02, s03 = s00 + v0 * u0, s01 + v0 * u1, s02 + v0 * u2, s03 + v0 * u3
        s10, s11, s12, s13 = s10 + v1 * u0, s11 + v1 * u1, s12 + v1 * u2, s13 + v1 * u3
        s20, s21, s22, s23 = s20 + v2 * u0, s21 + v2 * u1, s22 + v2 * u2, s23 + v2 * u3
        s30, s31, s32, s33 = s30 + v3 * u0, s31 + v3 * u1, s32 + v3 * u2, s33 + v3 * u3
    upper = (s00, s01, s02, s03), (s10, s11, s12, s13)
    add_to(s2, a, b, (*upper, (s20, s21, s22, s23), (s30, s31, s32, s33)))


@compiled(fastmath=SUMS, part=True)
def add_block_of_2(rz: Numbers, z: Numbers, a: int, b: int, s2: Numbers) -> None:
    """The same for two features from a on, and four from b on."""
    r0, r1 = rz[0], rz[1]
    z0, z1, z2, z3 = z[b], z[b + 1], z[b + 2], z[b + 3]
    s00 = s01 = s02 = s03 = s10 = s11 = s12 = s13 = z.dtype.type(0)
    for t in range(z.shape[1]):
        u0, u1, u2, u3 = z0[t], z1[t], z2[t], z3[t]
        v0, v1 = r0[t], r1[t]
        s00, s01, s02, s03 = s00 + v0 * u0, s01 + v0 * u1, s02 + v0 * u2, s03 + v0 * u3
        s10, s11, s12, s13 = s10 + v1 * u0, s11 + v1 * u1, s12 + v1 * u2, s13 + v1 * u3
    add_to(s2, a, b, ((s00, s01, s02, s03), (s10, s11, s12, s13)))


@compiled(fastmath=SUMS, part=True)
def add_to(s2: Numbers, a: int, b: int, block: Arrays) -> None:
    """Add a block, a tuple of rows, to the sums from row a and column b on."""
    for i in range(len(block)):
        for j in range(len(block[0])):
            s2[a + i, b + j] += block[i][j]
