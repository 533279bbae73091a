// Numbers with mean 0 and variance 1, down the columns of some rows: what GroupNorm, InstanceNorm and BatchNorm share.
//
//     x̂ = (x - mean) s, s = 1 / √(var + eps);  y = w x̂ + b
//     dx = s (dx̂ - mean(dx̂) - x̂ mean(dx̂ x̂)), dx̂ = w dy        dw = Σ dy x̂, db = Σ dy
//
// Statistics are of a column, or of the columns of a group together. The mean is taken away twice, as in Python: what is left
// of the first is as small as the rounding of x, which matters where the mean is far from 0.
#pragma once

#include <cmath>

#include "../matrices.h"

namespace chainrule {

// For each column, in whole panels: what standardizes it, and on the way back the sums of a gradient over the rows.
template <class T>
struct ColumnStatistics {
    T *mean, *rest, *s;      // x̂ = ((x - mean) - rest) s
    T *of_dy, *of_dy_x_hat;  // Σ dy, Σ dy x̂

    static constexpr int count = 5;
    static ColumnStatistics at(T* memory, int64_t padded) {
        return {memory, memory + padded, memory + 2 * padded, memory + 3 * padded, memory + 4 * padded};
    }
};

// Down a column of vectors, in four chains: Σ term(i) for i < rows, of one or two terms at once.
template <class T, int terms, class F>
FORCE_INLINE void down(int64_t rows, Vec<T> (&sum)[terms], F term) {
    Vec<T> chains[4][terms]{};
    int64_t i = 0;
    for (; i + 4 <= rows; i += 4)
#pragma GCC unroll 4
        for (int q = 0; q < 4; ++q) term(i + q, chains[q]);
    for (; i < rows; ++i) term(i, chains[i & 3]);
    for (int t = 0; t < terms; ++t) sum[t] = (chains[0][t] + chains[1][t]) + (chains[2][t] + chains[3][t]);
}

// The mean over each group's columns, of n rows' sums, in each of them: column after column.
template <class T>
void share_in_groups(T* sums, int64_t columns, int64_t of_group, double n) {
    for (int64_t first = 0; first < columns; first += of_group) {
        T total = 0;
        for (int64_t c = first; c < first + of_group; ++c) total += sums[c];
        total = T(double(total) / n);
        for (int64_t c = first; c < first + of_group; ++c) sums[c] = total;
    }
}

// mean, rest and s of each column of x; var, if asked for, becomes the variance that divides by n.
template <class T>
void find_statistics(const Matrix<T>& x, int64_t of_group, double eps, const ColumnStatistics<T>& to, T* var = nullptr) {
    const double n = double(x.rows) * double(of_group);
    each_column_vector(x, [&](auto width, auto part, int64_t c, int64_t place) ALWAYS_INLINE {
        constexpr int w = decltype(width)::value, k = decltype(part)::value;
        const T* from = x.data + place;
        Vec<T> sum[1];
        down<T>(x.rows, sum, [&](int64_t i, Vec<T>(&s)[1]) ALWAYS_INLINE { s[0] += load_partial(from + i * w, k); });
        store_partial(to.mean + c, sum[0], k);
    });
    share_in_groups(to.mean, x.columns, of_group, n);
    each_column_vector(x, [&](auto width, auto part, int64_t c, int64_t place) ALWAYS_INLINE {
        constexpr int w = decltype(width)::value, k = decltype(part)::value;
        const T* from = x.data + place;
        const Vec<T> mean = load_partial(to.mean + c, k);
        Vec<T> sum[2];
        down<T>(x.rows, sum, [&](int64_t i, Vec<T>(&s)[2]) ALWAYS_INLINE {
            const Vec<T> d = load_partial(from + i * w, k) - mean;
            s[0] += d, s[1] = fma(d, d, s[1]);
        });
        store_partial(to.rest + c, sum[0], k);
        store_partial(to.s + c, sum[1], k);
    });
    share_in_groups(to.rest, x.columns, of_group, n);
    share_in_groups(to.s, x.columns, of_group, n);
    for (int64_t c = 0; c < x.columns; ++c) {
        const T v = to.s[c] - to.rest[c] * to.rest[c], variance = v > 0 || v != v ? v : T(0);
        if (var) var[c] = variance;
        to.s[c] = T(1) / std::sqrt(variance + T(eps));
    }
    for (int64_t c = x.columns; c < x.panels() * x.width(); ++c) to.mean[c] = to.rest[c] = to.s[c] = 0;  // so that y is 0 there, or the bias
}

// y = w x̂ + b. weight, bias: in whole panels, or null.
template <class T>
void standardize(const Matrix<T>& x, const Matrix<T>& y, const ColumnStatistics<T>& by, const T* weight, const T* bias) {
    each_column_vector(x, [&](auto width, auto part, int64_t c, int64_t place) ALWAYS_INLINE {
        constexpr int w = decltype(width)::value, k = decltype(part)::value;
        const T* from = x.data + place;
        T* to = y.data + (place - c / w * x.pitch) + c / w * y.pitch;
        const Vec<T> mean = load_partial(by.mean + c, k), rest = load_partial(by.rest + c, k), s = load_partial(by.s + c, k);
        const Vec<T> scale = weight ? load_partial(weight + c, k) : broadcast<T>(1), shift = bias ? load_partial(bias + c, k) : Vec<T>{};
        for (int64_t i = 0; i < x.rows; ++i) {
            const Vec<T> x_hat = (load_partial(from + i * w, k) - mean - rest) * s;
            store_partial(to + i * w, fma(x_hat, scale, shift), k);
        }
    });
}

// Σ dy and Σ dy x̂ of each column.
template <class T>
void sum_gradients(const Matrix<T>& x, const Matrix<T>& dy, const ColumnStatistics<T>& by) {
    each_column_vector(x, [&](auto width, auto part, int64_t c, int64_t place) ALWAYS_INLINE {
        constexpr int w = decltype(width)::value, k = decltype(part)::value;
        const T *from = x.data + place, *d = dy.data + (place - c / w * x.pitch) + c / w * dy.pitch;
        const Vec<T> mean = load_partial(by.mean + c, k), rest = load_partial(by.rest + c, k), s = load_partial(by.s + c, k);
        Vec<T> sum[2];
        down<T>(x.rows, sum, [&](int64_t i, Vec<T>(&t)[2]) ALWAYS_INLINE {
            const Vec<T> dyi = load_partial(d + i * w, k);
            t[0] += dyi, t[1] = fma(dyi, (load_partial(from + i * w, k) - mean - rest) * s, t[1]);
        });
        store_partial(by.of_dy + c, sum[0], k);
        store_partial(by.of_dy_x_hat + c, sum[1], k);
    });
}

// dx, or added to it. through: whether x moved mean and variance, too; scratch: two rows of columns in whole panels.
template <class T, bool adds>
void standardize_backward(const Matrix<T>& x, const Matrix<T>& dy, const Matrix<T>& dx, int64_t of_group, const ColumnStatistics<T>& by,
                          const T* weight, bool through, T* scratch, int64_t padded) {
    T *of_mean = scratch, *of_var = scratch + padded;
    const double n = double(x.rows) * double(of_group);
    if (through) {
        for (int64_t c = 0; c < x.columns; ++c) {
            of_mean[c] = (weight ? weight[c] : T(1)) * by.of_dy[c];
            of_var[c] = (weight ? weight[c] : T(1)) * by.of_dy_x_hat[c];
        }
        share_in_groups(of_mean, x.columns, of_group, n);
        share_in_groups(of_var, x.columns, of_group, n);
    }
    each_column_vector(x, [&](auto width, auto part, int64_t c, int64_t place) ALWAYS_INLINE {
        constexpr int w = decltype(width)::value, k = decltype(part)::value;
        const int64_t in_row = place - c / w * x.pitch;
        const T *from = x.data + place, *d = dy.data + in_row + c / w * dy.pitch;
        T* to = dx.data + in_row + c / w * dx.pitch;
        const Vec<T> mean = load_partial(by.mean + c, k), rest = load_partial(by.rest + c, k), s = load_partial(by.s + c, k);
        const Vec<T> scale = weight ? load_partial(weight + c, k) : broadcast<T>(1);
        const Vec<T> first = through ? load_partial(of_mean + c, k) : Vec<T>{}, second = through ? load_partial(of_var + c, k) : Vec<T>{};
        const Mask<T> here = first_lanes<T>(int(x.columns - c < 0 ? 0 : x.columns - c < k ? x.columns - c : k));  // beyond, dx is 0
        for (int64_t i = 0; i < x.rows; ++i) {
            const Vec<T> x_hat = (load_partial(from + i * w, k) - mean - rest) * s;
            Vec<T> g = keep<T>(here, s * (load_partial(d + i * w, k) * scale - first - x_hat * second));
            if (adds) g += load_partial(to + i * w, k);
            store_partial(to + i * w, g, k);
        }
    });
}

}  // namespace chainrule
