// Products of a narrow layer, n_out <= 8: dot products along the rows of W, which run over sixteen virtual lanes and are
// summed by the halving tree (vec.h); and both gradients in one pass over x.
#pragma once

#include "tiles.h"

namespace chainrule {

namespace linear {

// y[r][j] = bias[j] + Σ_c x[r][c] w[j][c] for N <= 8 rows of w. Each dot product runs over sixteen virtual lanes and
// is summed by the halving tree (vec.h); `lanes` of them are summed at once by transposing.
template <class T, int N>
NO_INLINE void dots(const Matrix<T>& x, const Matrix<T>& w, const Matrix<T>& y, const T* bias, Finish finish,
                    ReluMask<T> mask) {
    constexpr int L = lanes<T>;
    constexpr int padded = N <= 1 ? 1 : N <= 2 ? 2 : N <= 4 ? 4 : 8;  // outputs, as a power of two
    constexpr int per_row = padded < L ? padded : L;                 // sums of one row in a vector
    constexpr int group = L / per_row;                               // rows in a vector
    constexpr int width = panel<T>;                                  // x is wide here
    const int64_t rows = x.rows, panels = x.panels(), x_pitch = x.pitch, w_pitch = w.pitch;
    const T *const x_data = x.data, *const w_data = w.data;
    T* const y_data = y.data;
    T biases[N <= per_row ? L : 2 * narrow_panel] = {};  // in the order of the sums
    if (bias)
        for (int g = 0; g < (N <= per_row ? group : 1); ++g)
            for (int j = 0; j < N; ++j) biases[g * per_row + j] = bias[j];

    for (int64_t r = 0; r < rows; r += group) {
        const int in_group = int(rows - r < group ? rows - r : group);
        const T* row[group];
#pragma GCC unroll 16
        for (int g = 0; g < group; ++g) row[g] = x_data + (r + (g < in_group ? g : in_group - 1)) * width;
#pragma GCC unroll 4
        for (int j0 = 0; j0 < N; j0 += per_row) {
            const int outputs = N - j0 < per_row ? N - j0 : per_row;
            Lanes16<T> sums[L];
#pragma GCC unroll 16
            for (int i = 0; i < L; ++i) sums[i] = Lanes16<T>::zeros();
            for (int64_t p = 0; p < panels; ++p)
#pragma GCC unroll 2
                for (int c = 0; c < width; c += virtual_lanes) {
                    Lanes16<T> wj[per_row] = {};
#pragma GCC unroll 8
                    for (int j = 0; j < per_row; ++j)
                        if (j < outputs) wj[j] = Lanes16<T>::load(w_data + p * w_pitch + (j0 + j) * width + c);
#pragma GCC unroll 16
                    for (int g = 0; g < group; ++g) {
                        const Lanes16<T> xr = Lanes16<T>::load(row[g] + p * x_pitch + c);
#pragma GCC unroll 8
                        for (int j = 0; j < per_row; ++j)
                            if (j < outputs) sums[g * per_row + j].add_product(xr, wj[j]);
                    }
                }
            Vec<T> value = sum_each<T>(sums) + load_unaligned(biases + j0);
            if (finish == Finish::relu) value = positive_part<T>(value);
            if (finish == Finish::scaled_relu_mask) value *= broadcast<T>(mask.scale);
            T lane[L];
            store_unaligned(lane, value);
            for (int g = 0; g < in_group; ++g) {
                T* at = y_data + (r + g) * narrow_panel + j0;
                const T* mask_at = mask.at + (at - y_data);
#pragma GCC unroll 8
                for (int j = 0; j < per_row; ++j) {
                    if (j >= outputs) continue;
                    const T one = lane[g * per_row + j];
                    at[j] = mask.at && mask_at[j] <= 0 ? T(0) : one;
                }
            }
        }
    }
}

template <class F>
FORCE_INLINE void with_count(int n, F f) {
    switch (n) {
        case 1: return f(std::integral_constant<int, 1>{});
        case 2: return f(std::integral_constant<int, 2>{});
        case 3: return f(std::integral_constant<int, 3>{});
        case 4: return f(std::integral_constant<int, 4>{});
        case 5: return f(std::integral_constant<int, 5>{});
        case 6: return f(std::integral_constant<int, 6>{});
        case 7: return f(std::integral_constant<int, 7>{});
        default: return f(std::integral_constant<int, 8>{});
    }
}

// dx = dy W and dW = dyᵀ x of a narrow layer (W is n_out × n_in, n_out = N), in one pass over x; dx may be x's memory.
// Columns begin … end - 1 of x (multiples of a vector).
template <class T, int N, bool WithDx, bool WithGradient>
NO_INLINE void narrow_backward(const Matrix<T>& x, const Matrix<T>& dy, const Matrix<T>& w, const Matrix<T>& dx,
                               ReluMask<T> mask, const LinearGradient<T>& to, int64_t begin, int64_t end) {
    constexpr int NV = N <= 4 ? 2 : 1;
    const Vec<T> minus_lr = broadcast<T>(-to.lr);
    for (int64_t c = begin; c < end; c += NV * lanes<T>) {
        Vec<T> weight[N][NV], gradient[N][NV];
        constexpr int width = panel<T>;  // x is wide here
        const int64_t offset = w.column_offset(c), rows = x.rows;
        const T *const x_tile = at_column(x, c), *const dy_data = dy.data;
#pragma GCC unroll 8
        for (int j = 0; j < N; ++j)
#pragma GCC unroll 2
            for (int v = 0; v < NV; ++v) {
                const int64_t at = offset + j * width + v * lanes<T>;
                weight[j][v] = load_unaligned(w.data + at);
                gradient[j][v] = WithGradient && to.add ? load_unaligned(to.weight + at) : Vec<T>{};
            }
        T* dx_tile = WithDx ? at_column(dx, c) : nullptr;
        const int64_t mask_offset = WithDx && mask.at ? mask.at - dx.data : 0;
        const auto each_row = [&](auto finish) ALWAYS_INLINE {
            for (int64_t r = 0; r < rows; ++r) {
                Vec<T> xr[NV], dxr[NV];
#pragma GCC unroll 2
                for (int v = 0; v < NV; ++v) {
                    if (WithGradient) xr[v] = load_unaligned(x_tile + r * width + v * lanes<T>);
                    dxr[v] = Vec<T>{};
                }
#pragma GCC unroll 8
                for (int j = 0; j < N; ++j) {
                    const Vec<T> dyj = broadcast<T>(dy_data[r * narrow_panel + j]);
#pragma GCC unroll 2
                    for (int v = 0; v < NV; ++v) {
                        if (WithDx) dxr[v] = fma(dyj, weight[j][v], dxr[v]);
                        if (WithGradient) gradient[j][v] = fma(dyj, xr[v], gradient[j][v]);
                    }
                }
                if (WithDx) {
#pragma GCC unroll 2
                    for (int v = 0; v < NV; ++v) {
                        T* at = dx_tile + r * width + v * lanes<T>;
                        store_unaligned(at, finished<T>(decltype(finish)::value, dxr[v], at + mask_offset, &mask.scale));
                    }
                }
            }
        };
        // A loop for each: one test or multiplication more in a row takes 3 % of a step of 25-wide layers with 10 samples.
        const Finish finish = WithDx ? finish_with(mask) : Finish::plain;
        if (finish == Finish::relu_mask) each_row(std::integral_constant<Finish, Finish::relu_mask>{});
        else if (finish == Finish::scaled_relu_mask) each_row(std::integral_constant<Finish, Finish::scaled_relu_mask>{});
        else each_row(std::integral_constant<Finish, Finish::plain>{});
        if (WithGradient) {
            if (c + NV * lanes<T> > w.columns) {  // x's padding may be other than 0 (a sigmoid's is 1/2), the weights' may not
#pragma GCC unroll 2
                for (int v = 0; v < NV; ++v) {
                    const Mask<T> real = first_lanes<T>(int(w.columns - c) - v * lanes<T>);
#pragma GCC unroll 8
                    for (int j = 0; j < N; ++j) gradient[j][v] = keep<T>(real, gradient[j][v]);
                }
            }
#pragma GCC unroll 8
            for (int j = 0; j < N; ++j)
#pragma GCC unroll 2
                for (int v = 0; v < NV; ++v) {
                    const int64_t at = offset + j * width + v * lanes<T>;
                    if (to.update) store_unaligned(to.weight_value + at, fma(minus_lr, gradient[j][v], weight[j][v]));
                    else store_unaligned(to.weight + at, gradient[j][v]);
                }
        }
    }
}

// db of a narrow layer: Σ_rows dy, block of k after block. In a block four rows at a time in two Lanes16, so that the chain
// of additions is short.
template <class T>
void narrow_bias_gradient(const Matrix<T>& dy, const LinearGradient<T>& to) {
    T total[narrow_panel] = {};
    if (to.add)
        for (int j = 0; j < narrow_panel; ++j) total[j] = to.bias[j];
    for (int64_t begin = 0; begin < dy.rows; begin += to.block) {
        Lanes16<T> even = Lanes16<T>::zeros(), odd = Lanes16<T>::zeros();
        const T* p = dy.data + begin * narrow_panel;
        int64_t n = (dy.rows - begin < to.block ? dy.rows - begin : to.block) * narrow_panel;
        for (; n >= 2 * virtual_lanes; n -= 2 * virtual_lanes, p += 2 * virtual_lanes) {
            even.add(Lanes16<T>::load(p));
            odd.add(Lanes16<T>::load(p + virtual_lanes));
        }
        if (n > 0) even.add(Lanes16<T>::load_partial(p, int(n < virtual_lanes ? n : virtual_lanes)));
        if (n > virtual_lanes) odd.add(Lanes16<T>::load_partial(p + virtual_lanes, int(n - virtual_lanes)));
        even.add(odd);
        T sums[virtual_lanes];
        for (int j = 0; j < Lanes16<T>::vectors; ++j) store_unaligned(sums + j * lanes<T>, even.v[j]);
        const bool first = begin == 0 && !to.add;
        for (int j = 0; j < narrow_panel; ++j) {
            const T g = sums[j] + sums[j + narrow_panel];
            total[j] = first ? g : g + total[j];
        }
    }
    for (int j = 0; j < narrow_panel; ++j) {
        if (to.update) to.bias_value[j] = fma(-to.lr, total[j], to.bias_value[j]);
        else to.bias[j] = total[j];
    }
}

}  // namespace linear

}  // namespace chainrule
