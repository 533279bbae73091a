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

template <class T, int MR, int NV>
NO_INLINE void forward_tile(const T* const* window, const int32_t* column, const T* b, int64_t b_step, int64_t depth, T* c,
                            int64_t c_step, const T* start, bool relu) {
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
    tile<T, MR, NV, false>(WindowRows<T>{window, column}, b, b_step, depth, begin, put, [](int, Vec<T>) ALWAYS_INLINE {});
}

// One tap: adds to dx where the windows of these rows have it; no two of them have it in the same place.
template <class T, int MR, int NV, int S>
NO_INLINE void dx_tile(const T* dy, int64_t dy_pitch, const T* b, int64_t b_step, int64_t depth, T* const* window, int64_t offset) {
    const bool half = is_half<T>(NV, b_step);
    auto begin = [&](int i, int v) ALWAYS_INLINE {
        const T* at = window[i] + offset + v * lanes<T>;
        return half ? load_partial(at, narrow_panel) : load_unaligned(at);
    };
    auto put = [&](int i, int v, Vec<T> value) ALWAYS_INLINE {
        T* at = window[i] + offset + v * lanes<T>;
        if (half) store_partial(at, value, narrow_panel);
        else store_unaligned(at, value);
    };
    tile<T, MR, NV, false>(Rows<T, S>{dy, dy_pitch}, b, b_step, depth, begin, put, [](int, Vec<T>) ALWAYS_INLINE {});
}

// start: what to go on from, or null for 0. value: null to store the gradient, else the weights to update.
template <class T, int MR, int NV>
NO_INLINE void dw_tile(const T* const* window, const int32_t* column, const T* dy, int64_t dy_step, int64_t depth, const T* start,
                       T* gradient, T* value, int64_t step, T lr) {
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
    tile<T, MR, NV, false>(WindowColumns<T>{window, column}, dy, dy_step, depth, begin, put, [](int, Vec<T>) ALWAYS_INLINE {});
}

template <class T> using ForwardTile = decltype(&forward_tile<T, 1, 1>);
template <class T> using DxTile = decltype(&dx_tile<T, 1, 1, 8>);
template <class T> using DwTile = decltype(&dw_tile<T, 1, 1>);

template <class T, int NV, int... I>
constexpr linear::Table<ForwardTile<T>> forward_tiles(std::integer_sequence<int, I...>) { return {{forward_tile<T, I + 1, NV>...}}; }
template <class T, int NV, int S, int... I>
constexpr linear::Table<DxTile<T>> dx_tiles(std::integer_sequence<int, I...>) { return {{dx_tile<T, I + 1, NV, S>...}}; }
template <class T, int NV, int... I>
constexpr linear::Table<DwTile<T>> dw_tiles(std::integer_sequence<int, I...>) { return {{dw_tile<T, I + 1, NV>...}}; }

template <class T, int NV>
inline constexpr linear::Table<ForwardTile<T>> forward_table = forward_tiles<T, NV>(std::make_integer_sequence<int, max_tile_rows>{});
template <class T, int NV, int S>
inline constexpr linear::Table<DxTile<T>> dx_table = dx_tiles<T, NV, S>(std::make_integer_sequence<int, max_tile_rows>{});
template <class T, int NV>
inline constexpr linear::Table<DwTile<T>> dw_table = dw_tiles<T, NV>(std::make_integer_sequence<int, max_tile_rows>{});

// y = bias + x W, of as many rows as y has. weight: a row for each number of a window.
template <class T>
void forward(const T* const* window, const int32_t* column, const Matrix<T>& weight, const Matrix<T>& y, const T* bias, bool relu) {
    const int64_t depth = weight.rows;
    const int width = weight.width(), y_width = y.width();
    linear::each_column_tile<T>(y.columns, [&](int64_t j, int vectors) ALWAYS_INLINE {
        const T* b = linear::at_column(weight, j);
        T* c = linear::at_column(y, j);
        for (int64_t k = 0; k < depth; k += k_block) {
            const bool last = k + k_block >= depth;
            split_evenly(y.rows, max_tile_rows, [&](int64_t row, int rows) ALWAYS_INLINE {
                (vectors == 1 ? forward_table<T, 1> : forward_table<T, 2>).by_rows[rows - 1](
                    window + row, column + k, b + k * width, width, last ? depth - k : k_block, c + row * y_width, y_width,
                    k == 0 ? bias + j : nullptr, relu && last);
            });
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
                const auto& table = dy_width == narrow_panel ? (vectors == 1 ? dx_table<T, 1, narrow_panel> : dx_table<T, 2, narrow_panel>)
                                                             : (vectors == 1 ? dx_table<T, 1, panel<T>> : dx_table<T, 2, panel<T>>);
                table.by_rows[rows - 1](dy.data + dy.column_offset(k) + row * dy_width, dy.pitch, b + k * width, width,
                                        depth - k < k_block ? depth - k : k_block, window + row, at);
            });
        }
    });
}

// dW, rows begin … end - 1, of one block of rows (at most k_block); goes on from what is there if asked.
template <class T>
void dw(const T* const* window, const int32_t* column, const Matrix<T>& dy, const LinearGradient<T>& to, int64_t depth_of_weight,
        bool go_on, bool update, int64_t begin, int64_t end) {
    const Matrix<T> weight(to.weight, depth_of_weight, dy.columns);
    const int width = weight.width(), dy_width = dy.width();
    linear::each_column_tile<T>(dy.columns, [&](int64_t j, int vectors) ALWAYS_INLINE {
        const int64_t offset = linear::at_column(weight, j) - weight.data;
        split_evenly(end - begin, max_tile_rows, [&](int64_t i, int rows) ALWAYS_INLINE {
            const int64_t at = offset + (begin + i) * width;
            (vectors == 1 ? dw_table<T, 1> : dw_table<T, 2>).by_rows[rows - 1](
                window, column + begin + i, linear::at_column(dy, j), dy_width, dy.rows, go_on ? to.weight + at : nullptr,
                to.weight + at, update ? to.weight_value + at : nullptr, width, to.lr);
        });
    });
}

}  // namespace windows

}  // namespace chainrule
