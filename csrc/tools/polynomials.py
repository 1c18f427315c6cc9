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
# exp is reduced to |r| <= ln2/2 or, with a table, ln2/16; and a little more for its rounding.
STEPS = 8
# The factor C in [1, 2^(1/8)) that brings every C 2^(j/8) next to a number of the precision.
TABLE_SEARCH = 10**7
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


def table(bits: int) -> tuple[list[mp.mpf], float]:
    """C 2^(j/STEPS), each rounded to `bits` bits, for the best C; and the largest error, in ulp."""
    powers = [mp.mpf(2) ** (mp.mpf(j) / STEPS) for j in range(STEPS)]
    # fractions of a unit in the last place, kept as integers modulo one
    unit = 2.0**64
    size = TABLE_SEARCH
    i = np.arange(size, dtype=np.uint64)
    step = mp.mpf(powers[1] - 1) / size
    worst_of = np.zeros(size)
    for power in powers:
        scaled = power * mp.mpf(2) ** (bits - 1)
        first = int(mp.floor((scaled % 1) * unit)) % 2**64
        slope = int(mp.nint((scaled * step % 1) * unit)) % 2**64
        with np.errstate(over="ignore"):
            fraction = np.uint64(first) + i * np.uint64(slope)  # modulo one
        distance = np.minimum(fraction, ~fraction) / unit
        worst_of = np.maximum(worst_of, distance)
    c = 1 + int(np.argmin(worst_of)) * step
    exact = [c * power for power in powers]
    with mp.workprec(bits):
        entries = [+value for value in exact]
    error = max(abs(a - b) for a, b in zip(entries, exact, strict=True)) * 2 ** (bits - 1)
    return entries, float(error)


def emit_table(prefix: str, bits: int) -> None:
    """Write the table's bit patterns, less the j that the shifted exponent brings along."""
    entries, error = table(bits)
    width, dtype, suffix = {24: (32, np.float32, "u"), 53: (64, np.float64, "u")}[bits]
    patterns = [
        int(np.array(float(value), dtype).view(f"u{width // 8}"))
        - (j << (bits - 1 - int(mp.log(STEPS, 2))))
        - (int(np.array(1, dtype).view(f"u{width // 8}")))
        for j, value in enumerate(entries)
    ]
    body = ", ".join(f"{value % 2**width:#x}{suffix}" for value in patterns)
    note = f"bits of C 2^(j/{STEPS}) - (1 + j/{STEPS}); C brings all within {error:.2f} ulp"
    print(f"/* {note} */\n#define {prefix}_STEPS {{{body}}}\n")


def split_ln2(bits: int) -> tuple[mp.mpf, mp.mpf]:
    """ln2 to `bits` bits, and the remainder."""
    with mp.workprec(bits):
        high = +LN2
    return high, LN2 - high


def main() -> None:
    print("/* Made by tools/polynomials.py: do not edit. */")
    print("#ifndef SMC_COEFFICIENTS_H\n#define SMC_COEFFICIENTS_H\n")
    for prefix, dtype, exp_degrees, log_degree, bits, count_bits in (
        ("f32", np.float32, {1: 5, STEPS: 2}, 3, 24, 10),
        ("f64", np.float64, {1: 9, STEPS: 5}, 6, 53, 13),
    ):
        for steps, degree in exp_degrees.items():
            reach = mp.mpf("0.5001") * LN2 / steps
            q = rounded(mp.chebyfit(exp_quotient, (-reach, reach), degree + 1), dtype)

            def exp_error(r, q=q):
                return (1 + r + r * r * mp.polyval(q, r)) / mp.exp(r) - 1

            error = mp.log(worst(exp_error, (-reach, reach)), 2)
            emit(
                f"{prefix}_EXP_{steps}", q, dtype,
                f"exp(r) = 1 + r + r^2 q(r), |r| <= ln2/{2 * steps}: "
                f"relative error 2^{mp.nstr(error, 4)}",
            )  # fmt: skip
        emit_table(prefix, bits)

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
