// From a data set's rows to a value's: what a step reads first.
#pragma once

#include "matrices.h"

namespace chainrule {

// Copies row `from` of n numbers to row r of m. Padding stays as it is (0 from the start: nobody else writes inputs).
template <class T>
FORCE_INLINE void gather_row(const Matrix<T>& m, int64_t r, const T* from) {
    const int64_t n = m.columns;
    if (n <= narrow_panel) {
        T* to = m.data + r * narrow_panel;
        for (int64_t c = 0; c < n; ++c) to[c] = from[c];
        return;
    }
    int64_t c = 0;
    T* to = m.data + r * panel<T>;
    for (; c + panel<T> <= n; c += panel<T>, to += m.pitch)
#pragma GCC unroll 8
        for (int v = 0; v < panel<T>; v += lanes<T>) store_unaligned(to + v, load_unaligned(from + c + v));
    for (; c < n; c += lanes<T>, to += lanes<T>) {
        const int rest = int(n - c < lanes<T> ? n - c : lanes<T>);
        store_partial(to, load_partial(from + c, rest), rest);
    }
}

// Rows first … of the data set, in the given order (null: as they stand), to the rows of m.
template <class T>
void gather(const Matrix<T>& m, const T* data, const int64_t* order, int64_t first) {
    if (m.columns == 2) {  // points in the plane, and two outputs: one 8- or 16-byte move each
        struct Pair { T a, b; };
        for (int64_t r = 0; r < m.rows; ++r) {
            const int64_t from = order ? order[first + r] : first + r;
            std::memcpy(m.data + r * narrow_panel, data + 2 * from, sizeof(Pair));
        }
        return;
    }
    for (int64_t r = 0; r < m.rows; ++r) gather_row(m, r, data + (order ? order[first + r] : first + r) * m.columns);
}

}  // namespace chainrule
