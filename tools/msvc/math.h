#pragma once
/* Names that math.h takes from the program, there and with MinGW. */
#define DOMAIN 1
#define SING 2
#define OVERFLOW 3
#define UNDERFLOW 4
#define TLOSS 5
#define PLOSS 6
#define isnan(x) __builtin_isnan(x)
double fabs(double);
float fabsf(float);
double fma(double, double, double);
float fmaf(float, float, float);
double ldexp(double, int);
double nearbyint(double);
float nearbyintf(float);
double rint(double);
float rintf(float);
double sqrt(double);
