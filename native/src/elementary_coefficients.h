// Written by tools/elementary_coefficients.py, which derives every number here; do not edit by hand.
#pragma once

namespace chainrule::coefficients {

// Lowest power first. The error stated is the one of the rounded coefficients in exact arithmetic.
template <class T> struct Polynomials;

template <> struct Polynomials<float> {
    // ln 2 = ln2_high + ln2_low; n * ln2_high is exact for every exponent n
    static constexpr float ln2_high = 0x1.62e4000000000p-1f, ln2_low = 0x1.7f7d1c0000000p-20f;
    static constexpr float log2_e = 0x1.7154760000000p+0f;
    // (e^r - 1 - r) / r^2, error relative to e^r - 1, on [-0.34661, 0.34661]: 2^-25.82
    static constexpr float expm1_tail[] = {
        0x1.fffffe0000000p-2f,
        0x1.5554b00000000p-3f,
        0x1.5556740000000p-5f,
        0x1.1227760000000p-7f,
        0x1.6bec180000000p-10f,
    };
    // (log(1 + f) - f + f^2 / 2) / f^3, error relative to log(1 + f), on [-0.33333, 0.33333]: 2^-27.4
    static constexpr float log1p_tail[] = {
        0x1.5555060000000p-2f,
        -0x1.fffef00000000p-3f,
        0x1.99d0280000000p-3f,
        -0x1.559dcc0000000p-3f,
        0x1.1ed7180000000p-3f,
        -0x1.f311340000000p-4f,
        0x1.1e66b80000000p-3f,
        -0x1.0805a00000000p-3f,
    };
    // erf(x) / x - 1 in z = x^2, error relative to erf(x), on [0.0, 1.0]: 2^-27.69
    static constexpr float erf_head[] = {
        0x1.06eba80000000p-3f,
        -0x1.81273e0000000p-2f,
        0x1.ce2cf80000000p-4f,
        -0x1.b7f90c0000000p-6f,
        0x1.5405b20000000p-8f,
        -0x1.a3f7000000000p-11f,
        0x1.496a300000000p-14f,
    };
    // -log(erfc(x)) / x, error as it appears in erf(x), on [1.0, 4.0]: 2^-26.83
    static constexpr float erfc_exponent[] = {
        0x1.20f21c0000000p+0f,
        0x1.451aba0000000p-1f,
        0x1.b459b20000000p-4f,
        -0x1.89617c0000000p-6f,
        0x1.ec7fda0000000p-9f,
        -0x1.6f9f0a0000000p-12f,
        0x1.d47f900000000p-17f,
    };
};

template <> struct Polynomials<double> {
    // ln 2 = ln2_high + ln2_low; n * ln2_high is exact for every exponent n
    static constexpr double ln2_high = 0x1.62e42fefa4000p-1, ln2_low = -0x1.8432a1b0e2634p-43;
    static constexpr double log2_e = 0x1.71547652b82fep+0;
    // (e^r - 1 - r) / r^2, error relative to e^r - 1, on [-0.34661, 0.34661]: 2^-59.93
    static constexpr double expm1_tail[] = {
        0x1.0000000000000p-1,
        0x1.5555555555559p-3,
        0x1.555555555553fp-5,
        0x1.111111110f6dap-7,
        0x1.6c16c16c1f076p-10,
        0x1.a01a01afd3e41p-13,
        0x1.a01a017bc784dp-16,
        0x1.71ddf87eaf4c3p-19,
        0x1.27e5362973106p-22,
        0x1.af5e751ce1b89p-26,
        0x1.1ee88c8f607b7p-29,
    };
    // (2 atanh(s) - 2 s) / s^3 in z = s^2, error relative to 2 atanh(s), on [0.0, 0.029447]: 2^-59.07
    static constexpr double log1p_tail[] = {
        0x1.5555555555592p-1,
        0x1.999999997fe1ep-2,
        0x1.24924941ecda9p-2,
        0x1.c71c520bca2fbp-3,
        0x1.74663e9d7c146p-3,
        0x1.39a1bd44b4462p-3,
        0x1.2f0579a0ad463p-3,
    };
    // erf(x) / x - 1 in z = x^2, error relative to erf(x), on [0.0, 1.0]: 2^-55.01
    static constexpr double erf_head[] = {
        0x1.06eba8214db68p-3,
        -0x1.812746b0379bdp-2,
        0x1.ce2f21a040d16p-4,
        -0x1.b82ce311fa940p-6,
        0x1.565bccf92b332p-8,
        -0x1.c02db03dd7877p-11,
        0x1.f9a2baa9074ecp-14,
        -0x1.f4ca4d6fb336fp-17,
        0x1.b97fd3ddc2e83p-20,
        -0x1.5c0727085ed63p-23,
        0x1.d71b0fb72432fp-27,
        -0x1.abae4ace25eedp-31,
    };
    // -log(erfc(x)) / x, error as it appears in erf(x), on [1.0, 6.0]: 2^-55.38
    static constexpr double erfc_exponent[] = {
        0x1.20dd74129e3e9p+0,
        0x1.45f316fa89c08p-1,
        0x1.a4f305d398828p-4,
        -0x1.3957ea7dd47d1p-6,
        -0x1.bcac174e58390p-13,
        0x1.bbb4f7d0adf10p-10,
        -0x1.2d494eb8286cdp-11,
        -0x1.05db7220abe43p-20,
        0x1.90808652390cap-14,
        -0x1.d616aadb817a3p-15,
        0x1.55714edf5a504p-16,
        -0x1.696715f4a1ce9p-18,
        0x1.2169d5afb0b7bp-20,
        -0x1.5e198388b5b85p-23,
        0x1.377e0f8d2ac05p-26,
        -0x1.81819045d78abp-30,
        0x1.28a56413d2379p-34,
        -0x1.ab875d853f33ep-40,
    };
};

}  // namespace chainrule::coefficients
