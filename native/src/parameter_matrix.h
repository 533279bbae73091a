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

template <class T>
Matrix<T> parameter_matrix(const ParameterShape& shape, T* data) {
    return shape.n_in == 0 ? Matrix<T>(data, 1, shape.n_out) : weight_matrix<T>(data, shape.n_in, shape.n_out);
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
    const bool transposed = weight_is_transposed(shape.n_in, shape.n_out);
    const Matrix<T> m = parameter_matrix<T>(shape, nullptr);
    const int width = m.width();
    for (int64_t o = 0; o < shape.n_out; ++o)
        for (int64_t j = 0; j < shape.n_in; ++j) {
            const int64_t r = transposed ? j : o, c = transposed ? o : j;
            f((c / width) * m.pitch + r * width + c % width);
        }
}

}  // namespace chainrule
