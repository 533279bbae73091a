// Passes over whole matrices: what takes no thought but time.
#pragma once

#include "panels.h"

namespace chainrule {

// Calls function(p, i) for the vectors of every panel p; a panel's rows are one run of memory. The last vector may reach
// over the end of a slice's last row, where the arena has room.
template <class T, class Function>
FORCE_INLINE void each_run(const Matrix<T>& m, Function function) {
    const int64_t run = m.rows * m.width(), panels = m.panels();
    for (int64_t p = 0; p < panels; ++p)
        for (int64_t i = 0; i < run; i += lanes<T>) function(p, i);
}

template <class T>
void copy_rows(const Matrix<T>& x, const Matrix<T>& y) {
    for (int64_t p = 0; p < x.panels(); ++p)
        std::memcpy(y.row(p, 0), x.row(p, 0), size_t(x.rows * x.width()) * sizeof(T));
}

template <class T>
void clear_rows(const Matrix<T>& m) {
    for (int64_t p = 0; p < m.panels(); ++p) std::memset(m.row(p, 0), 0, size_t(m.rows * m.width()) * sizeof(T));
}

// f(width of the panel, lanes of it that a vector takes, first column, its place in a row of m): for the vectors of a row.
template <class T, class F>
FORCE_INLINE void each_column_vector(const Matrix<T>& m, F f) {
    with_width<T>(m.width(), [&](auto width) ALWAYS_INLINE {
        constexpr int w = decltype(width)::value, part = lanes<T> < w ? lanes<T> : w;
        for (int64_t p = 0; p < m.panels(); ++p)
            for (int c = 0; c < w; c += part) f(width, std::integral_constant<int, part>{}, p * w + c, p * m.pitch + c);
    });
}

// What lies beyond the last column becomes 0: for those that write none of it, where something else may have lain before.
template <class T>
void clear_padding(const Matrix<T>& m) {
    const int width = m.width(), used = int((m.columns - 1) % width) + 1;
    for (int64_t r = 0; r < m.rows; ++r)
        for (int c = used; c < width; c += lanes<T>) store_partial(m.row(m.panels() - 1, r) + c, Vec<T>{}, width - c < lanes<T> ? width - c : lanes<T>);
}

// to += x
template <class T>
void add_rows_of(const Matrix<T>& x, const Matrix<T>& to) {
    const Matrix<T> from = x, sum = to;
    each_run(from, [&](int64_t p, int64_t i) ALWAYS_INLINE {
        T* at = sum.data + p * sum.pitch + i;
        store_unaligned(at, load_unaligned(at) + load_unaligned(from.data + p * from.pitch + i));
    });
}

// The way back through a ReLU, and through a Dropout that lies over what it made: dy · scale where y is not 0. `at` is where
// y lies; null: there is no ReLU.
template <class T>
struct ReluMask {
    const T* at = nullptr;
    T scale = 1;
    FORCE_INLINE Vec<T> operator()(Vec<T> dy, Vec<T> y) const { return keep<T>(passes_relu<T>(y), dy * broadcast<T>(scale)); }
};

template <class T>
void mask_by_relu(const Matrix<T>& dy, const Matrix<T>& y, T scale) {
    const Matrix<T> d = dy, made = y;
    const ReluMask<T> mask{y.data, scale};
    each_run(d, [&](int64_t p, int64_t i) ALWAYS_INLINE {
        T* at = d.data + p * d.pitch + i;
        store_unaligned(at, mask(load_unaligned(at), load_unaligned(made.data + p * made.pitch + i)));
    });
}

}  // namespace chainrule
