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

#include "../microkernel.h"

namespace chainrule {

// The layout of a weight, and of everything that goes with it (gradient, optimizer state).
inline bool weight_is_transposed(int64_t n_in, int64_t n_out) { return n_out > narrow_panel || n_in <= narrow_panel; }

template <class T>
Matrix<T> weight_matrix(T* data, int64_t n_in, int64_t n_out) {
    return weight_is_transposed(n_in, n_out) ? Matrix<T>(data, n_in, n_out) : Matrix<T>(data, n_out, n_in);
}

// What rides on the last step of a product: nothing, y = max(0, y), or ReLU's derivative: dx where y > 0 (or NaN), else 0.
enum class Finish { plain, relu, relu_mask };

namespace linear {

template <class T>
FORCE_INLINE Vec<T> finished(Finish finish, Vec<T> value, const T* mask_at) {
    if (finish == Finish::relu) return positive_part<T>(value);
    if (finish == Finish::relu_mask) return keep<T>(passes_relu<T>(load_unaligned(mask_at)), value);
    return value;
}

// ---- C = start + A B, A walked by rows: forward and dx -----------------------------------------------------------

template <class T>
using RowsTile = void (*)(const T* a, int64_t a_pitch, const T* b, int64_t b_step, int64_t depth, T* c, int64_t c_step,
                          const T* start, Finish finish, int64_t mask_offset);

// start: one vector for all rows (a bias), or null to go on from what C holds. mask: at C's place + mask_offset.
template <class T, int MR, int NV, int S>
NO_INLINE void rows_tile(const T* a, int64_t a_pitch, const T* b, int64_t b_step, int64_t depth, T* c, int64_t c_step,
                         const T* start, Finish finish, int64_t mask_offset) {
    const bool half = lanes<T> > narrow_panel && NV == 1 && c_step == narrow_panel;  // beyond it lies a row of somebody else's
    auto begin = [&](int i, int v) ALWAYS_INLINE {
        if (start) return load_unaligned(start + v * lanes<T>);
        const T* at = c + i * c_step + v * lanes<T>;
        return half ? load_partial(at, narrow_panel) : load_unaligned(at);
    };
    auto put = [&](auto finish_kind) ALWAYS_INLINE {
        return [=](int i, int v, Vec<T> value) ALWAYS_INLINE {
            T* at = c + i * c_step + v * lanes<T>;
            value = finished<T>(finish_kind(), value, at + mask_offset);
            if (half) store_partial(at, value, narrow_panel);
            else store_unaligned(at, value);
        };
    };
    tile<T, MR, NV, Rows<S>, false>(a, a_pitch, b, b_step, depth, begin, put([=]() ALWAYS_INLINE { return finish; }),
                                    [](int, Vec<T>) ALWAYS_INLINE {});
}

template <class Tile>
struct Table { Tile by_rows[max_tile_rows]; };

template <class T, int NV, int S, int... I>
constexpr Table<RowsTile<T>> rows_tiles(std::integer_sequence<int, I...>) {
    return {{rows_tile<T, I + 1, NV, S>...}};
}

template <class T, int NV, int S>
inline constexpr Table<RowsTile<T>> rows_table = rows_tiles<T, NV, S>(std::make_integer_sequence<int, max_tile_rows>{});

template <class T>
FORCE_INLINE RowsTile<T> rows_tile_for(int rows, int vectors, int width) {
    if (width == narrow_panel)
        return (vectors == 1 ? rows_table<T, 1, narrow_panel> : rows_table<T, 2, narrow_panel>).by_rows[rows - 1];
    return (vectors == 1 ? rows_table<T, 1, panel<T>> : rows_table<T, 2, panel<T>>).by_rows[rows - 1];
}

// The columns of a matrix, in tiles of two vectors (the last one may be a single vector).
template <class T, class F>
FORCE_INLINE void each_column_tile(int64_t columns, F each) {
    for (int64_t j = 0; j < columns; j += tile_columns<T>) each(j, columns - j > lanes<T> ? 2 : 1);
}

template <class T>
FORCE_INLINE T* at_column(const Matrix<T>& m, int64_t j) { return m.data + m.column_offset(j); }

// c = bias + a b for rows of a; without a bias, c + a b. mask: the matrix whose sign is ReLU's mask, laid out as c (it
// may be c itself unless a's columns exceed a block of k).
template <class T>
void multiply(const Matrix<T>& a, const Matrix<T>& b, const Matrix<T>& c, const T* bias, Finish finish,
              const T* mask = nullptr) {
    const int64_t depth = a.columns;
    const int a_width = a.width(), b_width = b.width(), c_width = c.width();
    const int64_t mask_offset = mask ? mask - c.data : 0;
    each_column_tile<T>(c.columns, [&](int64_t j, int vectors) ALWAYS_INLINE {
        const T* b_tile = at_column(b, j);
        T* c_tile = at_column(c, j);
        for (int64_t k = 0; k < depth; k += k_block) {
            const bool last = k + k_block >= depth;
            split_evenly(c.rows, max_tile_rows, [&](int64_t row, int rows) ALWAYS_INLINE {
                rows_tile_for<T>(rows, vectors, a_width)(
                    a.data + a.column_offset(k) + row * a_width, a.pitch, b_tile + k * b_width, b_width,
                    last ? depth - k : k_block, c_tile + row * c_width, c_width, k == 0 && bias ? bias + j : nullptr,
                    last ? finish : Finish::plain, mask_offset);
            });
        }
    });
}

// Sets the padding that no tile wrote to 0 (dx only; see panels.h).
template <class T>
void clear_unwritten_padding(const Matrix<T>& m) {
    const int width = m.width();
    const int written = m.is_narrow() ? narrow_panel : int(round_up((m.columns - 1) % panel<T> + 1, lanes<T>));
    if (written >= width) return;
    for (int64_t r = 0; r < m.rows; ++r) {
        T* row = m.row(m.panels() - 1, r);
        for (int c = written; c < width; c += lanes<T>) store_unaligned(row + c, Vec<T>{});
    }
}

// ---- dWᵀ = xᵀ dy and db: A walked by columns ---------------------------------------------------------------------

}  // namespace linear

// Where a Linear's gradients go.
template <class T>
struct LinearGradient {
    T* weight = nullptr;   // laid out as the weight
    T* bias = nullptr;     // null: no bias
    bool add = false;      // add to what is there; otherwise overwrite
    bool update = false;   // do not keep the gradient: weight -= lr · gradient (plain SGD), in the same pass
    T lr = 0;
    T* weight_value = nullptr;
    T* bias_value = nullptr;
};

namespace linear {

template <class T>
using ColumnsTile = void (*)(const T* x, int64_t x_step, const T* dy, int64_t dy_step, int64_t depth, const T* start,
                             T* gradient, T* value, int64_t step, T lr, const T* sum_start, T* sum_gradient,
                             T* sum_value);

// start: what to go on from, or null for 0. value: null to store the gradient, else the weights to update.
template <class T, int MR, int NV, bool Sum>
NO_INLINE void columns_tile(const T* x, int64_t x_step, const T* dy, int64_t dy_step, int64_t depth, const T* start,
                            T* gradient, T* value, int64_t step, T lr, const T* sum_start, T* sum_gradient,
                            T* sum_value) {
    if (value)
        for (int i = 0; i < MR; ++i) __builtin_prefetch(value + i * step, 1);
    auto begin = [&](int i, int v) ALWAYS_INLINE {
        if (i < 0) return sum_start ? load_unaligned(sum_start + v * lanes<T>) : Vec<T>{};
        return start ? load_unaligned(start + i * step + v * lanes<T>) : Vec<T>{};
    };
    const Vec<T> minus_lr = broadcast<T>(-lr);
    auto put = [&](T* gradient_at, T* value_at, Vec<T> g) ALWAYS_INLINE {
        T* at = value_at ? value_at : gradient_at;
        if (value_at) g = fma(minus_lr, g, load_unaligned(value_at));
        if (lanes<T> > narrow_panel && NV == 1 && step == narrow_panel) store_partial(at, g, narrow_panel);
        else store_unaligned(at, g);
    };
    tile<T, MR, NV, Columns, Sum>(
        x, x_step, dy, dy_step, depth, begin,
        [&](int i, int v, Vec<T> g) ALWAYS_INLINE {
            int64_t offset = i * step + v * lanes<T>;
            put(gradient + offset, value ? value + offset : nullptr, g);
        },
        [&](int v, Vec<T> g) ALWAYS_INLINE {
            put(sum_gradient + v * lanes<T>, sum_value ? sum_value + v * lanes<T> : nullptr, g);
        });
}

template <class T, int NV, bool Sum, int... I>
constexpr Table<ColumnsTile<T>> columns_tiles(std::integer_sequence<int, I...>) {
    return {{columns_tile<T, I + 1, NV, Sum>...}};
}

template <class T, int NV, bool Sum>
inline constexpr Table<ColumnsTile<T>> columns_table = columns_tiles<T, NV, Sum>(std::make_integer_sequence<int, max_tile_rows>{});

template <class T>
FORCE_INLINE ColumnsTile<T> columns_tile_for(int rows, int vectors, bool sum) {
    if (sum) return (vectors == 1 ? columns_table<T, 1, true> : columns_table<T, 2, true>).by_rows[rows - 1];
    return (vectors == 1 ? columns_table<T, 1, false> : columns_table<T, 2, false>).by_rows[rows - 1];
}

// The sum over rows is one more row of accumulators, so the first tiles are one row smaller: with thirteen rows of two
// vectors and the sum, registers spill (25 inputs took a quarter longer). Tiles of one vector have registers to spare.
constexpr int max_rows_with_sum(int vectors) {
    return vectors == 1 && max_tile_rows > 6 ? max_tile_rows : max_tile_rows - 1;
}

// dWᵀ, rows begin … end - 1 (inputs); the slice that has row 0 also makes db.
template <class T>
void gradient_transposed(const Matrix<T>& x, const Matrix<T>& dy, const LinearGradient<T>& to, int64_t begin,
                         int64_t end) {
    const Matrix<T> weight(to.weight, x.columns, dy.columns);
    const int x_width = x.width(), dy_width = dy.width(), width = weight.width();
    const int64_t batch = x.rows;
    for (int64_t k = 0; k < batch; k += k_block) {  // outside: what is read of x and dy then stays in cache
        const bool last = k + k_block >= batch;
        const int64_t depth = last ? batch - k : k_block;
        const bool go_on = to.add || k > 0;
        const bool update = to.update && last;
        each_column_tile<T>(dy.columns, [&](int64_t j, int vectors) ALWAYS_INLINE {
            const T* dy_tile = at_column(dy, j) + k * dy_width;
            const int64_t offset = at_column(weight, j) - weight.data;
            for (int64_t in = begin; in < end;) {
                const int64_t panel_end = x.is_narrow() ? end : in - in % panel<T> + panel<T>;
                const int64_t stop = panel_end < end ? panel_end : end;
                const T* x_block = at_column(x, in) + k * x_width;
                split_evenly(stop - in, in == 0 && to.bias ? max_rows_with_sum(vectors) : max_tile_rows,
                             [&](int64_t i, int rows) ALWAYS_INLINE {
                                 const bool sum = in + i == 0 && to.bias;
                                 const int64_t at = offset + (in + i) * width;
                                 columns_tile_for<T>(rows, vectors, sum)(
                                     x_block + i, x_width, dy_tile, dy_width, depth,
                                     go_on ? to.weight + at : nullptr, to.weight + at,
                                     update ? to.weight_value + at : nullptr, width, to.lr,
                                     sum && go_on ? to.bias + j : nullptr, sum ? to.bias + j : nullptr,
                                     sum && update ? to.bias_value + j : nullptr);
                             });
                in = stop;
            }
        });
    }
}

// ---- dot products: narrow outputs, and dx of narrow inputs -------------------------------------------------------

// y[r][j] = bias[j] + Σ_c x[r][c] w[j][c] for N <= 8 rows of w. Each dot product runs over sixteen virtual lanes and
// is summed by the halving tree (vec.h); `lanes` of them are summed at once by transposing.
template <class T, int N>
NO_INLINE void dots(const Matrix<T>& x, const Matrix<T>& w, const Matrix<T>& y, const T* bias, Finish finish,
                    const T* mask) {
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
            T lane[L];
            store_unaligned(lane, value);
            for (int g = 0; g < in_group; ++g) {
                T* at = y_data + (r + g) * narrow_panel + j0;
                const T* mask_at = mask + (at - y_data);
#pragma GCC unroll 8
                for (int j = 0; j < per_row; ++j) {
                    if (j >= outputs) continue;
                    const T one = lane[g * per_row + j];
                    at[j] = finish == Finish::relu_mask && mask_at[j] <= 0 ? T(0) : one;
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
                               const T* mask, const LinearGradient<T>& to, int64_t begin, int64_t end) {
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
        const int64_t mask_offset = WithDx && mask ? mask - dx.data : 0;
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
                    store_unaligned(at, mask ? keep<T>(passes_relu<T>(load_unaligned(at + mask_offset)), dxr[v]) : dxr[v]);
                }
            }
        }
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
    for (int64_t begin = 0; begin < dy.rows; begin += k_block) {
        Lanes16<T> even = Lanes16<T>::zeros(), odd = Lanes16<T>::zeros();
        const T* p = dy.data + begin * narrow_panel;
        int64_t n = (dy.rows - begin < k_block ? dy.rows - begin : k_block) * narrow_panel;
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

// ---- the layer ----------------------------------------------------------------------------------------------------

// y = x Wᵀ + b, and ReLU on top if asked. `bias` has n_out numbers, padded to whole panels by 0 (zeros for no bias).
template <class T>
void linear_forward(const Matrix<T>& x, const Matrix<T>& weight, const T* bias, const Matrix<T>& y, Finish finish) {
    if (weight_is_transposed(x.columns, y.columns)) return linear::multiply<T>(x, weight, y, bias, finish);
    linear::with_count(int(y.columns), [&](auto n) ALWAYS_INLINE {
        linear::dots<T, decltype(n)::value>(x, weight, y, bias, finish, nullptr);
    });
}

// dx = dy W, and ReLU's derivative on top if `mask` is given (dx's own layout; may be dx if n_out <= k_block).
// `transposed` is W as n_out × n_in if n_out > 8 and n_in > 8, or both are at most 8 (see linear_transpose).
template <class T>
void linear_dx(const Matrix<T>& dy, const Matrix<T>& weight, const Matrix<T>& transposed, const T* zeros,
               const Matrix<T>& dx, const T* mask) {
    const Finish finish = mask ? Finish::relu_mask : Finish::plain;
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
        linear::narrow_backward<T, decltype(n)::value, false, true>(x, dy, weight, x, nullptr, to, begin,
                                                                    round_up(end, panel<T>));
    });
}

// dx (if it has memory) and the gradients (if they have) of inputs begin … end - 1, in one pass over the weights: a block of inputs by
// outputs is transposed into `packed`, read for dx, and updated while it is still in the nearest cache. For weights of
// more than a narrow panel on either side; dx must not be x's memory. packed: a panel of k_block + narrow_panel rows.
template <class T>
void linear_backward_blocks(const Matrix<T>& x, const Matrix<T>& dy, const Matrix<T>& weight, T* packed, const T* zeros,
                            const Matrix<T>& dx, const T* mask, const LinearGradient<T>& to, int64_t begin, int64_t end) {
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
                const Finish finish = mask && k + depth == n_out ? Finish::relu_mask : Finish::plain;
                linear::multiply<T>(dy_block, w, part, k == 0 ? zeros : nullptr, finish,
                                    mask ? mask + (part.data - dx.data) : nullptr);
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

// Everything at once for a narrow layer, in one pass; dx may be x's memory.
template <class T>
void linear_backward_narrow(const Matrix<T>& x, const Matrix<T>& dy, const Matrix<T>& weight, const Matrix<T>& dx,
                            const T* mask, const LinearGradient<T>& to) {
    if (to.bias) linear::narrow_bias_gradient(dy, to);
    linear::with_count(int(dy.columns), [&](auto n) ALWAYS_INLINE {
        linear::narrow_backward<T, decltype(n)::value, true, true>(x, dy, weight, dx, mask, to, 0,
                                                                   round_up(x.columns, panel<T>));
    });
}

#define LINEAR(LINKAGE, T) \
    LINKAGE template void linear::multiply<T>(const Matrix<T>&, const Matrix<T>&, const Matrix<T>&, const T*, Finish, const T*); \
    LINKAGE template void linear_forward<T>(const Matrix<T>&, const Matrix<T>&, const T*, const Matrix<T>&, Finish); \
    LINKAGE template void linear_dx<T>(const Matrix<T>&, const Matrix<T>&, const Matrix<T>&, const T*, const Matrix<T>&, const T*); \
    LINKAGE template void linear_gradient<T>(const Matrix<T>&, const Matrix<T>&, const LinearGradient<T>&, int64_t, int64_t); \
    LINKAGE template void linear_backward_blocks<T>(const Matrix<T>&, const Matrix<T>&, const Matrix<T>&, T*, const T*, \
                                                     const Matrix<T>&, const T*, const LinearGradient<T>&, int64_t, int64_t); \
    LINKAGE template void linear_backward_narrow<T>(const Matrix<T>&, const Matrix<T>&, const Matrix<T>&, const Matrix<T>&, \
                                                     const T*, const LinearGradient<T>&)
LINEAR(extern, float);  // here only announced: layers/linear.cpp makes them
LINEAR(extern, double);

}  // namespace chainrule
