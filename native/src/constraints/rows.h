// Constraints on the 2-norm of each row of a weight: of all that leads to one output. Vectors they leave as they are.
//
// The squares of a row are added in an order that no machine changes: where the weight lies transposed, its outputs in the
// lanes, input after input; else along sixteen virtual lanes. No fused multiply-add is used.
#pragma once

#include "constraint.h"

namespace chainrule {

// w becomes w · f(norm of its row), where f.factor says so on a vector of norms.
template <class T, class F>
class OfRows final : public Constraint<T> {
public:
    OfRows(F f, const ParameterShape& shape) : f_(f), matrix_(parameter_matrix<T>(shape, nullptr)), transposed_(is_transposed(shape)) {}

    bool takes_rows() const override { return true; }

    void apply(double, T* parameter, int64_t begin, int64_t end) const override {
        if (!transposed_) return each_row(parameter);
        for (int64_t p = begin / matrix_.pitch; p < matrix_.panels() && p * matrix_.pitch < end; ++p) panel_of_outputs(parameter + p * matrix_.pitch);
    }

private:
    void panel_of_outputs(T* panel) const {
        const int width = matrix_.width();
        for (int c = 0; c < width; c += lanes<T>) {
            const int n = width - c < lanes<T> ? width - c : lanes<T>;  // a narrow panel may be half a vector
            Vec<T> squares{};
            for (int64_t r = 0; r < matrix_.rows; ++r) {
                const Vec<T> w = load_partial(panel + r * width + c, n);
                squares += w * w;
            }
            const Vec<T> factor = f_.factor(sqrt<T>(squares));
            for (int64_t r = 0; r < matrix_.rows; ++r) {
                T* at = panel + r * width + c;
                store_partial(at, load_partial(at, n) * factor, n);
            }
        }
    }

    void each_row(T* parameter) const {
        Matrix<T> m = matrix_;
        m.data = parameter;
        for (int64_t r = 0; r < m.rows; ++r) {
            Lanes16<T> sum = Lanes16<T>::zeros();
            each_chunk_of_row(m, r, [&](T* at, int n) ALWAYS_INLINE {
                const Lanes16<T> w = Lanes16<T>::load_partial(at, n);
                for (int j = 0; j < Lanes16<T>::vectors; ++j) sum.v[j] += w.v[j] * w.v[j];
            });
            const Vec<T> factor = f_.factor(sqrt<T>(broadcast<T>(sum.sum())));
            each_chunk_of_row(m, r, [&](T* at, int n) ALWAYS_INLINE {
                for (int c = 0; c < n; c += lanes<T>) {
                    const int some = n - c < lanes<T> ? n - c : lanes<T>;
                    store_partial(at + c, load_partial(at + c, some) * factor, some);
                }
            });
        }
    }
    template <class Function>
    FORCE_INLINE static void each_chunk_of_row(const Matrix<T>& m, int64_t r, Function function) {
        for (int64_t c = 0; c < m.columns; c += virtual_lanes)
            function(m.data + m.column_offset(c) + r * m.width(), int(m.columns - c < virtual_lanes ? m.columns - c : virtual_lanes));
    }

    F f_;
    Matrix<T> matrix_;
    bool transposed_;
};

// A row that is longer than max_norm is made as long as that.
template <class T>
struct MaxNorm {
    T max_norm;
    explicit MaxNorm(const Settings& settings) : max_norm(T(settings.number("max_norm"))) {}
    FORCE_INLINE Vec<T> factor(Vec<T> norm) const {
        const Vec<T> most = broadcast<T>(max_norm), one = broadcast<T>(1);
        return norm <= most ? one : most / norm;  // NaN for NaN
    }
};

// Every row is made as long as 1; one of zeros stays (and one with a NaN).
template <class T>
struct UnitNorm {
    explicit UnitNorm(const Settings&) {}
    FORCE_INLINE Vec<T> factor(Vec<T> norm) const {
        const Vec<T> one = broadcast<T>(1);
        return norm > Vec<T>{} ? one / norm : one;
    }
};

}  // namespace chainrule
