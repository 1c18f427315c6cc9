/* What every instruction set's header builds on: names, inlining, the scalar conversions of the
 * half precisions.
 *
 * A header in this folder defines, for T in {f32, f64}, the types T_t (scalar), T_vec, T_mask, the
 * number of lanes T_lanes, and about thirty primitives T_<name>; and for D in {f32, f64, f16, bf16}
 * the type D_e of a stored element with D_load, D_load_n, D_store, D_store_n, which convert to and
 * from the type computed in (rounded to nearest, ties to even; a NaN stored as bf16 was once loaded
 * so, and has zeros where it is cut); and T_OCTAVE, 8 if T_step_power can look up eighths of an
 * octave, else 1.
 * SMC_FUSED says whether T_fma rounds once, SMC_FAST_HALVES whether the processor converts 16-bit
 * floats, SMC_FAST_MASKS whether part of a vector is loaded and stored as fast as all of it; then
 * there is T_permute.
 * SMC_FAST_MASKED_LOADS, whether it is loaded so, at least.
 * SMC_NONTEMPORAL, whether there is T_store_nontemporal, which stores past the caches, and
 * smc_fence after it.
 * SMC_WIDE_LDEXP, whether T_ldexp takes any exponent; T_OCTS, whether eight columns are transposed
 * at a time as well as four (T_load_oct, T_store_oct).
 * kernels/ uses them through the unprefixed names at the end of this file.
 */
#ifndef SMC_SIMD_COMMON_H
#define SMC_SIMD_COMMON_H

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#endif

#if defined(_MSC_VER) && !defined(__clang__)
#define SMC_INLINE static __forceinline
#define SMC_OUTLINE __declspec(noinline)
#define SMC_PREFETCH(p) ((void)(p))
#define SMC_PREFETCH_TO_WRITE(p) ((void)(p))
#define SMC_UNROLLED
#define SMC_ALIGN(bytes) __declspec(align(bytes))
#else
#define SMC_INLINE static inline __attribute__((always_inline, unused))
#define SMC_OUTLINE __attribute__((noinline, unused))
#define SMC_PREFETCH(p) __builtin_prefetch(p, 0, 2) /* into the second-level cache */
#define SMC_PREFETCH_TO_WRITE(p) __builtin_prefetch(p, 1, 3)
#ifdef __clang__
#define SMC_UNROLLED _Pragma("clang loop unroll(full)")
#else
#define SMC_UNROLLED _Pragma("GCC unroll 16")
#endif
#define SMC_ALIGN(bytes) __attribute__((aligned(bytes)))
#endif

/* Whether fma() is one instruction, and not a slow library call; Clang does not say so of
 * RISC-V. */
#if (defined(__FP_FAST_FMA) && defined(__FP_FAST_FMAF)) ||                                         \
    (defined(__riscv_flen) && __riscv_flen >= 64)
#define SMC_HAS_FMA 1
#else
#define SMC_HAS_FMA 0
#endif

/* Error-free transformations need each operation rounded to its type, as the x87 unit does not. */
#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16
#error                                                                                             \
    "smcore: floats and doubles must be computed in their own precision: -msse2 -mfpmath=sse on x86"
#endif

/* The vectors that go through a long computation together (kernels/exp.h), and a loop over n of
 * them. */
enum { SMC_UNROLL = 4 };
#define SMC_EACH(j, n) SMC_UNROLLED for (int j = 0; j < (n); ++j)

typedef float f32_t;
typedef double f64_t;
typedef float f32_e;
typedef double f64_e;
typedef uint16_t f16_e;
typedef uint16_t bf16_e;
typedef uint32_t f32_word;
typedef uint64_t f64_word;

/* Added to a number below 2^22 (2^51) it leaves that rounded to an integer in the low bits; taken
 * away again, the integer. */
#define f32_ROUNDER 0x1.8p23f
#define f64_ROUNDER 0x1.8p52

SMC_INLINE uint32_t f32_bits(float a) {
  uint32_t u;
  memcpy(&u, &a, sizeof u);
  return u;
}

SMC_INLINE float f32_from_bits(uint32_t u) {
  float a;
  memcpy(&a, &u, sizeof a);
  return a;
}

/* The number of the lowest bit set, of which there is one. */
SMC_INLINE size_t smc_lowest_bit(uint64_t bits) {
#if defined(_MSC_VER) && !defined(__clang__)
  unsigned long place;
  if (_BitScanForward(&place, (uint32_t)bits)) return place;
  _BitScanForward(&place, (uint32_t)(bits >> 32));
  return place + 32;
#else
  return (size_t)__builtin_ctzll(bits);
#endif
}

/* ---- one stored element to and from the type computed in; any alignment ---------------------- */

SMC_INLINE float f32_get(const void *p) {
  float a;
  memcpy(&a, p, sizeof a);
  return a;
}

SMC_INLINE double f64_get(const void *p) {
  double a;
  memcpy(&a, p, sizeof a);
  return a;
}

SMC_INLINE void f32_put(void *p, float a) { memcpy(p, &a, sizeof a); }
SMC_INLINE void f64_put(void *p, double a) { memcpy(p, &a, sizeof a); }

SMC_INLINE float bf16_get(const void *p) {
  uint16_t h;
  memcpy(&h, p, sizeof h);
  return f32_from_bits((uint32_t)h << 16);
}

/* Round to nearest, ties to even; a NaN stays one. */
SMC_INLINE void bf16_put(void *p, float a) {
  uint32_t u = f32_bits(a);
  uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
  uint16_t h = (uint16_t)(a != a ? (u >> 16) | 0x40u : rounded);
  memcpy(p, &h, sizeof h);
}

/* A half is a float with a smaller exponent range: shifting its bits into place and multiplying by
 * 2^112 rebiases the exponent, subnormals included. */
SMC_INLINE float f16_get(const void *p) {
  uint16_t h;
  memcpy(&h, p, sizeof h);
  uint32_t sign = (uint32_t)(h & 0x8000u) << 16, magnitude = (uint32_t)(h & 0x7fffu) << 13;
  uint32_t u = magnitude >= 0x0f800000u ? magnitude | 0x7f800000u
                                        : f32_bits(f32_from_bits(magnitude) * 0x1p112f);
  return f32_from_bits(u | sign);
}

/* Round to nearest, ties to even: below 2^-14 the addition of 0.5 aligns the units in the last
 * place of a subnormal half with those of a float in [0.5, 1). */
SMC_INLINE void f16_put(void *p, float a) {
  uint32_t u = f32_bits(a), sign = (u >> 16) & 0x8000u, magnitude = u & 0x7fffffffu, h;
  if (magnitude > 0x7f800000u) {
    h = 0x7e00u;
  } else if (magnitude >= 0x477ff000u) {
    h = 0x7c00u;
  } else if (magnitude < 0x38800000u) {
    h = f32_bits(f32_from_bits(magnitude) + 0.5f) - 0x3f000000u;
  } else {
    h = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  }
  uint16_t out = (uint16_t)(sign | h);
  memcpy(p, &out, sizeof out);
}

/* ---- four columns of as many rows as there are lanes: for a header that can transpose W x W -- */

#define SMC_QUADS_BY_TRANSPOSITION(T)                                                              \
  SMC_INLINE void T##_load_quad(const char *p, ptrdiff_t step, T##_vec c[4]) {                     \
    SMC_UNROLLED for (int h = 0; h < 4; h += T##_lanes) {                                          \
      SMC_UNROLLED for (int l = 0; l < T##_lanes; ++l) {                                           \
        c[h + l] = T##_load((const T##_t *)(p + l * step) + h);                                    \
      }                                                                                            \
      T##_transpose(c + h);                                                                        \
    }                                                                                              \
  }                                                                                                \
  SMC_INLINE void T##_store_quad(char *p, ptrdiff_t step, const T##_vec c[4]) {                    \
    T##_vec r[4] = {c[0], c[1], c[2], c[3]};                                                       \
    SMC_UNROLLED for (int h = 0; h < 4; h += T##_lanes) {                                          \
      T##_transpose(r + h);                                                                        \
      SMC_UNROLLED for (int l = 0; l < T##_lanes; ++l) {                                           \
        T##_store((T##_t *)(p + l * step) + h, r[h + l]);                                          \
      }                                                                                            \
    }                                                                                              \
  }

/* ---- the unprefixed names that kernels/ is written in ---------------------------------------- */

#define SMC_JOIN_(a, b) a##_##b
#define SMC_JOIN(a, b) SMC_JOIN_(a, b)
#define SMC_V(name) SMC_JOIN(SMC_T, name) /* of the type computed in: f32 or f64 */
#define SMC_K(name) SMC_JOIN(SMC_D, name) /* of the type stored: f32, f64, f16 or bf16 */
#define SMC_C(name) SMC_JOIN(SMC_T, name) /* a constant in the precision computed in */

#define real SMC_V(t)
#define vec SMC_V(vec)
#define mask SMC_V(mask)
#define lane_number SMC_V(word)
#define elem SMC_K(e)
#define W ((size_t)SMC_V(lanes))

#define v_set1 SMC_V(set1) /* the scalar in every lane */
#define v_add SMC_V(add)
#define v_sub SMC_V(sub)
#define v_mul SMC_V(mul)
#define v_div SMC_V(div)
#define v_fma SMC_V(fma)         /* a*b + c: one rounding if SMC_FUSED, else two */
#define v_fnma SMC_V(fnma)       /* c - a*b: likewise */
#define v_mul_err SMC_V(mul_err) /* a*b - p, exact, for p = a*b rounded */
#define v_max SMC_V(max)         /* max(a, b); b if either is NaN, or NaN */
#define v_round SMC_V(round)     /* to the nearest integer, ties to even; |a| < 2^22 */
#define v_ldexp                                                                                    \
  SMC_V(ldexp) /* a*2^k, |a| in [1/2, 4), rounded once; -1.4*bias < k < bias/2 unless wide */
#define v_power SMC_V(power) /* 2^k, for ROUNDER + bias + k: k is in the low bits; normal */
#define v_step_power SMC_V(step_power) /* likewise 2^(k/8) by a table; only where OCTAVE is 8 */
#define v_logb SMC_V(logb)             /* floor(log2(a)), a positive and normal */
#define v_abs SMC_V(abs)
#define v_lt SMC_V(lt) /* a < b, false for NaN */
#define v_eq SMC_V(eq)
#define v_select SMC_V(select) /* mask ? a : b */
#define v_and SMC_V(and)       /* of masks */
#define v_or SMC_V(or)
#define v_count SMC_V(count)         /* lanes set */
#define v_lane_bits SMC_V(lane_bits) /* of a mask: bit i is set where lane i is */
#define v_xor_lanes SMC_V(xor_lanes) /* lane i gets lane i ^ d, d a power of two */
#define v_permute SMC_V(permute)     /* lane i gets the lane in the low bits of from[i] */
#define v_add_if SMC_V(add_if)       /* mask ? a + b : a */
#define v_load SMC_V(load)
#define v_store SMC_V(store)
#define v_load_n SMC_V(load_n) /* the first n lanes, the others from a vector */
#define v_store_n SMC_V(store_n)
#define v_store_nontemporal                                                                        \
  SMC_V(store_nontemporal)           /* past the caches; where vectors are aligned */
#define v_load_quad SMC_V(load_quad) /* lane l of c[0..3]: four numbers at p + l*step */
#define v_store_quad SMC_V(store_quad)
#define v_load_oct SMC_V(load_oct) /* the same of c[0..7]; only where OCTS is set */
#define v_store_oct SMC_V(store_oct)

/* Stored elements, converted to and from the type computed in. */
#define e_get SMC_K(get) /* one */
#define e_put SMC_K(put)
#define e_load SMC_K(load) /* a vector */
#define e_store SMC_K(store)
#define e_load_n SMC_K(load_n)
#define e_store_n SMC_K(store_n)
#define real_at SMC_V(get) /* a number of the type computed in, at any address */

#endif
