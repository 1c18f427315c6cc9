#pragma once
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
