// How a matrix lies in memory: in panels of columns, [columns / S][rows][S].
//
// S is `panel<T>` columns (two vectors, at least 16 numbers), or 8 for a matrix of at most 8 columns. A matrix of one
// panel is therefore plain row-major with padded rows, and a wide one comes ready packed for the microkernel: all its
// strides are compile-time constants and no two rows of a tile fall on the same cache set.
//
// The columns that pad the last panel hold numbers that nobody reads as results. Losses write 0 into the padding of dy;
// weights and biases are padded by 0; from these two follows that the padding of every gradient is 0.
#pragma once

#include "vec.h"

namespace chainrule {

template <class T>
inline constexpr int panel = 2 * lanes<T> > virtual_lanes ? 2 * lanes<T> : virtual_lanes;

inline constexpr int narrow_panel = 8;

template <class T>
constexpr int panel_width(int64_t columns) { return columns <= narrow_panel ? narrow_panel : panel<T>; }

// f(width as a constant)
template <class T, class F>
FORCE_INLINE void with_width(int width, F f) {
    if (width == narrow_panel) f(std::integral_constant<int, narrow_panel>{});
    else f(std::integral_constant<int, panel<T>>{});
}

constexpr int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// A view: it owns nothing. Element (r, c) is data[(c / S) * pitch + r * S + c % S].
template <class T>
struct Matrix {
    T* data = nullptr;
    int64_t rows = 0;
    int64_t columns = 0;
    int64_t pitch = 0;  // from one panel to the next, in elements

    Matrix() = default;
    Matrix(T* data, int64_t rows, int64_t columns)
        : data(data), rows(rows), columns(columns), pitch(rows * panel_width<T>(columns)) {}

    FORCE_INLINE int width() const { return panel_width<T>(columns); }
    FORCE_INLINE bool is_narrow() const { return columns <= narrow_panel; }
    // Divisions by constants only: one by a variable takes longer than a small layer's row.
    FORCE_INLINE int64_t panels() const { return is_narrow() ? 1 : (columns + panel<T> - 1) / panel<T>; }
    FORCE_INLINE int64_t column_offset(int64_t c) const {
        return is_narrow() ? c : c / panel<T> * pitch + c % panel<T>;
    }
    FORCE_INLINE T& at(int64_t r, int64_t c) const { return data[column_offset(c) + r * width()]; }
    FORCE_INLINE T* row(int64_t panel_index, int64_t r) const { return data + panel_index * pitch + r * width(); }

    // Rows begin … end - 1 of the same memory: what one thread works on.
    Matrix slice(int64_t begin, int64_t end) const {
        Matrix m = *this;
        m.data += begin * width();
        m.rows = end - begin;
        return m;
    }

    // Numbers in memory, padding included (and room for one vector over the end, which kernels may read and write).
    static int64_t size(int64_t rows, int64_t columns) {
        int width = panel_width<T>(columns);
        return round_up(rows * round_up(columns, width), 64 / int64_t(sizeof(T)));
    }
};

// Copies from and to rows as Python has them: row-major, `stride` elements from row to row. Padding becomes 0.
template <class T, class From>
void pack_row(const Matrix<T>& m, int64_t r, const From* from) {
    const int width = m.width();
    for (int64_t p = 0; p < m.panels(); ++p) {
        T* to = m.row(p, r);
        int n = int(m.columns - p * width < width ? m.columns - p * width : width);
        for (int c = 0; c < n; ++c) to[c] = T(from[p * width + c]);
        for (int c = n; c < width; ++c) to[c] = 0;
    }
}

template <class T>
void unpack_row(const Matrix<T>& m, int64_t r, T* to) {
    const int width = m.width();
    for (int64_t p = 0; p < m.panels(); ++p) {
        int n = int(m.columns - p * width < width ? m.columns - p * width : width);
        std::memcpy(to + p * width, m.row(p, r), size_t(n) * sizeof(T));
    }
}

template <class T>
void pack(const Matrix<T>& m, const T* from, int64_t stride) {
    for (int64_t r = 0; r < m.rows; ++r) pack_row(m, r, from + r * stride);
}

template <class T>
void unpack(const Matrix<T>& m, T* to, int64_t stride) {
    for (int64_t r = 0; r < m.rows; ++r) unpack_row(m, r, to + r * stride);
}

}  // namespace chainrule
