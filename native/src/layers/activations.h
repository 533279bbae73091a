// The activations, each the twin of the class of the same name in chainrule.layers.activations.
//
// An activation is a struct with `forward(x) -> y` and `backward(dy, saved) -> dx` on one vector, so the same code rides
// in the epilogue of a product or runs as a pass over memory. What backward wants is y where `saves_output`, else x.
// NaN passes through all of them. Softmax and LogSoftmax need whole rows; they stand at the end.
#pragma once

#include "../softmax.h"

namespace chainrule {

enum class ActivationKind { ReLU, LeakyReLU, ELU, Tanh, Sigmoid, SiLU, GELU, Softplus, Softmax, LogSoftmax };

struct Activation {
    ActivationKind kind = ActivationKind::ReLU;
    double negative_slope = 0.01;   // LeakyReLU
    double alpha = 1;               // ELU
    double beta = 1;                // Softplus
    double threshold = 20;          // Softplus
    bool approximate_tanh = false;  // GELU
};

// True: backward needs y, so forward may overwrite x. False: backward needs x.
inline bool saves_output(const Activation& a) {
    switch (a.kind) {
        case ActivationKind::ReLU:
        case ActivationKind::Tanh:
        case ActivationKind::Sigmoid:
        case ActivationKind::Softmax:
        case ActivationKind::LogSoftmax: return true;
        default: return false;
    }
}

// y = max(0, x); dx = dy where y > 0 (or NaN)
template <class T>
struct ReLU {
    explicit ReLU(const Activation&) {}
    FORCE_INLINE Vec<T> forward(Vec<T> x) const { return positive_part<T>(x); }
    FORCE_INLINE Vec<T> backward(Vec<T> dy, Vec<T> y) const { return keep<T>(passes_relu<T>(y), dy); }
};

// y = x where x > 0, slope x elsewhere
template <class T>
struct LeakyReLU {
    Vec<T> slope;
    explicit LeakyReLU(const Activation& a) : slope(broadcast<T>(T(a.negative_slope))) {}
    FORCE_INLINE Vec<T> forward(Vec<T> x) const { return x > Vec<T>{} ? x : slope * x; }
    FORCE_INLINE Vec<T> backward(Vec<T> dy, Vec<T> x) const { return x > Vec<T>{} ? dy : slope * dy; }
};

// y = x where x > 0, alpha (e^x - 1) elsewhere; there dy/dx = alpha e^x. (That is y + alpha, but the sum keeps no digit of
// what is small beside alpha: at x = -17 it is 0 in float, and the unit would never learn again.)
template <class T>
struct ELU {
    Vec<T> alpha;
    explicit ELU(const Activation& a) : alpha(broadcast<T>(T(a.alpha))) {}
    FORCE_INLINE Vec<T> forward(Vec<T> x) const { return x > Vec<T>{} ? x : alpha * expm1<T>(x); }
    FORCE_INLINE Vec<T> backward(Vec<T> dy, Vec<T> x) const { return x > Vec<T>{} ? dy : dy * (alpha * elementary::exp_negative<T>(at_most<T>(zero<T>(), x))); }
};

// dx = dy (1 - y²)
template <class T>
struct Tanh {
    explicit Tanh(const Activation&) {}
    FORCE_INLINE Vec<T> forward(Vec<T> x) const { return tanh<T>(x); }
    FORCE_INLINE Vec<T> backward(Vec<T> dy, Vec<T> y) const { return dy * fma(-y, y, broadcast<T>(1)); }
};

// dx = dy y (1 - y)
template <class T>
struct Sigmoid {
    explicit Sigmoid(const Activation&) {}
    FORCE_INLINE Vec<T> forward(Vec<T> x) const { return sigmoid<T>(x); }
    FORCE_INLINE Vec<T> backward(Vec<T> dy, Vec<T> y) const { return dy * y * (broadcast<T>(1) - y); }
};

// y = x s with s = sigmoid(x); dx = dy s (1 + x (1 - s))
template <class T>
struct SiLU {
    explicit SiLU(const Activation&) {}
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
    static constexpr T sqrt_half = T(0.70710678118654752440L);          // 1 / √2
    static constexpr T density_at_0 = T(0.39894228040143267794L);       // 1 / √(2π)
    explicit GELU(const Activation&) {}
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
    static constexpr T scale = T(0.79788456080286535588L);  // √(2/π)
    static constexpr T cubic = T(0.044715L);
    explicit GELUTanh(const Activation&) {}
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
    Vec<T> beta, one_over_beta, threshold;
    explicit Softplus(const Activation& a)
        : beta(broadcast<T>(T(a.beta))), one_over_beta(broadcast<T>(T(1 / a.beta))), threshold(broadcast<T>(T(a.threshold))) {}
    FORCE_INLINE Vec<T> forward(Vec<T> x) const {
        const Vec<T> z = beta * x;
        return z > threshold ? x : log1p_exp<T>(z) * one_over_beta;
    }
    FORCE_INLINE Vec<T> backward(Vec<T> dy, Vec<T> x) const {
        const Vec<T> z = beta * x;
        return z > threshold ? dy : dy * sigmoid<T>(z);
    }
};

// Calls function(f) with the activation f as one of the structs above; false for Softmax and LogSoftmax.
template <class T, class Function>
FORCE_INLINE bool with_activation(const Activation& a, Function function) {
    switch (a.kind) {
        case ActivationKind::ReLU: function(ReLU<T>(a)); return true;
        case ActivationKind::LeakyReLU: function(LeakyReLU<T>(a)); return true;
        case ActivationKind::ELU: function(ELU<T>(a)); return true;
        case ActivationKind::Tanh: function(Tanh<T>(a)); return true;
        case ActivationKind::Sigmoid: function(Sigmoid<T>(a)); return true;
        case ActivationKind::SiLU: function(SiLU<T>(a)); return true;
        case ActivationKind::GELU:
            if (a.approximate_tanh) function(GELUTanh<T>(a));
            else function(GELU<T>(a));
            return true;
        case ActivationKind::Softplus: function(Softplus<T>(a)); return true;
        default: return false;
    }
}

// ---- along rows --------------------------------------------------------------------------------------------------

namespace activations_detail {

template <RowKind kind, bool logarithm, class T>
FORCE_INLINE void softmax_forward(Matrix<T> x, Matrix<T> y) {
    using C = Chunk<T, kind>;
    SoftmaxRows<T, kind> rows(x.columns);
    each_row_group<T>(x.rows, [&](int64_t r, auto n) ALWAYS_INLINE {
        rows.find_largest(x, r, n);
        rows.add_terms(x, r, n, logarithm ? Matrix<T>() : y);
        T factor[lanes<T>];  // of the terms; or what is subtracted beside the largest
        const Vec<T> sums = load_unaligned(rows.sum);
        store_unaligned(factor, logarithm ? elementary::log_normal<T>(sums) : broadcast<T>(1) / sums);
        for (int i = 0; i < n; ++i) {
            const Vec<T> m = broadcast<T>(rows.largest[i]), f = broadcast<T>(factor[i]);
            write_row<kind>(y, r + i, rows.tail, [&](int64_t c) ALWAYS_INLINE {
                Lanes16<T> a = logarithm ? C::load(chunk_at<kind>(x, r + i, c)) : rows.term(y, r, i, c);
                for (int j = 0; j < C::vectors; ++j) a.v[j] = logarithm ? a.v[j] - m - f : a.v[j] * f;
                return a;
            });
        }
    });
}

// Softmax:    dx = y (dy - Σ y dy)
// LogSoftmax: dx = dy - e^y Σ dy
template <RowKind kind, bool logarithm, class T>
FORCE_INLINE void softmax_backward(Matrix<T> dy, Matrix<T> y, Matrix<T> dx) {
    using C = Chunk<T, kind>;
    const ChunkMask<T> tail = tail_mask<T>(y.columns);
    each_row_group<T>(y.rows, [&](int64_t r, auto n) ALWAYS_INLINE {
        auto row = [&](int i) ALWAYS_INLINE {
            Lanes16<T> total = Lanes16<T>::zeros();
            each_chunk<kind>(y.columns, [&](int64_t c, auto full) ALWAYS_INLINE {
                Lanes16<T> a = C::load(chunk_at<kind>(dy, r + i, c));
                const Lanes16<T> b = C::load(chunk_at<kind>(y, r + i, c));
                for (int j = 0; j < C::vectors; ++j) {
                    if constexpr (!full) a.v[j] = keep<T>(tail.v[j], a.v[j]);
                    total.v[j] = logarithm ? total.v[j] + a.v[j] : fma(a.v[j], b.v[j], total.v[j]);
                }
            });
            return total;
        };
        T sum[lanes<T>];
        reduce_rows(n, sum, row, add);
        for (int i = 0; i < n; ++i) {
            const Vec<T> s = broadcast<T>(sum[i]);
            write_row<kind>(dx, r + i, tail, [&](int64_t c) ALWAYS_INLINE {
                Lanes16<T> a = C::load(chunk_at<kind>(dy, r + i, c));
                const Lanes16<T> b = C::load(chunk_at<kind>(y, r + i, c));
                C::each_vector([&](int j) ALWAYS_INLINE {
                    a.v[j] = logarithm ? fma(-exp<T>(b.v[j]), s, a.v[j]) : b.v[j] * (a.v[j] - s);
                });
                return a;
            });
        }
    });
}

// Calls function(p, i) for the vectors of every panel p; a panel's rows are one run of memory. The last vector may reach
// over the end of a slice's last row, where the arena has room.
template <class T, class Function>
FORCE_INLINE void each_run(const Matrix<T>& m, Function function) {
    const int64_t run = m.rows * m.width(), panels = m.panels();
    for (int64_t p = 0; p < panels; ++p)
        for (int64_t i = 0; i < run; i += lanes<T>) function(p, i);
}

}  // namespace activations_detail

// ---- what the loop calls -----------------------------------------------------------------------------------------

// x and y may be the same memory.
template <class T>
void activation_forward(const Activation& a, const Matrix<T>& x, const Matrix<T>& y) {
    using namespace activations_detail;
    const bool elementwise = with_activation<T>(a, [&](auto f) ALWAYS_INLINE {
        const Matrix<T> from = x, to = y;  // copies, so that the stores do not make the compiler read them again
        each_run(from, [&](int64_t p, int64_t i) ALWAYS_INLINE {
            store_unaligned(to.data + p * to.pitch + i, f.forward(load_unaligned(from.data + p * from.pitch + i)));
        });
    });
    if (elementwise) return;
    with_row_kind(x, [&](auto kind) {
        if (a.kind == ActivationKind::LogSoftmax) softmax_forward<kind, true>(x, y);
        else softmax_forward<kind, false>(x, y);
    });
}

// `saved` is y or x (saves_output); dx may be dy's memory or that of `saved`.
template <class T>
void activation_backward(const Activation& a, const Matrix<T>& dy, const Matrix<T>& saved, const Matrix<T>& dx) {
    using namespace activations_detail;
    const bool elementwise = with_activation<T>(a, [&](auto f) ALWAYS_INLINE {
        const Matrix<T> d = dy, s = saved, to = dx;
        each_run(d, [&](int64_t p, int64_t i) ALWAYS_INLINE {
            store_unaligned(to.data + p * to.pitch + i,
                            f.backward(load_unaligned(d.data + p * d.pitch + i), load_unaligned(s.data + p * s.pitch + i)));
        });
    });
    if (elementwise) return;
    with_row_kind(dy, [&](auto kind) {
        if (a.kind == ActivationKind::LogSoftmax) softmax_backward<kind, true>(dy, saved, dx);
        else softmax_backward<kind, false>(dy, saved, dx);
    });
}

#define ACTIVATIONS(LINKAGE, T) \
    LINKAGE template void activation_forward<T>(const Activation&, const Matrix<T>&, const Matrix<T>&); \
    LINKAGE template void activation_backward<T>(const Activation&, const Matrix<T>&, const Matrix<T>&, const Matrix<T>&)
ACTIVATIONS(extern, float);  // here only announced: layers/activations.cpp makes them
ACTIVATIONS(extern, double);

}  // namespace chainrule
