"""Write ``kernels/coefficients.h``: the polynomials behind exp and log1p.

    python csrc/tools/polynomials.py | clang-format --assume-filename=coefficients.h \\
        > csrc/kernels/coefficients.h

The fit is mpmath's Chebyshev interpolation, whose error is near the minimax polynomial's for
functions as smooth as these.  Each coefficient is then rounded to the working precision; the error
printed beside each polynomial is that of the *rounded* coefficients, found on a dense grid in
extended precision, relative to the function that the polynomial serves.
"""

from __future__ import annotations

import mpmath as mp
import numpy as np

mp.mp.prec = 160

LN2 = mp.log(2)
# |r| <= ln2/2 after the reduction of exp, and a little more for its rounding.
EXP_RANGE = (-0.5001 * LN2, 0.5001 * LN2)
# s = f/(2 + f) for 1 + f in [sqrt(1/2), sqrt(2)], so z = s^2 <= (3 - 2 sqrt(2))^2.
LOG_RANGE = (mp.mpf(0), mp.mpf("1.001") * (3 - 2 * mp.sqrt(2)) ** 2)


def exp_quotient(r: mp.mpf) -> mp.mpf:
    """q with exp(r) = 1 + r + r^2 q(r)."""
    if abs(r) < mp.mpf(2) ** -30:
        return mp.mpf(1) / 2 + r / 6 + r * r / 24
    return (mp.exp(r) - 1 - r) / (r * r)


def log_quotient(z: mp.mpf) -> mp.mpf:
    """q with log((1 + s)/(1 - s)) = 2 s + s z q(z), z = s^2."""
    if z < mp.mpf(2) ** -40:
        return mp.mpf(2) / 3 + 2 * z / 5
    s = mp.sqrt(z)
    return (mp.log((1 + s) / (1 - s)) - 2 * s) / (s * z)


def rounded(coefficients: list[mp.mpf], dtype: type) -> list[float]:
    """Highest degree first, each the float nearest to it."""
    bits = {np.float32: 24, np.float64: 53}[dtype]
    with mp.workprec(bits):
        return [float(+c) for c in coefficients]


def hexadecimal(value: float) -> str:
    """float.hex() without its trailing zeros."""
    mantissa, exponent = value.hex().split("p")
    return f"{mantissa.rstrip('0').rstrip('.')}p{exponent}"


def worst(function, interval) -> mp.mpf:
    a, b = interval
    return max(abs(function(a + (b - a) * mp.mpf(i) / 4000)) for i in range(4001))


def emit(name: str, coefficients: list[float], dtype: type, note: str) -> None:
    suffix = "f" if dtype is np.float32 else ""
    body = ", ".join(hexadecimal(c) + suffix for c in coefficients)
    print(f"/* {note} */\n#define {name} {{{body}}}\n")


def split_ln2(bits: int) -> tuple[mp.mpf, mp.mpf]:
    """ln2 to `bits` bits, and the remainder."""
    with mp.workprec(bits):
        high = +LN2
    return high, LN2 - high


def main() -> None:
    print("/* Made by tools/polynomials.py: do not edit. */")
    print("#ifndef SMC_COEFFICIENTS_H\n#define SMC_COEFFICIENTS_H\n")
    for prefix, dtype, exp_degree, log_degree, bits, count_bits in (
        ("f32", np.float32, 4, 3, 24, 10),
        ("f64", np.float64, 9, 6, 53, 13),
    ):
        q = rounded(mp.chebyfit(exp_quotient, EXP_RANGE, exp_degree + 1), dtype)

        def exp_error(r, q=q):
            return (1 + r + r * r * mp.polyval(q, r)) / mp.exp(r) - 1

        error = mp.log(worst(exp_error, EXP_RANGE), 2)
        emit(
            f"{prefix}_EXP", q, dtype,
            f"exp(r) = 1 + r + r^2 q(r), |r| <= ln2/2: relative error 2^{mp.nstr(error, 4)}",
        )  # fmt: skip

        p = rounded(mp.chebyfit(log_quotient, LOG_RANGE, log_degree + 1), dtype)

        def log_error(z, p=p):
            s = mp.sqrt(z) + mp.mpf(2) ** -60
            exact = mp.log((1 + s) / (1 - s))
            return (2 * s + s**3 * mp.polyval(p, s * s)) / exact - 1

        error = mp.log(worst(log_error, LOG_RANGE), 2)
        emit(
            f"{prefix}_LOG", p, dtype,
            f"log((1+s)/(1-s)) = 2s + s^3 q(s^2), 1+f within sqrt(2) of 1: 2^{mp.nstr(error, 4)}",
        )  # fmt: skip

        suffix = "f" if dtype is np.float32 else ""
        print("/* ln2 = HI + LO: rounded; and so short that n*HI is exact unfused. */")
        for tag, width in (("", bits), ("_SHORT", bits - count_bits)):
            high, low = split_ln2(width)
            print(f"#define {prefix}_LN2{tag}_HI {hexadecimal(float(high))}{suffix}")
            print(f"#define {prefix}_LN2{tag}_LO {hexadecimal(rounded([low], dtype)[0])}{suffix}")
        print()
    print("#endif")


if __name__ == "__main__":
    main()
