// Linear: y = x Wᵀ + b, and its three gradients. Twin of chainrule.layers.Linear.
//
//     forward   y  = x Wᵀ + b        x (batch, n_in), weight (n_out, n_in), y (batch, n_out)
//     backward  dx = dy W            dW = dyᵀ x            db = Σ_rows dy
//
// How the weights lie:
//     n_out > 8              `weight` is Wᵀ (n_in × n_out): rows of it are B of the forward product, and of dWᵀ = xᵀ dy.
//     n_out <= 8 < n_in      `weight` is W (n_out × n_in): "narrow", dot products instead of tiles.
//     n_out, n_in <= 8       Wᵀ again, in panels of 8: "tiny".
#pragma once

#include "narrow.h"
#include "tiles.h"

namespace chainrule {

// The layout of a weight, and of everything that goes with it (gradient, optimizer state).
inline bool weight_is_transposed(int64_t n_in, int64_t n_out) { return n_out > narrow_panel || n_in <= narrow_panel; }

template <class T>
Matrix<T> weight_matrix(T* data, int64_t n_in, int64_t n_out) {
    return weight_is_transposed(n_in, n_out) ? Matrix<T>(data, n_in, n_out) : Matrix<T>(data, n_out, n_in);
}

// y = x Wᵀ + b, and ReLU on top if asked. `bias` has n_out numbers, padded to whole panels by 0 (zeros for no bias).
template <class T>
void linear_forward(const Matrix<T>& x, const Matrix<T>& weight, const T* bias, const Matrix<T>& y, Finish finish) {
    if (weight_is_transposed(x.columns, y.columns)) return linear::multiply<T>(x, weight, y, bias, finish);
    linear::with_count(int(y.columns), [&](auto n) ALWAYS_INLINE {
        linear::dots<T, decltype(n)::value>(x, weight, y, bias, finish, {});
    });
}

// dx = dy W, and ReLU's derivative on top if `mask` is given (dx's own layout; may be dx if n_out <= k_block).
// `transposed` is W as n_out × n_in if n_out > 8 and n_in > 8, or both are at most 8 (see linear_transpose).
template <class T>
void linear_dx(const Matrix<T>& dy, const Matrix<T>& weight, const Matrix<T>& transposed, const T* zeros,
               const Matrix<T>& dx, ReluMask<T> mask) {
    const Finish finish = finish_with(mask);
    const int64_t n_in = dx.columns, n_out = dy.columns;
    if (!weight_is_transposed(n_in, n_out)) {
        linear::with_count(int(n_out), [&](auto n) ALWAYS_INLINE {
            linear::narrow_backward<T, decltype(n)::value, true, false>(dx, dy, weight, dx, mask, {}, 0,
                                                                        round_up(n_in, panel<T>));
        });
    } else if (n_in <= narrow_panel && n_out > narrow_panel) {
        linear::with_count(int(n_in), [&](auto n) ALWAYS_INLINE {
            linear::dots<T, decltype(n)::value>(dy, weight, dx, nullptr, finish, mask);
        });
    } else {
        linear::multiply<T>(dy, transposed, dx, zeros, finish, mask);
        linear::clear_unwritten_padding(dx);
    }
}

inline bool dx_needs_transpose(int64_t n_in, int64_t n_out) {
    return (n_in > narrow_panel && n_out > narrow_panel) || (n_in <= narrow_panel && n_out <= narrow_panel);
}

// dW and db. Inputs begin … end - 1 only (for threads): bounds are multiples of a panel, or n_in.
template <class T>
void linear_gradient(const Matrix<T>& x, const Matrix<T>& dy, const LinearGradient<T>& to, int64_t begin, int64_t end) {
    if (weight_is_transposed(x.columns, dy.columns)) return linear::gradient_transposed(x, dy, to, begin, end);
    const Matrix<T> weight(to.update ? to.weight_value : to.weight, dy.columns, x.columns);
    if (begin == 0 && to.bias) linear::narrow_bias_gradient(dy, to);
    linear::with_count(int(dy.columns), [&](auto n) ALWAYS_INLINE {
        linear::narrow_backward<T, decltype(n)::value, false, true>(x, dy, weight, x, {}, to, begin,
                                                                    round_up(end, panel<T>));
    });
}

// dx (if it has memory) and the gradients (if they have) of inputs begin … end - 1, in one pass over the weights: a block of inputs by
// outputs is transposed into `packed`, read for dx, and updated while it is still in the nearest cache. For weights of
// more than a narrow panel on either side; dx must not be x's memory. packed: a panel of k_block + narrow_panel rows.
template <class T>
void linear_backward_blocks(const Matrix<T>& x, const Matrix<T>& dy, const Matrix<T>& weight, T* packed, const T* zeros,
                            const Matrix<T>& dx, ReluMask<T> mask, const LinearGradient<T>& to, int64_t begin, int64_t end) {
    const int64_t n_out = dy.columns;
    auto outputs = [](Matrix<T> m, int64_t from, int64_t count) {
        m.data += m.column_offset(from);
        m.columns = count;
        return m;
    };
    for (int64_t c = begin; c < end; c += panel<T>) {
        const int64_t stop = end - c < panel<T> ? end : c + panel<T>;
        for (int64_t k = 0, depth; k < n_out; k += depth) {
            depth = n_out - k <= k_block + narrow_panel ? n_out - k : k_block;  // what is left must not be narrow
            const Matrix<T> dy_block = outputs(dy, k, depth);
            if (dx.data) {
                const Matrix<T> w(packed, depth, panel<T>);
                transpose<T>(outputs(weight, k, depth).slice(c, stop), w, 0, depth);
                Matrix<T> part = dx;
                part.data += dx.column_offset(c);
                part.columns = panel<T>;  // the padding of the last panel comes out as 0
                const Finish finish = k + depth == n_out ? finish_with(mask) : Finish::plain;
                linear::multiply<T>(dy_block, w, part, k == 0 ? zeros : nullptr, finish,
                                    {mask.at ? mask.at + (part.data - dx.data) : nullptr, mask.scale});
            }
            if (!to.weight) continue;  // it is frozen
            LinearGradient<T> block = to;
            const int64_t offset = weight.column_offset(k);
            block.weight += offset;
            if (to.weight_value) block.weight_value += offset;
            if (to.bias) block.bias += k;
            if (to.bias_value) block.bias_value += k;
            linear::gradient_transposed(x, dy_block, block, c, stop);
        }
    }
}

// dx and dW of a narrow layer in one pass (db is narrow_bias_gradient's); dx may be x's memory.
template <class T>
void linear_backward_narrow(const Matrix<T>& x, const Matrix<T>& dy, const Matrix<T>& weight, const Matrix<T>& dx,
                            ReluMask<T> mask, const LinearGradient<T>& to) {
    linear::with_count(int(dy.columns), [&](auto n) ALWAYS_INLINE {
        linear::narrow_backward<T, decltype(n)::value, true, true>(x, dy, weight, dx, mask, to, 0,
                                                                   round_up(x.columns, panel<T>));
    });
}

#define LINEAR(LINKAGE, T) \
    LINKAGE template void linear::multiply<T>(const Matrix<T>&, const Matrix<T>&, const Matrix<T>&, const T*, Finish, ReluMask<T>); \
    LINKAGE template void linear_forward<T>(const Matrix<T>&, const Matrix<T>&, const T*, const Matrix<T>&, Finish); \
    LINKAGE template void linear_dx<T>(const Matrix<T>&, const Matrix<T>&, const Matrix<T>&, const T*, const Matrix<T>&, ReluMask<T>); \
    LINKAGE template void linear_gradient<T>(const Matrix<T>&, const Matrix<T>&, const LinearGradient<T>&, int64_t, int64_t); \
    LINKAGE template void linear_backward_blocks<T>(const Matrix<T>&, const Matrix<T>&, const Matrix<T>&, T*, const T*, \
                                                     const Matrix<T>&, ReluMask<T>, const LinearGradient<T>&, int64_t, int64_t); \
    LINKAGE template void linear_backward_narrow<T>(const Matrix<T>&, const Matrix<T>&, const Matrix<T>&, const Matrix<T>&, \
                                                     ReluMask<T>, const LinearGradient<T>&)
LINEAR(extern, float);  // here only announced: layers/linear.cpp makes them
LINEAR(extern, double);

}  // namespace chainrule
