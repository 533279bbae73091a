// Linear on a single row: matrix times vector, where nothing is reused and the chain of additions is what takes time.
//
// forward   four chains over k (k mod 4), added as (0 + 1) + (2 + 3)
// backward  for sixteen inputs at a time: dx as dot products along the rows of Wᵀ, then the update of these same rows
//           while they are in the nearest cache. No transposed weights at all.
#pragma once

#include "../eight.h"
#include "products.h"

namespace chainrule {

namespace linear_row {

template <class T, int NV, int w_step>
FORCE_INLINE void forward_tile(const Matrix<T>& x, const T* w, const T* bias, T* y, bool relu) {
    constexpr int chains = 4;
    Vec<T> c[chains][NV];
#pragma GCC unroll 4
    for (int q = 0; q < chains; ++q)
#pragma GCC unroll 2
        for (int v = 0; v < NV; ++v) c[q][v] = q == 0 ? load_unaligned(bias + v * lanes<T>) : Vec<T>{};
    const int width = x.width();
    const T* xk = x.data;
    for (int64_t left = x.columns; left > 0; left -= width, xk += x.pitch) {
        const int64_t n = left < width ? left : width;
        int64_t k = 0;
        for (; k + chains <= n; k += chains) {
#pragma GCC unroll 4
            for (int q = 0; q < chains; ++q) {
                const Vec<T> xq = broadcast<T>(xk[k + q]);
#pragma GCC unroll 2
                for (int v = 0; v < NV; ++v) c[q][v] = fma(xq, load_unaligned(w + q * w_step + v * lanes<T>), c[q][v]);
            }
            w += chains * w_step;
        }
#pragma GCC unroll 3
        for (int q = 0; q < chains - 1; ++q) {
            if (k + q >= n) break;
            const Vec<T> xq = broadcast<T>(xk[k + q]);
#pragma GCC unroll 2
            for (int v = 0; v < NV; ++v) c[q][v] = fma(xq, load_unaligned(w + v * lanes<T>), c[q][v]);
            w += w_step;
        }
    }
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) {
        Vec<T> sum = (c[0][v] + c[1][v]) + (c[2][v] + c[3][v]);
        if (relu) sum = positive_part<T>(sum);
        if constexpr (w_step < lanes<T>) store_partial(y + v * lanes<T>, sum, w_step);
        else store_unaligned(y + v * lanes<T>, sum);
    }
}

// Narrow outputs: N dot products of one row.
template <class T, int N>
NO_INLINE void forward_narrow(const Matrix<T>& x, const Matrix<T>& w, const T* bias, T* y, bool relu) {
    Lanes16<T> sums[N];
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) sums[j] = Lanes16<T>::zeros();
    const int64_t panels = x.panels();
    for (int64_t p = 0; p < panels; ++p)
#pragma GCC unroll 2
        for (int c = 0; c < panel<T>; c += virtual_lanes) {  // x is wide here
            const Lanes16<T> xc = Lanes16<T>::load(x.data + p * x.pitch + c);
#pragma GCC unroll 8
            for (int j = 0; j < N; ++j) sums[j].add_product(xc, Lanes16<T>::load(w.data + p * w.pitch + j * panel<T> + c));
        }
    Eight<T> all = Eight<T>::zeros();  // written as one vector, as it will be read
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) {
        const T value = sums[j].sum() + bias[j];
        all.v[j / Eight<T>::width][j % Eight<T>::width] = relu && value < 0 ? T(0) : value;
    }
    all.store(y);
}

enum class Into { gradient, gradient_sum, weight, nowhere };

// dx (if wanted) and dW, all of one row: stored, added to earlier gradients, as a step of the weights, or not at all. W is
// transposed (n_in × n_out); XS and WS are the panel widths of x and W.
template <class T, bool WithDx, Into into, int XS, int WS>
NO_INLINE void backward(const Matrix<T>& x, const Matrix<T>& dy, const Matrix<T>& weight, const Matrix<T>& dx,
                        const ReluMask<T>& mask, const LinearGradient<T>& to) {
    constexpr int L = lanes<T>;
    constexpr int chunk = WS < virtual_lanes ? WS : virtual_lanes;  // a panel of 8 fills half of the virtual lanes
    constexpr int V = Lanes16<T>::vectors;
    constexpr int chunks = V == 1 && WS == 2 * chunk ? 2 : 1;  // two where there are registers: one broadcast serves both
    // Copies, because stores of vectors may alias the views as far as the compiler knows.
    const int64_t n_in = x.columns, panels = weight.panels(), x_pitch = x.pitch, dy_pitch = dy.pitch, w_pitch = weight.pitch;
    const T *const x_data = x.data, *const dy_data = dy.data, *const w_data = weight.data;
    // A step of -lr dy, so that one multiply-add updates a weight; or dy itself, for the gradient.
    const Vec<T> factor = broadcast<T>(to.update ? -to.lr : T(1));
    T* const out = to.update ? to.weight_value : to.weight;
    const Finish finish = finish_with(mask);
    for (int64_t k0 = 0; k0 < n_in; k0 += L) {
        const int n = int(n_in - k0 < L ? n_in - k0 : L);
        const int64_t x_offset = k0 / XS * x_pitch + k0 % XS;
        const T* x_group = x_data + x_offset;
        Lanes16<T> sums[L];
#pragma GCC unroll 16
        for (int i = 0; i < L; ++i) sums[i] = Lanes16<T>::zeros();
        for (int64_t p = 0; p < panels; ++p)
#pragma GCC unroll 2
            for (int c0 = 0; c0 < WS; c0 += chunks * chunk) {
                const int64_t at = p * w_pitch + k0 * WS + c0;
                const T* const w_at = w_data + at;
                T* const out_at = out + at;
                Lanes16<T> dyc[chunks], step[chunks];
#pragma GCC unroll 2
                for (int c = 0; c < chunks; ++c) {
                    dyc[c] = Lanes16<T>::load_partial(dy_data + p * dy_pitch + c0 + c * chunk, chunk);
#pragma GCC unroll 4
                    for (int v = 0; v < V; ++v) step[c].v[v] = dyc[c].v[v] * factor;
                }
                auto row = [&](int i) ALWAYS_INLINE {
                    const Vec<T> xi = broadcast<T>(x_group[i]);
#pragma GCC unroll 2
                    for (int c = 0; c < chunks; ++c)
#pragma GCC unroll 4
                        for (int v = 0; v * L < chunk; ++v) {
                            const int offset = i * WS + c * chunk + v * L;
                            T* place = out_at + offset;
                            Vec<T> old{}, w{};
                            if constexpr (WithDx || into == Into::weight) w = hide(load_unaligned(w_at + offset));  // loaded once
                            if constexpr (into == Into::weight) old = w;
                            if constexpr (into == Into::gradient_sum) old = load_unaligned(place);
                            if constexpr (WithDx) sums[i].v[v] = fma(dyc[c].v[v], w, sums[i].v[v]);
                            if constexpr (into == Into::nowhere) continue;
                            const Vec<T> new_value = into == Into::gradient ? xi * step[c].v[v] : fma(xi, step[c].v[v], old);
                            if constexpr (L > chunk) store_partial(place, new_value, chunk);
                            else store_unaligned(place, new_value);
                        }
                };
                if (n == L) {
#pragma GCC unroll 16
                    for (int i = 0; i < L; ++i) row(i);
                } else {
#pragma GCC unroll 16
                    for (int i = 0; i < L; ++i)
                        if (i < n) row(i);
                }
            }
        if constexpr (WithDx) {
            Vec<T> dx_group = sum_each<T>(sums);
            dx_group = linear::finished<T>(finish, dx_group, mask.at + x_offset, &mask.scale);
            T* at = dx.data + k0 / XS * dx.pitch + k0 % XS;  // aside it has rows of its own
            if constexpr (L > XS) {
                store_partial(at, dx_group, XS);
            } else {
                store_unaligned(at, dx_group);
                if (n_in - k0 <= L)  // the rest of the padding
                    for (int64_t c = k0 % XS + L; c < XS; c += L) store_unaligned(at + c - k0 % XS, Vec<T>{});
            }
        }
    }
}

template <class T, bool WithDx>
FORCE_INLINE void backward_by_width(const Matrix<T>& x, const Matrix<T>& dy, const Matrix<T>& weight, const Matrix<T>& dx,
                                    const ReluMask<T>& mask, const LinearGradient<T>& to) {
    auto go = [&](auto where) ALWAYS_INLINE {
        constexpr Into into = decltype(where)::value;
        if (!x.is_narrow()) backward<T, WithDx, into, panel<T>, panel<T>>(x, dy, weight, dx, mask, to);
        else if (!weight.is_narrow()) backward<T, WithDx, into, narrow_panel, panel<T>>(x, dy, weight, dx, mask, to);
        else backward<T, WithDx, into, narrow_panel, narrow_panel>(x, dy, weight, dx, mask, to);
    };
    if (!to.weight) go(std::integral_constant<Into, Into::nowhere>{});
    else if (to.update) go(std::integral_constant<Into, Into::weight>{});
    else if (to.add) go(std::integral_constant<Into, Into::gradient_sum>{});
    else go(std::integral_constant<Into, Into::gradient>{});
}

// db, which is dy.
template <class T>
FORCE_INLINE void backward_bias(const Matrix<T>& dy, const LinearGradient<T>& to) {
    const T factor = to.update ? -to.lr : T(1);
    const bool adds = to.update || to.add;
    const T* d = dy.data;
    T* b = to.update ? to.bias_value : to.bias;
    if (dy.is_narrow()) {
        const Eight<T> old = adds ? Eight<T>::load(b) : Eight<T>::zeros();
        return Eight<T>::fma(Eight<T>::load(d), Eight<T>::all(factor), old).store(b);
    }
    const int64_t pitch = dy.pitch;
    for (int64_t left = dy.columns; left > 0; left -= panel<T>, d += pitch, b += panel<T>)
#pragma GCC unroll 2
        for (int c = 0; c < panel<T>; c += lanes<T>)
            store_unaligned(b + c, fma(load_unaligned(d + c), broadcast<T>(factor), adds ? load_unaligned(b + c) : Vec<T>{}));
}

}  // namespace linear_row

// y = x Wᵀ + b for one row.
template <class T>
FORCE_INLINE void linear_row_forward(const Matrix<T>& x, const Matrix<T>& weight, const T* bias, const Matrix<T>& y, Finish finish) {
    const bool relu = finish == Finish::relu;
    if (!weight_is_transposed(x.columns, y.columns)) {
        if (y.columns == 1) return linear_row::forward_narrow<T, 1>(x, weight, bias, y.data, relu);
        if (y.columns == 2) return linear_row::forward_narrow<T, 2>(x, weight, bias, y.data, relu);
        linear::with_count(int(y.columns), [&](auto n) ALWAYS_INLINE {
            linear_row::forward_narrow<T, decltype(n)::value>(x, weight, bias, y.data, relu);
        });
        return;
    }
    linear::each_column_tile<T>(y.columns, [&](int64_t j, int vectors) ALWAYS_INLINE {
        const T* w = linear::at_column(weight, j);
        T* out = linear::at_column(y, j);
        if (vectors == 2 && !weight.is_narrow()) linear_row::forward_tile<T, 2, panel<T>>(x, w, bias + j, out, relu);
        else if (!weight.is_narrow()) linear_row::forward_tile<T, 1, panel<T>>(x, w, bias + j, out, relu);
        else if (vectors == 2) linear_row::forward_tile<T, 2, narrow_panel>(x, w, bias + j, out, relu);
        else linear_row::forward_tile<T, 1, narrow_panel>(x, w, bias + j, out, relu);
    });
}

// Everything that goes back through a Linear for one row; dx.data null: not wanted, to.weight null: frozen. dx may be x's
// memory.
template <class T>
FORCE_INLINE void linear_row_backward(const Matrix<T>& x, const Matrix<T>& dy, const Matrix<T>& weight, const Matrix<T>& dx,
                         const ReluMask<T>& mask, const LinearGradient<T>& to) {
    if (weight_is_transposed(x.columns, dy.columns)) {
        if (dx.data) linear_row::backward_by_width<T, true>(x, dy, weight, dx, mask, to);
        else if (to.weight) linear_row::backward_by_width<T, false>(x, dy, weight, dx, mask, to);
    } else if (!to.weight) {
        if (dx.data) linear_dx<T>(dy, weight, {}, nullptr, dx, mask);
    } else {
        if (!dx.data) return linear_gradient<T>(x, dy, to, 0, x.columns);
        linear_backward_narrow<T>(x, dy, weight, dx, mask, to);
    }
    if (to.bias) linear_row::backward_bias<T>(dy, to);
}

}  // namespace chainrule
