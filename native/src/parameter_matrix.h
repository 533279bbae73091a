// How a parameter lies in memory: a weight as the products of Linear want it, a bias as one row.
#pragma once

#include "arena.h"
#include "plan.h"
#include "products/products.h"

namespace chainrule {

// Numbers in memory of a matrix, padding included.
template <class T>
int64_t matrix_size(int64_t rows, int64_t columns) {
    return checked_product(rows, round_up(columns, panel_width<T>(columns)));
}

// Does a row of what lies in memory hold one input's numbers, of all outputs? A kernel's rows go tap by tap, in each of them
// channel by channel.
inline bool is_transposed(const ParameterShape& shape) { return shape.taps > 0 || weight_is_transposed(shape.n_in, shape.n_out); }

template <class T>
Matrix<T> parameter_matrix(const ParameterShape& shape, T* data) {
    if (shape.n_in == 0) return Matrix<T>(data, 1, shape.n_out);
    return is_transposed(shape) ? Matrix<T>(data, shape.n_in, shape.n_out) : Matrix<T>(data, shape.n_out, shape.n_in);
}

// And how many numbers there are in memory, with the padding: whole vectors of any machine.
template <class T>
int64_t parameter_size(const ParameterShape& shape) {
    const Matrix<T> m = parameter_matrix<T>(shape, nullptr);
    return round_up(matrix_size<T>(m.rows, m.columns), 64);
}

// The place in memory of every number of a parameter, in Python's order.
template <class T, class F>
void each_place(const ParameterShape& shape, F f) {
    if (shape.n_in == 0) {
        for (int64_t o = 0; o < shape.n_out; ++o) f(o);
        return;
    }
    const bool transposed = is_transposed(shape);
    const int64_t taps = shape.taps > 0 ? shape.taps : 1, channels = shape.n_in / taps;
    const Matrix<T> m = parameter_matrix<T>(shape, nullptr);
    const int width = m.width();
    for (int64_t o = 0; o < shape.n_out; ++o)
        for (int64_t j = 0; j < shape.n_in; ++j) {
            const int64_t place = taps == 1 ? j : j % taps * channels + j / taps;
            const int64_t r = transposed ? place : o, c = transposed ? o : place;
            f((c / width) * m.pitch + r * width + c % width);
        }
}

}  // namespace chainrule
