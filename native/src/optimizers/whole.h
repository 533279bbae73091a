// What optimizers share that look at all numbers of a parameter at once.
#pragma once

#include <stdexcept>

#include "../parameter_matrix.h"
#include "elementwise.h"

namespace chainrule {

// An optimizer all of whose parameters are updated whole: what is kept of them and how they are updated says of_whole.
template <class T>
class WholeOptimizer : public Optimizer<T> {
public:
    int states() const final { return 0; }
    void update(const UpdateStep&, T*, const T*, T* const*, int64_t) const final { throw std::logic_error("this optimizer updates parameters whole"); }
};

// Σ x² of the numbers of a matrix, and the root of their mean.
template <class T>
double rms(const Matrix<T>& x) { return std::sqrt(sum_of_squares(x, 0) / (double(x.rows) * double(x.columns))); }

// f(place in memory, column, how many) for each piece of a row of at most sixteen columns.
template <class T, class F>
FORCE_INLINE void each_piece(const Matrix<T>& m, int64_t row, F f) {
    for (int64_t c = 0; c < m.columns; c += virtual_lanes)
        f(m.column_offset(c) + row * m.width(), c, int(m.columns - c < virtual_lanes ? m.columns - c : virtual_lanes));
}

// value = value · shrink - size · direction for n numbers of whole vectors
template <class T>
void step_along(T* value, double shrink, double size, const T* direction, int64_t n) {
    const Vec<T> keep = broadcast<T>(T(shrink)), length = broadcast<T>(T(size));
    for (int64_t i = 0; i < n; i += lanes<T>)
        store_unaligned(value + i, load_unaligned(value + i) * keep - length * load_unaligned(direction + i));
}

}  // namespace chainrule
