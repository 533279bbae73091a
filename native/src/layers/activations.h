// The activations, each the twin of the class of the same name in chainrule.layers.activations.
//
// An activation is a struct made from what Python says of it, with `forward(x) -> y` and `backward(dy, saved) -> dx` on one
// vector. What backward wants is y where `saves_output`, else x. NaN passes through all of them. A new one is a struct
// here, and stands in the list at the end.
#pragma once

#include "../elementary.h"
#include "../matrices.h"
#include "../settings.h"

namespace chainrule {

// y = max(0, x); dx = dy where y > 0 (or NaN)
template <class T>
struct ReLU {
    static bool is(const Settings& s) { return s.kind == "ReLU"; }
    static constexpr bool saves_output = true;
    explicit ReLU(const Settings&) {}
    FORCE_INLINE Vec<T> forward(Vec<T> x) const { return positive_part<T>(x); }
    FORCE_INLINE Vec<T> backward(Vec<T> dy, Vec<T> y) const { return keep<T>(passes_relu<T>(y), dy); }
};

// y = x where x > 0, slope x elsewhere
template <class T>
struct LeakyReLU {
    static bool is(const Settings& s) { return s.kind == "LeakyReLU"; }
    static constexpr bool saves_output = false;
    Vec<T> slope;
    explicit LeakyReLU(const Settings& a) : slope(broadcast<T>(T(a.number("negative_slope")))) {}
    FORCE_INLINE Vec<T> forward(Vec<T> x) const { return x > Vec<T>{} ? x : slope * x; }
    FORCE_INLINE Vec<T> backward(Vec<T> dy, Vec<T> x) const { return x > Vec<T>{} ? dy : slope * dy; }
};

// y = x where x > 0, alpha (e^x - 1) elsewhere; there dy/dx = alpha e^x. (That is y + alpha, but the sum keeps no digit of
// what is small beside alpha: at x = -17 it is 0 in float, and the unit would never learn again.)
template <class T>
struct ELU {
    static bool is(const Settings& s) { return s.kind == "ELU"; }
    static constexpr bool saves_output = false;
    Vec<T> alpha;
    explicit ELU(const Settings& a) : alpha(broadcast<T>(T(a.number("alpha")))) {}
    FORCE_INLINE Vec<T> forward(Vec<T> x) const { return x > Vec<T>{} ? x : alpha * expm1<T>(x); }
    FORCE_INLINE Vec<T> backward(Vec<T> dy, Vec<T> x) const { return x > Vec<T>{} ? dy : dy * (alpha * elementary::exp_negative<T>(at_most<T>(zero<T>(), x))); }
};

// dx = dy (1 - y²)
template <class T>
struct Tanh {
    static bool is(const Settings& s) { return s.kind == "Tanh"; }
    static constexpr bool saves_output = true;
    explicit Tanh(const Settings&) {}
    FORCE_INLINE Vec<T> forward(Vec<T> x) const { return tanh<T>(x); }
    FORCE_INLINE Vec<T> backward(Vec<T> dy, Vec<T> y) const { return dy * fma(-y, y, broadcast<T>(1)); }
};

// dx = dy y (1 - y)
template <class T>
struct Sigmoid {
    static bool is(const Settings& s) { return s.kind == "Sigmoid"; }
    static constexpr bool saves_output = true;
    explicit Sigmoid(const Settings&) {}
    FORCE_INLINE Vec<T> forward(Vec<T> x) const { return sigmoid<T>(x); }
    FORCE_INLINE Vec<T> backward(Vec<T> dy, Vec<T> y) const { return dy * y * (broadcast<T>(1) - y); }
};

// y = x s with s = sigmoid(x); dx = dy s (1 + x (1 - s))
template <class T>
struct SiLU {
    static bool is(const Settings& s) { return s.kind == "SiLU"; }
    static constexpr bool saves_output = false;
    explicit SiLU(const Settings&) {}
    FORCE_INLINE Vec<T> forward(Vec<T> x) const { return x * sigmoid<T>(x); }
    FORCE_INLINE Vec<T> backward(Vec<T> dy, Vec<T> x) const {
        const Vec<T> one = broadcast<T>(1), s = sigmoid<T>(x);
        return dy * s * fma(x, one - s, one);
    }
};

// y = x Φ(x) with the normal distribution Φ(x) = (1 + erf(x / √2)) / 2; dx = dy (Φ(x) + x φ(x)), φ(x) = e^(-x²/2) / √(2π)
// (Hendrycks and Gimpel, 2016)
template <class T>
struct GELU {
    static bool is(const Settings& s) { return s.kind == "GELU" && s.word("approximate") == "none"; }
    static constexpr bool saves_output = false;
    static constexpr T sqrt_half = T(0.70710678118654752440L);          // 1 / √2
    static constexpr T density_at_0 = T(0.39894228040143267794L);       // 1 / √(2π)
    explicit GELU(const Settings&) {}
    FORCE_INLINE static Vec<T> distribution(Vec<T> x) {
        const Vec<T> half = broadcast<T>(T(0.5));
        return fma(erf<T>(x * broadcast<T>(sqrt_half)), half, half);
    }
    FORCE_INLINE Vec<T> forward(Vec<T> x) const { return x * distribution(x); }
    FORCE_INLINE Vec<T> backward(Vec<T> dy, Vec<T> x) const {
        const Vec<T> density = elementary::exp_negative<T>(x * x * broadcast<T>(T(-0.5))) * broadcast<T>(density_at_0);
        return dy * fma(x, density, distribution(x));
    }
};

// y = x (1 + tanh u) / 2, u = √(2/π) (x + 0.044715 x³); dx = dy ((1 + t) / 2 + x (1 - t²) u' / 2), t = tanh u
// (Hendrycks and Gimpel, 2016, section 2, where the constant is fitted)
template <class T>
struct GELUTanh {
    static bool is(const Settings& s) { return s.kind == "GELU" && s.word("approximate") == "tanh"; }
    static constexpr bool saves_output = false;
    static constexpr T scale = T(0.79788456080286535588L);  // √(2/π)
    static constexpr T cubic = T(0.044715L);
    explicit GELUTanh(const Settings&) {}
    FORCE_INLINE static Vec<T> inner(Vec<T> x) { return broadcast<T>(scale) * x * fma(x * x, broadcast<T>(cubic), broadcast<T>(1)); }
    FORCE_INLINE Vec<T> forward(Vec<T> x) const {
        const Vec<T> half_x = x * broadcast<T>(T(0.5));
        return fma(half_x, tanh<T>(inner(x)), half_x);
    }
    FORCE_INLINE Vec<T> backward(Vec<T> dy, Vec<T> x) const {
        const Vec<T> half = broadcast<T>(T(0.5)), one = broadcast<T>(1), t = tanh<T>(inner(x));
        const Vec<T> slope = broadcast<T>(scale) * fma(x * x, broadcast<T>(3 * cubic), one);
        return dy * fma(half * x * fma(-t, t, one), slope, fma(half, t, half));
    }
};

// y = log(1 + e^(beta x)) / beta, and x itself where beta x > threshold; dx = dy sigmoid(beta x), there dy
template <class T>
struct Softplus {
    static bool is(const Settings& s) { return s.kind == "Softplus"; }
    static constexpr bool saves_output = false;
    Vec<T> beta, one_over_beta, threshold;
    explicit Softplus(const Settings& a)
        : beta(broadcast<T>(T(a.number("beta")))), one_over_beta(broadcast<T>(T(1 / a.number("beta")))), threshold(broadcast<T>(T(a.number("threshold")))) {}
    FORCE_INLINE Vec<T> forward(Vec<T> x) const {
        const Vec<T> z = beta * x;
        return z > threshold ? x : log1p_exp<T>(z) * one_over_beta;
    }
    FORCE_INLINE Vec<T> backward(Vec<T> dy, Vec<T> x) const {
        const Vec<T> z = beta * x;
        return z > threshold ? dy : dy * sigmoid<T>(z);
    }
};

// y = x t with t = tanh(log(1 + e^x)) = a / (a + 2 b); dx = dy (t + x s (1 - t²)), s = sigmoid(x) (Misra, 2020). With
// u = e^-|x| it is a = u² + 2 u, b = 1 where x is negative, else, both divided by e^(2 x), a = 1 + 2 u, b = u²: no overflow.
template <class T>
struct Mish {
    static bool is(const Settings& s) { return s.kind == "Mish"; }
    static constexpr bool saves_output = false;
    explicit Mish(const Settings&) {}
    FORCE_INLINE static Vec<T> gate(Vec<T> x) {
        const Vec<T> one = broadcast<T>(1), two = broadcast<T>(2);
        const Vec<T> u = elementary::exp_negative<T>(-abs<T>(x)), uu = u * u;
        const Mask<T> negative = x < zero<T>();
        const Vec<T> a = fma(two, u, negative ? uu : one);
        return a / fma(two, negative ? one : uu, a);
    }
    FORCE_INLINE Vec<T> forward(Vec<T> x) const { return x * gate(x); }
    FORCE_INLINE Vec<T> backward(Vec<T> dy, Vec<T> x) const {
        const Vec<T> t = gate(x);
        return dy * fma(x * sigmoid<T>(x), fma(-t, t, broadcast<T>(1)), t);
    }
};

// y = x / (1 + |x|); dx = dy / (1 + |x|)²
template <class T>
struct Softsign {
    static bool is(const Settings& s) { return s.kind == "Softsign"; }
    static constexpr bool saves_output = false;
    explicit Softsign(const Settings&) {}
    FORCE_INLINE Vec<T> forward(Vec<T> x) const { return x / (broadcast<T>(1) + abs<T>(x)); }
    FORCE_INLINE Vec<T> backward(Vec<T> dy, Vec<T> x) const {
        const Vec<T> slope = broadcast<T>(1) / (broadcast<T>(1) + abs<T>(x));
        return dy * slope * slope;
    }
};

// All of them. with_activation calls function(f) with the one that Python speaks of; false: there is none.
template <template <class> class... F>
struct ActivationList {
    template <class T, class Function>
    static bool find(const Settings& settings, Function function) {
        return ((F<T>::is(settings) && (function(F<T>(settings)), true)) || ...);
    }
};
using Activations = ActivationList<ReLU, LeakyReLU, ELU, Tanh, Sigmoid, SiLU, GELU, GELUTanh, Softplus, Mish, Softsign>;

template <class T, class Function>
bool with_activation(const Settings& settings, Function function) { return Activations::find<T>(settings, function); }

// x and y may be the same memory.
template <class T, class F>
void activation_forward(const F& f, const Matrix<T>& x, const Matrix<T>& y) {
    const Matrix<T> from = x, to = y;  // copies, so that the stores do not make the compiler read them again
    const F function = f;
    each_run(from, [&](int64_t p, int64_t i) ALWAYS_INLINE {
        store_unaligned(to.data + p * to.pitch + i, function.forward(load_unaligned(from.data + p * from.pitch + i)));
    });
}

// `saved` is y or x (saves_output); dx may be dy's memory or that of `saved`. Adds to what dx holds, or overwrites it.
template <bool adds, class T, class F>
void activation_backward(const F& f, const Matrix<T>& dy, const Matrix<T>& saved, const Matrix<T>& dx) {
    const Matrix<T> d = dy, s = saved, to = dx;
    const F function = f;
    each_run(d, [&](int64_t p, int64_t i) ALWAYS_INLINE {
        T* at = to.data + p * to.pitch + i;
        const Vec<T> mine = function.backward(load_unaligned(d.data + p * d.pitch + i), load_unaligned(s.data + p * s.pitch + i));
        store_unaligned(at, adds ? load_unaligned(at) + mine : mine);
    });
}

}  // namespace chainrule
