// Softmax and LogSoftmax, the twins of the classes in chainrule.layers.softmax: along rows, which they need whole.
#pragma once

#include "../softmax.h"

namespace chainrule {

namespace softmax_detail {

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

}  // namespace softmax_detail

// x and y may be the same memory.
template <class T>
void softmax_forward(bool logarithm, const Matrix<T>& x, const Matrix<T>& y) {
    with_row_kind(x, [&](auto kind) {
        if (logarithm) softmax_detail::softmax_forward<kind, true>(x, y);
        else softmax_detail::softmax_forward<kind, false>(x, y);
    });
}

// dx may be dy's memory.
template <class T>
void softmax_backward(bool logarithm, const Matrix<T>& dy, const Matrix<T>& y, const Matrix<T>& dx) {
    with_row_kind(dy, [&](auto kind) {
        if (logarithm) softmax_detail::softmax_backward<kind, true>(dy, y, dx);
        else softmax_detail::softmax_backward<kind, false>(dy, y, dx);
    });
}

}  // namespace chainrule
