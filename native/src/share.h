// How a step is divided: among threads, and into pieces that fit a cache.
#pragma once

#include <cstdint>

namespace chainrule {

// What one thread does: rows, inputs or numbers are split, nothing is ever summed across threads. The first part is never
// empty: who has a layer's first inputs makes its bias, and layers of any width that share one have to leave it to the same.
struct Share {
    int index = 0, count = 1;

    // Bounds of this thread's part of n, in multiples of `unit`.
    int64_t begin(int64_t n, int64_t unit) const { return bound(n, unit, index); }
    int64_t end(int64_t n, int64_t unit) const { return bound(n, unit, index + 1); }

private:
    int64_t bound(int64_t n, int64_t unit, int part) const {
        if (count == 1) return part * n;  // without the division, which takes longer than a small layer's row
        int64_t units = (n + unit - 1) / unit, at = (units * part + count - 1) / count * unit;
        return at < n ? at : n;
    }
};

// f(begin, end) for chunks of rows from `begin` on, the last one up to twice as large as the others.
template <class F>
void each_chunk(int64_t begin, int64_t end, int64_t rows, F f) {
    for (int64_t stop; begin < end; begin = stop) {
        stop = end - begin < 2 * rows ? end : begin + rows;
        f(begin, stop);
    }
}

// Threads split the rows of a batch at multiples of this; partial sums of the loss are over this many rows.
inline constexpr int64_t row_block = 16;

}  // namespace chainrule
