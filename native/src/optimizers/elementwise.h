// What optimizers share that treat every number by itself: PyTorch's formulas in PyTorch's order of operations, on one
// parameter's contiguous memory, value, gradient and states in one pass.
//
// No fused multiply-add is used, so every instruction set gives the same bits, the baseline included (but for the sum of
// squares of clip_norm). What depends on the step alone (bias corrections) is computed once, before the pass.
#pragma once

#include "optimizer.h"

namespace chainrule {

// value = update(value, gradient, states) for n numbers, vector by vector. The gradient comes clipped: held within
// ±clip_value (0: not), then scaled by the norm's factor, for the norm is that of bounded gradients. NaN stays NaN.
template <class T, int states, class Update>
FORCE_INLINE void each_vector(const UpdateStep& step, double clip_value, T* value, const T* gradient, T* const* state,
                              int64_t n, Update update) {
    T* of[states + 1];
    for (int k = 0; k < states; ++k) of[k] = state[k];
    auto pass = [&](auto clipped) ALWAYS_INLINE {
        for (int64_t i = 0; i < n; i += lanes<T>) {
            Vec<T> kept[states + 1];
            for (int k = 0; k < states; ++k) kept[k] = load_unaligned(of[k] + i);
            const Vec<T> g = clipped(load_unaligned(gradient + i));
            store_unaligned(value + i, update(load_unaligned(value + i), g, kept));
            for (int k = 0; k < states; ++k) store_unaligned(of[k] + i, kept[k]);
        }
    };
    const Vec<T> bound = broadcast<T>(T(clip_value)), scale = broadcast<T>(T(step.gradient_scale));
    if (clip_value > 0) pass([=](Vec<T> g) ALWAYS_INLINE { return at_most<T>(bound, at_least<T>(-bound, g)) * scale; });
    else if (step.gradient_scale != 1) pass([=](Vec<T> g) ALWAYS_INLINE { return g * scale; });
    else pass([](Vec<T> g) ALWAYS_INLINE { return g; });
}

// start + weight (end - start), as torch.lerp, which turns round at 1/2
template <class T>
FORCE_INLINE Vec<T> lerp(std::type_identity_t<Vec<T>> start, std::type_identity_t<Vec<T>> end, double weight) {
    const Vec<T> way = end - start;
    return weight < 0.5 ? start + broadcast<T>(T(weight)) * way : end - way * broadcast<T>(T(1 - weight));
}

// base^n by squaring: the same bits on every machine, which libm's pow does not promise.
inline double power(double base, int64_t n) {
    double result = 1;
    for (; n > 0; n >>= 1, base *= base)
        if (n & 1) result *= base;
    return result;
}

// base^exponent for base > 0, e^(exponent log base) in plain arithmetic: the same bits on every machine, and some ulp more
// for every unit that |exponent log base| has.
inline double real_power(double base, double exponent) {
    if (exponent == 0 || base == 1) return 1;
    if (std::isinf(base)) return exponent > 0 ? base : 0;
    int twos;
    double m = std::frexp(base, &twos);  // in [1/2, 1)
    if (m < 0.70710678118654752) m *= 2, --twos;
    const double s = (m - 1) / (m + 1), ss = s * s;  // log m = 2 atanh s, where |s| < 0.172
    double tail = 0;
    for (int k = 25; k >= 3; k -= 2) tail = (tail + 1.0 / k) * ss;
    constexpr double ln2 = 0.69314718055994531;
    const double y = exponent * (twos * ln2 + 2 * (s + s * tail));
    if (!(y > -745)) return y == y ? 0 : y;
    if (y > 710) return std::numeric_limits<double>::infinity();
    const double n = std::nearbyint(y / ln2), r = y - n * ln2;  // e^y = 2^n e^r, where |r| < 0.35
    double e = 1;
    for (int k = 17; k >= 1; --k) e = 1 + e * r / k;
    return std::ldexp(e, int(n));
}

}  // namespace chainrule
