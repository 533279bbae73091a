#!/usr/bin/env python3
"""Write src/elementary_coefficients.h: the polynomials of elementary.h, derived here and nowhere else.

Each polynomial is the weighted minimax approximation of a function on an interval, by the exchange algorithm of
Remez (1934) in 60-digit arithmetic; its coefficients are then rounded to float or double. The forms are chosen so that
the first terms are exact and stand outside the polynomial, so rounding costs less than the evaluation does.

    python3 tools/elementary_coefficients.py            writes the header (about a minute)
    python3 tools/elementary_coefficients.py --check    fails if the header is not what this script writes

Needs mpmath.
"""

import sys
from pathlib import Path

from mpmath import mp, mpf

mp.dps = 60
HEADER = Path(__file__).resolve().parent.parent / "src" / "elementary_coefficients.h"
GRID = 1200  # points on which the error is watched; they crowd at the ends, as the extrema do


def round_to(value, type):
    """The float or double nearest to value (one rounding: mpmath rounds to the 24 or 53 bits itself)."""
    with mp.workprec(24 if type == "float" else 53):
        return +mpf(value)


def remez(f, weight, low, high, degree):
    """The coefficients that minimise max |weight(x) (f(x) - sum of c_i x^i)| on [low, high]."""
    grid = grid_on(low, high)
    weights, values = [weight(x) for x in grid], [f(x) for x in grid]
    points = [
        round(GRID * (i + 0.5) / (degree + 2)) for i in range(degree + 2)
    ]  # near the extrema of a Chebyshev polynomial
    for _ in range(40):
        matrix, right = mp.matrix(degree + 2), mp.matrix(degree + 2, 1)
        for i, p in enumerate(points):
            for j in range(degree + 1):
                matrix[i, j] = weights[p] * grid[p] ** j
            matrix[i, degree + 1] = (-1) ** i
            right[i] = weights[p] * values[p]
        solution = mp.lu_solve(matrix, right)
        coefficients, level = list(solution[: degree + 1]), abs(solution[degree + 1])
        errors = weighted_errors(coefficients, grid, weights, values)
        if max(abs(e) for e in errors) <= level * mpf("1.0001"):
            break
        points = exchange(errors, degree + 2)
    return coefficients


def grid_on(low, high):
    low, high = mpf(low), mpf(high)
    return [(low + high) / 2 - (high - low) / 2 * mp.cos(mp.pi * i / (GRID - 1)) for i in range(GRID)]


def weighted_errors(coefficients, grid, weights, values):
    backwards = list(reversed(coefficients))
    return [w * (value - mp.polyval(backwards, x)) for w, value, x in zip(weights, values, grid)]


def exchange(errors, count):
    """Indices of `count` extrema of alternating sign, the largest ones."""
    extrema = []
    for i, e in enumerate(errors):
        if extrema and (e > 0) == (errors[extrema[-1]] > 0):
            if abs(e) > abs(errors[extrema[-1]]):
                extrema[-1] = i
        else:
            extrema.append(i)
    while len(extrema) > count:
        if len(extrema) == count + 1:
            extrema.pop(0 if abs(errors[extrema[0]]) < abs(errors[extrema[-1]]) else -1)
        else:  # take out the smallest and one neighbour, so that the signs still alternate
            i = min(range(len(extrema) - 1), key=lambda i: abs(errors[extrema[i]]) + abs(errors[extrema[i + 1]]))
            del extrema[i : i + 2]
    if len(extrema) < count:
        raise ArithmeticError("the error does not alternate often enough")
    return extrema


def fit(f, weight, low, high, degree, type):
    """The rounded coefficients, and the largest weighted error that they have in exact arithmetic."""
    coefficients = [round_to(c, type) for c in remez(f, weight, low, high, degree)]
    grid = grid_on(low, high)
    errors = weighted_errors(coefficients, grid, [weight(x) for x in grid], [f(x) for x in grid])
    return coefficients, max(abs(e) for e in errors)


def literal(value, type):
    """A hexadecimal literal, which says the bits exactly."""
    text = float(value).hex()
    return text + ("f" if type == "float" else "")


def series(f, x, terms, threshold):
    """f(x), or its Taylor polynomial where f would cancel."""
    if abs(x) > threshold:
        return f(x)
    return mp.polyval(list(reversed(terms)), x)


# What is fitted. Names are those of elementary.h.


def expm1_tail(x):  # (e^x - 1 - x) / x^2
    return series(lambda x: (mp.expm1(x) - x) / x**2, x, [1 / mp.factorial(k + 2) for k in range(20)], mpf(10) ** -3)


def expm1_weight(x):
    return abs(x**2 / mp.expm1(x)) if x else mpf(0)


def log1p_tail(x):  # (log(1 + x) - x + x^2 / 2) / x^3
    return series(
        lambda x: (mp.log1p(x) - x + x**2 / 2) / x**3, x, [mpf(-1) ** k / (k + 3) for k in range(30)], mpf(10) ** -3
    )


def log1p_weight(x):
    return abs(x**3 / mp.log1p(x)) if x else mpf(0)


def atanh_tail(z):  # (2 atanh(s) - 2 s) / s^3 with z = s^2
    return series(
        lambda z: (2 * mp.atanh(mp.sqrt(z)) - 2 * mp.sqrt(z)) / mp.sqrt(z) ** 3,
        z,
        [mpf(2) / (2 * k + 3) for k in range(20)],
        mpf(10) ** -5,
    )


def erf_head(z):  # erf(x) / x - 1 with z = x^2
    return series(
        lambda z: mp.erf(mp.sqrt(z)) / mp.sqrt(z) - 1,
        z,
        [2 / mp.sqrt(mp.pi) * mpf(-1) ** k / (mp.factorial(k) * (2 * k + 1)) - (k == 0) for k in range(20)],
        mpf(10) ** -5,
    )


def erf_head_weight(z):
    return mp.sqrt(z) / mp.erf(mp.sqrt(z)) if z else mp.sqrt(mp.pi) / 2


def erfc_exponent(x):  # -log(erfc(x)) / x
    return -mp.log(mp.erfc(x)) / x


def erfc_weight(x):  # an error d of the exponent x * q changes erf by erfc * d
    return x * mp.erfc(x) / mp.erf(x)


HALF_LN2 = mp.log(2) / 2 * mpf("1.0001")  # x is reduced by rounding x / ln 2, which may miss the tie by an ulp
SQRT_ATANH = mpf("0.1716")  # |f / (2 + f)| for 1 + f in [1/sqrt 2, sqrt 2], which is 0.17157...

POLYNOMIALS = [
    # name, type, what it approximates, function, weight, low, high, degree
    (
        "expm1_tail",
        "float",
        "(e^r - 1 - r) / r^2, error relative to e^r - 1",
        expm1_tail,
        expm1_weight,
        -HALF_LN2,
        HALF_LN2,
        4,
    ),
    (
        "expm1_tail",
        "double",
        "(e^r - 1 - r) / r^2, error relative to e^r - 1",
        expm1_tail,
        expm1_weight,
        -HALF_LN2,
        HALF_LN2,
        10,
    ),
    (
        "log1p_tail",
        "float",
        "(log(1 + f) - f + f^2 / 2) / f^3, error relative to log(1 + f)",
        log1p_tail,
        log1p_weight,
        mpf(-1) / 3,
        mpf(1) / 3,
        7,
    ),
    (
        "log1p_tail",
        "double",
        "(2 atanh(s) - 2 s) / s^3 in z = s^2, error relative to 2 atanh(s)",
        atanh_tail,
        lambda z: z * mp.sqrt(z) / (2 * mp.atanh(mp.sqrt(z))) if z else mpf(0),
        0,
        SQRT_ATANH**2,
        6,
    ),
    ("erf_head", "float", "erf(x) / x - 1 in z = x^2, error relative to erf(x)", erf_head, erf_head_weight, 0, 1, 6),
    ("erf_head", "double", "erf(x) / x - 1 in z = x^2, error relative to erf(x)", erf_head, erf_head_weight, 0, 1, 11),
    ("erfc_exponent", "float", "-log(erfc(x)) / x, error as it appears in erf(x)", erfc_exponent, erfc_weight, 1, 4, 6),
    (
        "erfc_exponent",
        "double",
        "-log(erfc(x)) / x, error as it appears in erf(x)",
        erfc_exponent,
        erfc_weight,
        1,
        6,
        17,
    ),
]


def split(value, type, bits):
    """value = high + low, high with so few bits that small integers times it are exact."""
    with mp.workprec(bits):
        high = +mpf(value)
    return high, round_to(value - high, type)


def header():
    lines = [
        "// Written by tools/elementary_coefficients.py, which derives every number here; do not edit by hand.",
        "#pragma once",
        "",
        "namespace chainrule::coefficients {",
        "",
        "// Lowest power first. The error stated is the one of the rounded coefficients in exact arithmetic.",
        "template <class T> struct Polynomials;",
    ]
    for type in ("float", "double"):
        lines += ["", f"template <> struct Polynomials<{type}> {{"]
        ln2 = mp.log(2)
        # float: |n| < 2^8, so 16 bits leave n * high exact; double: |n| < 2^11, so 42 bits do
        high, low = split(ln2, type, 15 if type == "float" else 40)
        lines += [
            "    // ln 2 = ln2_high + ln2_low; n * ln2_high is exact for every exponent n",
            f"    static constexpr {type} ln2_high = {literal(high, type)}, ln2_low = {literal(low, type)};",
            f"    static constexpr {type} log2_e = {literal(round_to(1 / ln2, type), type)};",
        ]
        for name, of, says, f, weight, lowest, highest, degree in POLYNOMIALS:
            if of != type:
                continue
            coefficients, error = fit(f, weight, lowest, highest, degree, type)
            print(f"{name} {type}: 2^{mp.nstr(mp.log(error, 2), 4)}", file=sys.stderr)
            lines.append(
                f"    // {says}, on [{mp.nstr(mpf(lowest), 5)}, {mp.nstr(mpf(highest), 5)}]: 2^{mp.nstr(mp.log(error, 2), 4)}"
            )
            lines.append(f"    static constexpr {type} {name}[] = {{")
            lines += [f"        {literal(c, type)}," for c in coefficients]
            lines.append("    };")
        lines.append("};")
    lines += ["", "}  // namespace chainrule::coefficients", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    text = header()
    if "--check" in sys.argv[1:]:
        if HEADER.read_text() != text:
            sys.exit(f"{HEADER} is not what this script writes")
    else:
        HEADER.write_text(text)
