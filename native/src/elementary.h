// exp, expm1, log, log1p, tanh, sigmoid and erf of every lane of a vector, float and double.
//
// Each one reduces its argument to a short interval, evaluates one polynomial there and undoes the reduction. There are
// no tables and no branches; where two formulas are needed both are computed and one is selected. Every operation acts
// on one lane at a time, so a result does not depend on the width of the vector, and AVX2 and AVX-512 give the same
// bits. The polynomials come from tools/elementary_coefficients.py.
//
// Largest errors in ulp (tests/test_elementary.cpp measures and asserts them):
//
//               exp   expm1    log   log1p   tanh   sigmoid   log1p_exp    erf
//   float      1.07    1.65   0.94    1.69   2.61      2.41        2.00   1.13     over every float there is
//   double     1.05    1.90   0.94    1.20   2.65      2.41        2.00   1.13     over some millions of points
//
// Signed zeros, infinities, NaN, denormals, overflow and underflow come out as IEEE 754 and C's libm have them.
#pragma once

#include <limits>

#include "elementary_coefficients.h"
#include "vec.h"

namespace chainrule {

namespace elementary {

template <class T>
using Constants = coefficients::Polynomials<T>;

template <class T>
inline constexpr int fraction_bits = std::numeric_limits<T>::digits - 1;
template <class T>
inline constexpr Integer<T> exponent_bias = std::numeric_limits<T>::max_exponent - 1;

// c[0] + c[1] x + c[2] x² + …. Horner's rule takes two coefficients at a time, (c[0] + c[1] x) + x² (…): one
// multiplication more, half the latency, and it is latency that these chains of dependent operations are made of.
template <class T, int i = 0, int size>
FORCE_INLINE Vec<T> polynomial(const T (&c)[size], std::type_identity_t<Vec<T>> x, std::type_identity_t<Vec<T>> xx) {
    if constexpr (i + 1 == size) return broadcast<T>(c[i]);
    else {
        const Vec<T> pair = fma(broadcast<T>(c[i + 1]), x, broadcast<T>(c[i]));
        if constexpr (i + 2 == size) return pair;
        else return fma(polynomial<T, i + 2>(c, x, xx), xx, pair);
    }
}

// The coefficients of (e^(2 r) - 1 - 2 r) / (2 r²) out of those of (e^r - 1 - r) / r²: c[i] 2^(i + 1), exactly.
template <class T, int size>
struct Coefficients {
    T c[size];
};
template <class T, int size>
constexpr Coefficients<T, size> times_powers_of_two(const T (&c)[size]) {
    Coefficients<T, size> doubled{};
    T power = 2;
    for (int i = 0; i < size; ++i, power *= 2) doubled.c[i] = c[i] * power;
    return doubled;
}

// The magnitude of the first with the sign of the second.
template <class T>
FORCE_INLINE Vec<T> copysign(std::type_identity_t<Vec<T>> magnitude, std::type_identity_t<Vec<T>> sign) {
    const UnsignedVec<T> sign_bit = broadcast<Unsigned<T>>(Unsigned<T>(1) << (8 * sizeof(T) - 1));
    return (Vec<T>)(((UnsignedVec<T>)magnitude & ~sign_bit) | ((UnsignedVec<T>)sign & sign_bit));
}

// 2^n for a normal result, from the bits.
template <class T>
FORCE_INLINE Vec<T> power_of_two(IntVec<T> n) {
    return (Vec<T>)((UnsignedVec<T>)(n + broadcast<Integer<T>>(exponent_bias<T>)) << fraction_bits<T>);
}

// y 2^n where the result may be denormal, 0 or infinite. The factor goes on in two halves, neither of which leaves the
// normal numbers, so only the last product rounds. AVX-512 has an instruction that does the same.
template <class T>
FORCE_INLINE Vec<T> scale(std::type_identity_t<Vec<T>> y, Nearest<T> n) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4) return (Vec<T>)_mm512_maskz_scalef_ps(__mmask16(-1), (__m512)y, (__m512)n.number);
    else return (Vec<T>)_mm512_maskz_scalef_pd(__mmask8(-1), (__m512d)y, (__m512d)n.number);
#else
    const UnsignedVec<T> both = (UnsignedVec<T>)(n.integer + broadcast<Integer<T>>(2 * exponent_bias<T>));
    const UnsignedVec<T> half = both >> 1;
    return y * (Vec<T>)(half << fraction_bits<T>) * (Vec<T>)((both - half) << fraction_bits<T>);
#endif
}

// x = n ln 2 + r with |r| <= ln 2 / 2, and p = e^r - 1.
template <class T>
struct Reduced {
    Nearest<T> n;
    Vec<T> p;
};

template <class T>
FORCE_INLINE Reduced<T> reduced_expm1(std::type_identity_t<Vec<T>> x) {
    using C = Constants<T>;
    const Nearest<T> n = nearest<T>(x * broadcast<T>(C::log2_e));
    Vec<T> r = fma(n.number, broadcast<T>(-C::ln2_high), x);
    r = fma(n.number, broadcast<T>(-C::ln2_low), r);
    const Vec<T> rr = r * r;
    return {n, fma(rr, polynomial<T>(C::expm1_tail, r, rr), r)};
}

// Beyond these the exponential is infinite, or 0 even as a denormal.
template <class T>
inline constexpr T exp_overflows = sizeof(T) == 4 ? T(89) : T(710);
template <class T>
inline constexpr T exp_vanishes = sizeof(T) == 4 ? T(-104) : T(-746);

// e^x for x <= 0 (and a little beyond: what matters is that it cannot overflow).
template <class T>
FORCE_INLINE Vec<T> exp_negative(std::type_identity_t<Vec<T>> x) {
    const Reduced<T> e = reduced_expm1<T>(at_least<T>(broadcast<T>(exp_vanishes<T>), x));
    return scale<T>(broadcast<T>(1) + e.p, e.n);
}

// e^x - 1 for 0 <= x <= 40, where 2^n is normal and exact in all that follows.
template <class T>
FORCE_INLINE Vec<T> expm1_small(std::type_identity_t<Vec<T>> x) {
    const Reduced<T> e = reduced_expm1<T>(x);
    const Vec<T> power = power_of_two<T>(e.n.integer);
    return fma(power, e.p, power - broadcast<T>(1));
}

// Where 1 + f is cut: m = 2^-k x lies in [cut, 2 cut).
// float evaluates one polynomial in f, which wants |f| small on both sides; double one in s = f / (2 + f), which wants
// |s| small on both sides.
template <class T>
inline constexpr T log_cut = sizeof(T) == 4 ? T(0x1.555556p-1) /* 2/3 */ : T(0x1.6a09e667f3bcdp-1) /* 1/sqrt 2 */;

// x = 2^k m for positive normal x. `power` holds k in the bits of the exponent: subtracting it divides by 2^k.
template <class T>
struct Split {
    Vec<T> k;
    UnsignedVec<T> power;
};

template <class T>
FORCE_INLINE Split<T> split(std::type_identity_t<Vec<T>> x) {
    // adding (1 - cut) in the bits carries into the exponent exactly where the fraction is above that of the cut
    const UnsignedVec<T> one = (UnsignedVec<T>)broadcast<T>(1), cut = (UnsignedVec<T>)broadcast<T>(log_cut<T>);
    const UnsignedVec<T> biased = ((UnsignedVec<T>)x + (one - cut)) >> fraction_bits<T>;
    // the integer becomes a number by setting it into the low bits of 2^fraction_bits
    constexpr T shift = T(Unsigned<T>(1) << fraction_bits<T>);
    const Vec<T> k = (Vec<T>)(biased | (UnsignedVec<T>)broadcast<T>(shift)) - broadcast<T>(shift + T(exponent_bias<T>));
    return {k, (biased << fraction_bits<T>) - one};
}

// k ln 2 + log(1 + f) for 1 + f in [cut, 2 cut).
template <class T>
FORCE_INLINE Vec<T> log_of_parts(std::type_identity_t<Vec<T>> k, std::type_identity_t<Vec<T>> f) {
    using C = Constants<T>;
    const Vec<T> ln2_high = broadcast<T>(C::ln2_high), ln2_low = broadcast<T>(C::ln2_low), half = broadcast<T>(T(0.5));
    if constexpr (sizeof(T) == 4) {
        const Vec<T> ff = f * f;
        // f³ q(f) - f²/2, then the small part of k ln 2, then f, then the large part
        Vec<T> low = fma(polynomial<T>(C::log1p_tail, f, ff), f, -half);
        low = fma(k, ln2_low, ff * low);
        return fma(k, ln2_high, f + low);
    } else {
        // with s = f / (2 + f): log(1 + f) = 2 atanh(s) = 2 s + s³ q(s²), and 2 s = f - s f, so that f stays exact:
        // log(1 + f) = f - (f²/2 - s (f²/2 + s² q)), as in FreeBSD's msun (e_log.c)
        const Vec<T> s = f / (broadcast<T>(2) + f), z = s * s;
        const Vec<T> half_ff = half * f * f;
        const Vec<T> r = z * polynomial<T>(C::log1p_tail, z, z * z);
        const Vec<T> low = fma(k, ln2_low, s * (half_ff + r));
        return fma(k, ln2_high, f - (half_ff - low));
    }
}

// log x for positive normal finite x, and NaN for infinity and NaN: no case of its own, but x - x is 0 or NaN.
template <class T>
FORCE_INLINE Vec<T> log_normal(std::type_identity_t<Vec<T>> x) {
    const Split<T> s = split<T>(x);
    const Vec<T> m = (Vec<T>)((UnsignedVec<T>)x - s.power);
    return log_of_parts<T>(s.k, m - broadcast<T>(1)) + (x - x);
}

// log(1 + x) for -1 < x < 2^60.
template <class T>
FORCE_INLINE Vec<T> log1p_finite(std::type_identity_t<Vec<T>> x) {
    // u = 1 + x rounds, but only k is taken from it: 1 + f = 2^-k (1 + x), so f = 2^-k x + (2^-k - 1), where both
    // terms are exact. (Where k = 0 that is x itself, also for the smallest x.)
    const Split<T> s = split<T>(broadcast<T>(1) + x);
    const UnsignedVec<T> one = (UnsignedVec<T>)broadcast<T>(1);
    const Vec<T> power = (Vec<T>)(one - s.power);  // 2^-k
    return log_of_parts<T>(s.k, fma(power, x, power - broadcast<T>(1)));
}

// The values that a logarithm of v takes off the path: NaN below 0, -inf at 0, v itself where v is infinite or NaN.
template <class T>
FORCE_INLINE Vec<T> log_specials(std::type_identity_t<Vec<T>> v, std::type_identity_t<Vec<T>> y) {
    constexpr T infinity = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
    y = v < broadcast<T>(infinity) ? y : v;
    y = v < Vec<T>{} ? broadcast<T>(nan) : y;
    return v == Vec<T>{} ? broadcast<T>(-infinity) : y;
}

}  // namespace elementary

// e^x
template <class T>
FORCE_INLINE Vec<T> exp(std::type_identity_t<Vec<T>> x) {
    return elementary::exp_negative<T>(at_most<T>(broadcast<T>(elementary::exp_overflows<T>), x));
}

// e^x - 1, accurate near 0
template <class T>
FORCE_INLINE Vec<T> expm1(std::type_identity_t<Vec<T>> x) {
    using namespace elementary;
    const Vec<T> half = broadcast<T>(T(0.5));
    // below -40 the result is -1 in either type
    const Vec<T> bounded = at_most<T>(broadcast<T>(exp_overflows<T>), at_least<T>(broadcast<T>(-40), x));
    const Reduced<T> e = reduced_expm1<T>(bounded);
    // half of the result first: 2^n may be too large where the result is not
    const Vec<T> power = power_of_two<T>(e.n.integer - broadcast<Integer<T>>(1));
    const Vec<T> y = fma(power, e.p, power - half);
    return elementary::copysign<T>(e.n.number == Vec<T>{} ? e.p : y + y, x);
}

// The natural logarithm
template <class T>
FORCE_INLINE Vec<T> log(std::type_identity_t<Vec<T>> x) {
    using namespace elementary;
    // denormals are brought among the normal numbers
    constexpr int raise = fraction_bits<T> + 1;
    const Mask<T> denormal = x < broadcast<T>(std::numeric_limits<T>::min());
    const Vec<T> normal = denormal ? x * broadcast<T>(T(Unsigned<T>(1) << raise)) : x;
    const Split<T> s = split<T>(normal);
    const Vec<T> k = denormal ? s.k - broadcast<T>(T(raise)) : s.k;
    const Vec<T> m = (Vec<T>)((UnsignedVec<T>)normal - s.power);
    return log_specials<T>(x, log_of_parts<T>(k, m - broadcast<T>(1)));
}

// log(1 + x), accurate near 0
template <class T>
FORCE_INLINE Vec<T> log1p(std::type_identity_t<Vec<T>> x) {
    using namespace elementary;
    // as log1p_finite, but 2^-k x by the bits, and 2^-k, which leaves the normal numbers for the largest x, not below 0:
    // there f = 2^-k x - 1
    const Vec<T> u = broadcast<T>(1) + x;
    const Split<T> s = split<T>(u);
    const IntVec<T> power = (IntVec<T>)((UnsignedVec<T>)broadcast<T>(1) - s.power);
    const Vec<T> bounded = (Vec<T>)(power > IntVec<T>{} ? power : IntVec<T>{});
    const Vec<T> m = (Vec<T>)((UnsignedVec<T>)x - s.power);
    return elementary::copysign<T>(log_specials<T>(u, log_of_parts<T>(s.k, m + (bounded - broadcast<T>(1)))), x);
}

// tanh x = h / (h + 1) with h = (e^(2 |x|) - 1) / 2, and the sign of x. Networks spend more time here than anywhere else
// outside their products, so the reduction of expm1 is written out again: 2 |x| = n ln 2 + 2 r, and with p = (e^(2 r) - 1) / 2
// h = 2^n p + (2^n - 1) / 2. The factors 2 go into the coefficients, where they are exact.
template <class T>
FORCE_INLINE Vec<T> tanh(std::type_identity_t<Vec<T>> x) {
    using namespace elementary;
    using C = Constants<T>;
    // from here on tanh rounds to 1: 1 - tanh x < 2 e^(-2 x) is below half an ulp
    constexpr T saturates = sizeof(T) == 4 ? T(9.5) : T(19.5);
    constexpr T shift = sizeof(T) == 4 ? T(0x1.8p23) : T(0x1.8p52);  // see `nearest`
    static constexpr auto doubled = times_powers_of_two<T>(C::expm1_tail);
    const Vec<T> half = broadcast<T>(T(0.5)), bounded = at_most<T>(broadcast<T>(saturates), abs<T>(x));
    const Vec<T> shifted = fma(bounded, broadcast<T>(2 * C::log2_e), broadcast<T>(shift)), n = shifted - broadcast<T>(shift);
    const Vec<T> power = power_of_two<T>(bits<IntVec<T>>(shifted) - bits<IntVec<T>>(broadcast<T>(shift)));
    Vec<T> r = fma(n, broadcast<T>(-C::ln2_high / 2), bounded);
    r = fma(n, broadcast<T>(-C::ln2_low / 2), r);
    const Vec<T> rr = r * r;
    const Vec<T> p = fma(rr, polynomial<T>(doubled.c, r, rr), r);
    const Vec<T> h = fma(power, p, fma(power, half, -half)), y = h / (h + broadcast<T>(1));
    const UnsignedVec<T> sign_bit = broadcast<Unsigned<T>>(Unsigned<T>(1) << (8 * sizeof(T) - 1));
    return (Vec<T>)((UnsignedVec<T>)y | ((UnsignedVec<T>)x & sign_bit));  // y is not negative
}

// 1 / (1 + e^-x), as e / (1 + e) with e = e^-|x| where x is negative: no overflow, and full accuracy in the small tail
template <class T>
FORCE_INLINE Vec<T> sigmoid(std::type_identity_t<Vec<T>> x) {
    const Vec<T> one = broadcast<T>(1);
    const Vec<T> e = elementary::exp_negative<T>(-abs<T>(x));
    return (x < Vec<T>{} ? e : one) / (one + e);
}

// log(1 + e^x) = max(x, 0) + log(1 + e^-|x|): no overflow, and full accuracy in the small tail
template <class T>
FORCE_INLINE Vec<T> log1p_exp(std::type_identity_t<Vec<T>> x) {
    using namespace elementary;
    return positive_part<T>(x) + log1p_finite<T>(exp_negative<T>(-abs<T>(x)));
}

// The error function: x times a polynomial in x² below 1, 1 - e^(-x q(x)) above
template <class T>
FORCE_INLINE Vec<T> erf(std::type_identity_t<Vec<T>> x) {
    using namespace elementary;
    using C = Constants<T>;
    constexpr T saturates = sizeof(T) == 4 ? T(4) : T(6);  // 1 - erf is below half an ulp from here on
    const Vec<T> a = abs<T>(x), one = broadcast<T>(1);
    const Vec<T> z = a * a, head = fma(a, polynomial<T>(C::erf_head, z, z * z), a);
    const Vec<T> bounded = at_most<T>(broadcast<T>(saturates), a);
    const Reduced<T> e = reduced_expm1<T>(-bounded * polynomial<T>(C::erfc_exponent, bounded, bounded * bounded));
    const Vec<T> power = power_of_two<T>(e.n.integer);
    const Vec<T> tail = (one - power) - power * e.p;
    return elementary::copysign<T>(a < one ? head : tail, x);
}

}  // namespace chainrule
