/* Made by tools/polynomials.py: do not edit. */
#ifndef SMC_COEFFICIENTS_H
#define SMC_COEFFICIENTS_H

/* exp(r) = 1 + r + r^2 q(r), |r| <= ln2/2: relative error 2^-30.28 */
#define f32_EXP_1                                                                                  \
  {0x1.a125p-13f, 0x1.6d4334p-10f, 0x1.1110ep-7f, 0x1.5554e8p-5f, 0x1.555556p-3f, 0x1p-1f}

/* exp(r) = 1 + r + r^2 q(r), |r| <= ln2/16: relative error 2^-31.5 */
#define f32_EXP_8 {0x1.55597p-5f, 0x1.555b7cp-3f, 0x1p-1f}

/* bits of C 2^(j/8) - (1 + j/8); C brings all within 0.03 ulp */
#define f32_STEPS {0xb3a3eu, 0x7d424u, 0x59202u, 0x48e45u, 0x4e5beu, 0x6b7dau, 0xa26deu, 0xf5829u}

/* log((1+s)/(1-s)) = 2s + s^3 q(s^2), 1+f within sqrt(2) of 1: 2^-31.65 */
#define f32_LOG {0x1.ddd4dap-3f, 0x1.245c28p-2f, 0x1.9999ecp-2f, 0x1.555556p-1f}

/* ln2 = HI + LO: rounded; and so short that n*HI is exact unfused. */
#define f32_LN2_HI 0x1.62e43p-1f
#define f32_LN2_LO -0x1.05c61p-29f
#define f32_LN2_SHORT_HI 0x1.62e8p-1f
#define f32_LN2_SHORT_LO -0x1.e8082ep-16f

/* exp(r) = 1 + r + r^2 q(r), |r| <= ln2/2: relative error 2^-55.79 */
#define f64_EXP_1                                                                                  \
  {0x1.af38b4925be09p-26, 0x1.28918e390a71ep-22, 0x1.71de0da9d06acp-19, 0x1.a019b905bafb1p-16,     \
   0x1.a01a01a7c54aep-13, 0x1.6c16c1788dc33p-10, 0x1.11111111109b2p-7,  0x1.5555555553d5ep-5,      \
   0x1.5555555555556p-3,  0x1.0000000000001p-1}

/* exp(r) = 1 + r + r^2 q(r), |r| <= ln2/16: relative error 2^-56.46 */
#define f64_EXP_8                                                                                  \
  {0x1.a01e2c4c3d1cp-13, 0x1.6c1b716f0dd3fp-10, 0x1.1111110e1006ap-7,                              \
   0x1.5555554e92fb8p-5, 0x1.555555555556ap-3,  0x1.000000000002ep-1}

/* bits of C 2^(j/8) - (1 + j/8); C brings all within 0.06 ulp */
#define f64_STEPS                                                                                  \
  {0x445364469307u,     0xffffbd3abbf41595u, 0xffff583eed628071u, 0xffff18765c8a2021u,             \
   0xffff013ef6b838e2u, 0xffff1644ac0e8d4cu, 0xffff5b887f0717b6u, 0xffffd568378fd6d4u}

/* log((1+s)/(1-s)) = 2s + s^3 q(s^2), 1+f within sqrt(2) of 1: 2^-57.57 */
#define f64_LOG                                                                                    \
  {0x1.2b5f68a50d903p-3, 0x1.39fdcceb4bb45p-3, 0x1.7462b91b8df65p-3, 0x1.c71c62d5e53ep-3,          \
   0x1.2492492dfd86cp-2, 0x1.9999999995273p-2, 0x1.5555555555558p-1}

/* ln2 = HI + LO: rounded; and so short that n*HI is exact unfused. */
#define f64_LN2_HI 0x1.62e42fefa39efp-1
#define f64_LN2_LO 0x1.abc9e3b39803fp-56
#define f64_LN2_SHORT_HI 0x1.62e42fefa4p-1
#define f64_LN2_SHORT_LO -0x1.8432a1b0e2634p-43

#endif
