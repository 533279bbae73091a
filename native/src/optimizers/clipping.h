// clip_norm, the part that looks at all parameters before any is updated. Twin of clip_grad_norm_ in
// chainrule.optimizers; what bounds each number by itself stands in elementwise.h.
#pragma once

#include <cmath>

#include "../panels.h"

namespace chainrule {

// Σ g² of a gradient whose elements are cut to ±clip_value first (0: not cut). Row by row over sixteen virtual lanes, so
// that the sum does not depend on how wide a panel is. Add those of all parameters, in their order.
template <class T>
double sum_of_squares(const Matrix<T>& gradient, double clip_value) {
    double squares = 0;
    const bool cut = clip_value > 0;
    const Vec<T> bound = broadcast<T>(T(clip_value));
    for (int64_t r = 0; r < gradient.rows; ++r) {
        Lanes16<T> sum = Lanes16<T>::zeros();
        for (int64_t c = 0; c < gradient.columns; c += virtual_lanes) {
            const int n = int(gradient.columns - c < virtual_lanes ? gradient.columns - c : virtual_lanes);
            Lanes16<T> g = Lanes16<T>::load_partial(gradient.data + gradient.column_offset(c) + r * gradient.width(), n);
            for (int j = 0; cut && j < Lanes16<T>::vectors; ++j) g.v[j] = at_most<T>(bound, at_least<T>(-bound, g.v[j]));
            sum.add_product(g, g);
        }
        squares += double(sum.sum());
    }
    return squares;
}

// By what clip_grad_norm_ multiplies all gradients, for the sum of squares of all of them: min(1, clip_norm / (norm + 1e-6)).
inline double clip_scale(double clip_norm, double squares) {
    const double scale = clip_norm / (std::sqrt(squares) + 1e-6);
    return scale < 1 ? scale : scale == scale ? 1 : scale;  // NaN stays NaN, as in PyTorch
}

}  // namespace chainrule
