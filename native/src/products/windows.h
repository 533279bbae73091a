// Products through windows that slide over an image (Dukhan 2019, "The indirect convolution algorithm"): nothing is copied
// to make a matrix of windows, two small tables say where its numbers lie.
//
//     forward   y[i][o]  = Σ_k x(i, k) W[k][o]            x(i, k) = window[i][column[k]], k = tap by tap, channel by channel
//     backward  dW[k][o] = Σ_i x(i, k) dy[i][o]           dx[window i, tap t][c] += Σ_o dy[i][o] W[t, c][o], tap after tap
//
// Here are the three for rows whose windows are known; which rows, and in what pieces, says layers/convolution.cpp.
#pragma once

#include "tiles.h"

namespace chainrule {

namespace windows {

// The columns of a matrix in tiles, and what of a half vector is somebody else's.
template <class T>
FORCE_INLINE bool is_half(int vectors, int64_t step) { return lanes<T> > narrow_panel && vectors == 1 && step == narrow_panel; }

template <class T, int MR, int NV, class Walk>
FORCE_INLINE void forward_tile_of(Walk walk, const T* b, int64_t b_step, int64_t depth, T* c, int64_t c_step, const T* start, bool relu) {
    const bool half = is_half<T>(NV, c_step);
    auto begin = [&](int i, int v) ALWAYS_INLINE {
        if (start) return load_unaligned(start + v * lanes<T>);
        const T* at = c + i * c_step + v * lanes<T>;
        return half ? load_partial(at, narrow_panel) : load_unaligned(at);
    };
    auto put = [&](int i, int v, Vec<T> value) ALWAYS_INLINE {
        T* at = c + i * c_step + v * lanes<T>;
        if (relu) value = positive_part<T>(value);
        if (half) store_partial(at, value, narrow_panel);
        else store_unaligned(at, value);
    };
    tile<T, MR, NV, false>(walk, b, b_step, depth, begin, put, [](int, Vec<T>) ALWAYS_INLINE {});
}
// Windows anywhere, or (S > 0) one position apart in an image with panels of S.
template <class T, int MR, int NV, int S>
NO_INLINE void forward_tile(const T* const* window, const int32_t* column, const T* b, int64_t b_step, int64_t depth, T* c,
                            int64_t c_step, const T* start, bool relu) {
    if constexpr (S == 0) forward_tile_of<T, MR, NV>(WindowRows<T>{window, column}, b, b_step, depth, c, c_step, start, relu);
    else forward_tile_of<T, MR, NV>(WindowRun<T, S>{window[0], column}, b, b_step, depth, c, c_step, start, relu);
}

// Adds to dx where the windows of these rows have a tap. Rows of dy lie one after the other, in panels of S.
template <class T, int MR, int NV, int S>
NO_INLINE void dx_tile(const T* dy, int64_t dy_pitch, const T* b, int64_t b_step, int64_t depth, T* const* window, int64_t offset, int last) {
    auto part = [&](int v) ALWAYS_INLINE { return v + 1 < NV ? lanes<T> : last; };
    auto begin = [&](int i, int v) ALWAYS_INLINE { return load_partial(window[i] + offset + v * lanes<T>, part(v)); };
    auto put = [&](int i, int v, Vec<T> value) ALWAYS_INLINE { store_partial(window[i] + offset + v * lanes<T>, value, part(v)); };
    tile<T, MR, NV, false>(Rows<T, S>{dy, dy_pitch}, b, b_step, depth, begin, put, [](int, Vec<T>) ALWAYS_INLINE {});
}

// start: what to go on from, or null for 0. value: null to store the gradient, else the weights to update.
template <class T, int MR, int NV, class Walk>
FORCE_INLINE void dw_tile_of(Walk walk, const T* dy, int64_t dy_step, int64_t depth, const T* start, T* gradient, T* value, int64_t step, T lr) {
    const bool half = is_half<T>(NV, step);
    auto begin = [&](int i, int v) ALWAYS_INLINE { return start ? load_unaligned(start + i * step + v * lanes<T>) : Vec<T>{}; };
    const Vec<T> minus_lr = broadcast<T>(-lr);
    auto put = [&](int i, int v, Vec<T> g) ALWAYS_INLINE {
        const int64_t offset = i * step + v * lanes<T>;
        if (value) g = fma(minus_lr, g, load_unaligned(value + offset));
        T* at = (value ? value : gradient) + offset;
        if (half) store_partial(at, g, narrow_panel);
        else store_unaligned(at, g);
    };
    tile<T, MR, NV, false>(walk, dy, dy_step, depth, begin, put, [](int, Vec<T>) ALWAYS_INLINE {});
}
// Rows of the weight anywhere (J = 0), or J at each of MR / J taps, `step` apart in x.
template <class T, int J, int Q, int NV, int STEP>
NO_INLINE void dw_tile(const T* const* window, const int32_t* column, const T* dy, int64_t dy_step, int64_t depth, const T* start,
                       T* gradient, T* value, int64_t step, T lr) {
    if constexpr (J == 0) dw_tile_of<T, Q, NV>(WindowColumns<T>{window, column}, dy, dy_step, depth, start, gradient, value, step, lr);
    else dw_tile_of<T, J * Q, NV>(WindowTaps<T, J, STEP>{window, column}, dy, dy_step, depth, start, gradient, value, step, lr);
}

template <class T> using ForwardTile = decltype(&forward_tile<T, 1, 1, 0>);
template <class T> using DxTile = decltype(&dx_tile<T, 1, 1, narrow_panel>);
template <class T> using DwTile = decltype(&dw_tile<T, 0, 1, 1, 1>);

template <class T, int NV, int S, int... I>
constexpr linear::Table<ForwardTile<T>> forward_tiles(std::integer_sequence<int, I...>) { return {{forward_tile<T, I + 1, NV, S>...}}; }
template <class T, int NV, int S, int... I>
constexpr linear::Table<DxTile<T>> dx_tiles(std::integer_sequence<int, I...>) { return {{dx_tile<T, I + 1, NV, S>...}}; }
// By Q of J taps; those that would have too many rows are never asked for.
template <class T, int J, int NV, int STEP, int... I>
constexpr linear::Table<DwTile<T>> dw_tiles(std::integer_sequence<int, I...>) {
    return {{((I + 1) * (J > 0 ? J : 1) <= max_tile_rows ? dw_tile<T, J, (I + 1) * (J > 0 ? J : 1) <= max_tile_rows ? I + 1 : 1, NV, STEP> : nullptr)...}};
}
using Sizes = std::make_integer_sequence<int, max_tile_rows>;

template <class T, int NV, int S>
inline constexpr linear::Table<ForwardTile<T>> forward_table = forward_tiles<T, NV, S>(Sizes{});
template <class T, int NV, int S>
inline constexpr linear::Table<DxTile<T>> dx_table = dx_tiles<T, NV, S>(Sizes{});
template <class T, int J, int NV, int STEP>
inline constexpr linear::Table<DwTile<T>> dw_table = dw_tiles<T, J, NV, STEP>(Sizes{});

template <class T>
FORCE_INLINE ForwardTile<T> forward_tile_for(int rows, int vectors, int width) {
    if (width == 0) return (vectors == 1 ? forward_table<T, 1, 0> : forward_table<T, 2, 0>).by_rows[rows - 1];
    if (width == narrow_panel) return (vectors == 1 ? forward_table<T, 1, narrow_panel> : forward_table<T, 2, narrow_panel>).by_rows[rows - 1];
    return (vectors == 1 ? forward_table<T, 1, panel<T>> : forward_table<T, 2, panel<T>>).by_rows[rows - 1];
}
template <class T>
FORCE_INLINE DxTile<T> dx_tile_for(int rows, int vectors, int width) {
    if (width == narrow_panel) return (vectors == 1 ? dx_table<T, 1, narrow_panel> : dx_table<T, 2, narrow_panel>).by_rows[rows - 1];
    return (vectors == 1 ? dx_table<T, 1, panel<T>> : dx_table<T, 2, panel<T>>).by_rows[rows - 1];
}
// Taps of one channel go side by side in odd numbers, as kernels mostly have them.
inline constexpr int most_side_by_side = max_tile_rows < 7 ? 5 : 7;

// J numbers side by side (channels), or as many as a narrow panel's positions are apart (taps of one channel).
template <class T, int STEP, int J = STEP == 1 ? 2 : 3>
FORCE_INLINE DwTile<T> dw_tile_for(int j, int taps, int vectors) {
    if (j == J) return (vectors == 1 ? dw_table<T, J, 1, STEP> : dw_table<T, J, 2, STEP>).by_rows[taps - 1];
    constexpr int next = J + (STEP == 1 ? 1 : 2);
    if constexpr (next <= (STEP == 1 ? max_tile_rows : most_side_by_side)) return dw_tile_for<T, STEP, next>(j, taps, vectors);
    return nullptr;
}

// y = bias + x W, of as many rows as y has; without a bias, y + x W. weight: a row for each number of a window. run: so many windows, from the first
// one on, stand one position apart in an image with panels of `width`; then as many more.
template <class T>
void forward(const T* const* window, const int32_t* column, const Matrix<T>& weight, const Matrix<T>& y, const T* bias, bool relu,
             int64_t run = 1, int width = 0) {
    const int64_t depth = weight.rows;
    const int b_width = weight.width(), y_width = y.width();
    linear::each_column_tile<T>(y.columns, [&](int64_t j, int vectors) ALWAYS_INLINE {
        const T* b = linear::at_column(weight, j);
        T* c = linear::at_column(y, j);
        for (int64_t k = 0; k < depth; k += k_block) {
            const bool last = k + k_block >= depth;
            auto rows_from = [&](int64_t row, int rows, int tile_width) ALWAYS_INLINE {
                forward_tile_for<T>(rows, vectors, tile_width)(window + row, column + k, b + k * b_width, b_width, last ? depth - k : k_block,
                                                               c + row * y_width, y_width, k == 0 && bias ? bias + j : nullptr, relu && last);
            };
            if (run < 4) {
                split_evenly(y.rows, max_tile_rows, [&](int64_t row, int rows) ALWAYS_INLINE { rows_from(row, rows, 0); });
                continue;
            }
            for (int64_t first = 0; first < y.rows; first += run)
                split_evenly(run < y.rows - first ? run : y.rows - first, max_tile_rows, [&](int64_t row, int rows) ALWAYS_INLINE { rows_from(first + row, rows, width); });
        }
    });
}

// dx += dy Wᵗ for one tap, where dx has columns as `weight` has: a row for each column of dy. offset: of the tap in a window.
template <class T>
void add_dx(const Matrix<T>& dy, const Matrix<T>& weight, T* const* window, int64_t offset, int64_t pitch) {
    const int64_t depth = dy.columns;
    const int width = weight.width(), dy_width = dy.width();
    linear::each_column_tile<T>(weight.columns, [&](int64_t j, int vectors) ALWAYS_INLINE {
        const T* b = linear::at_column(weight, j);
        const int64_t at = offset + j / width * pitch + j % width;
        for (int64_t k = 0; k < depth; k += k_block) {
            split_evenly(dy.rows, max_tile_rows, [&](int64_t row, int rows) ALWAYS_INLINE {
                const T* from = dy.data + dy.column_offset(k) + row * dy_width;
                dx_tile_for<T>(rows, vectors, dy_width)(from, dy.pitch, b + k * width, width, depth - k < k_block ? depth - k : k_block,
                                                        window + row, at, lanes<T> > width ? width : lanes<T>);
            });
        }
    });
}

// How the rows of a kernel's weight are cut into tiles for dW: `group` of them stand side by side in x, `step` apart (of one
// tap the channels of a panel, or of one channel taps next to each other); so many groups of a tile are `taps`.
struct DwTiling {
    int group = 0, step = 1, taps = 1;  // group 0: rows stand anywhere
};

// dW, rows begin … end - 1, of one block of rows (at most k_block); goes on from what is there if asked.
template <class T>
void dw(const T* const* window, const int32_t* column, const Matrix<T>& dy, const LinearGradient<T>& to, int64_t depth_of_weight,
        bool go_on, bool update, int64_t begin, int64_t end, DwTiling tiling = {}) {
    const Matrix<T> weight(to.weight, depth_of_weight, dy.columns);
    const int width = weight.width(), dy_width = dy.width();
    int32_t taps[max_tile_rows];
    linear::each_column_tile<T>(dy.columns, [&](int64_t j, int vectors) ALWAYS_INLINE {
        const int64_t offset = linear::at_column(weight, j) - weight.data;
        auto run = [&](DwTile<T> tile, const int32_t* columns, int64_t row) ALWAYS_INLINE {
            const int64_t at = offset + row * width;
            tile(window, columns, linear::at_column(dy, j), dy_width, dy.rows, go_on ? to.weight + at : nullptr, to.weight + at,
                 update ? to.weight_value + at : nullptr, width, to.lr);
        };
        for (int64_t row = begin; row < end;) {
            // Whole groups, as many as a tile takes; what is cut off on either side goes one by one.
            const int64_t in_group = tiling.group > 0 ? row % tiling.group : 0;
            if (tiling.group > 0 && in_group == 0 && row + tiling.group <= end) {
                if (tiling.group > max_tile_rows) {
                    split_evenly(tiling.group, max_tile_rows, [&](int64_t i, int rows) ALWAYS_INLINE {
                        run(tiling.step == 1 ? dw_tile_for<T, 1>(rows, 1, vectors) : dw_tile_for<T, narrow_panel>(rows, 1, vectors), column + row + i, row + i);
                    });
                    row += tiling.group;
                } else {
                    const int64_t most = max_tile_rows / tiling.group, there = (end - row) / tiling.group;
                    const int n = int(there < most ? there : there < 2 * most ? (there + 1) / 2 : most);
                    for (int q = 0; q < n; ++q) taps[q] = column[row + q * tiling.group];
                    run(tiling.step == 1 ? dw_tile_for<T, 1>(tiling.group, n, vectors) : dw_tile_for<T, narrow_panel>(tiling.group, n, vectors), taps, row);
                    row += n * tiling.group;
                }
                continue;
            }
            const int64_t stop = tiling.group > 0 ? (row - in_group + tiling.group < end ? row - in_group + tiling.group : end) : end;
            split_evenly(stop - row, max_tile_rows, [&](int64_t i, int rows) ALWAYS_INLINE {
                run((vectors == 1 ? dw_table<T, 0, 1, 1> : dw_table<T, 0, 2, 1>).by_rows[rows - 1], column + row + i, row + i);
            });
            row = stop;
        }
    });
}

}  // namespace windows

}  // namespace chainrule
