// Products in tiles, for whatever is wider than a narrow panel: C = start + A B with A walked by rows (forward and dx), and
// walked by columns (dWᵀ = xᵀ dy, with db).
#pragma once

#include "../matrices.h"
#include "../microkernel.h"

namespace chainrule {

// What rides on the last step of a product: nothing, y = max(0, y), or a ReLU's mask on dx, with its scale or without (a
// multiplication by 1 in every tile would take 3 % of a step of 25-wide layers).
enum class Finish { plain, relu, relu_mask, scaled_relu_mask };

template <class T>
FORCE_INLINE Finish finish_with(const ReluMask<T>& mask) {
    return !mask.at ? Finish::plain : mask.scale == 1 ? Finish::relu_mask : Finish::scaled_relu_mask;
}

// Where a Linear's gradients go.
template <class T>
struct LinearGradient {
    T* weight = nullptr;   // laid out as the weight
    T* bias = nullptr;     // null: no bias
    bool add = false;      // add to what is there; otherwise overwrite
    bool update = false;   // do not keep the gradient: weight -= lr · gradient (plain SGD), in the same pass
    T lr = 0;
    int64_t block = k_block;  // rows that sums are taken of at a time (Memory::block)
    T* weight_value = nullptr;
    T* bias_value = nullptr;
};

namespace linear {

template <class T>
FORCE_INLINE Vec<T> finished(Finish finish, Vec<T> value, const T* mask_at, const T* mask_scale) {
    if (finish == Finish::relu) return positive_part<T>(value);
    if (finish == Finish::relu_mask) return keep<T>(passes_relu<T>(load_unaligned(mask_at)), value);
    if (finish == Finish::scaled_relu_mask) return ReluMask<T>{mask_at, *mask_scale}(value, load_unaligned(mask_at));
    return value;
}

// ---- A walked by rows

template <class T>
using RowsTile = void (*)(const T* a, int64_t a_pitch, const T* b, int64_t b_step, int64_t depth, T* c, int64_t c_step,
                          const T* start, Finish finish, int64_t mask_offset, const T* mask_scale);

// start: one vector for all rows (a bias), or null to go on from what C holds. mask: at C's place + mask_offset; its scale
// stays in memory, as the accumulators need all registers.
template <class T, int MR, int NV, int S>
NO_INLINE void rows_tile(const T* a, int64_t a_pitch, const T* b, int64_t b_step, int64_t depth, T* c, int64_t c_step,
                         const T* start, Finish finish, int64_t mask_offset, const T* mask_scale) {
    const bool half = lanes<T> > narrow_panel && NV == 1 && c_step == narrow_panel;  // beyond it lies a row of somebody else's
    auto begin = [&](int i, int v) ALWAYS_INLINE {
        if (start) return load_unaligned(start + v * lanes<T>);
        const T* at = c + i * c_step + v * lanes<T>;
        return half ? load_partial(at, narrow_panel) : load_unaligned(at);
    };
    auto put = [&](auto finish_kind) ALWAYS_INLINE {
        return [=](int i, int v, Vec<T> value) ALWAYS_INLINE {
            T* at = c + i * c_step + v * lanes<T>;
            value = finished<T>(finish_kind(), value, at + mask_offset, mask_scale);
            if (half) store_partial(at, value, narrow_panel);
            else store_unaligned(at, value);
        };
    };
    tile<T, MR, NV, false>(Rows<T, S>{a, a_pitch}, b, b_step, depth, begin, put([=]() ALWAYS_INLINE { return finish; }),
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

// Where b is larger than a core's own cache, each tile fetches its part of the block of b that comes next, which lies right
// behind: predictions of 1024-1024-1024 in double take 20 % less with AVX2. (Where rows are few, b is all that takes time,
// and it comes as fast by itself: 10 rows took 7 % more.)
template <class T>
FORCE_INLINE void fetch(const T* from, int64_t count) {
    for (int64_t i = 0; i < count; i += 64 / int64_t(sizeof(T))) __builtin_prefetch(from + i);
}

// c = bias + a b for rows of a; without a bias, c + a b. mask: the matrix whose sign is ReLU's mask, laid out as c (it
// may be c itself unless a's columns exceed a block of k).
template <class T>
void multiply(const Matrix<T>& a, const Matrix<T>& b, const Matrix<T>& c, const T* bias, Finish finish,
              ReluMask<T> mask = {}) {
    const int64_t depth = a.columns;
    const int a_width = a.width(), b_width = b.width(), c_width = c.width();
    const int64_t mask_offset = mask.at ? mask.at - c.data : 0;
    const int64_t block = k_block * b_width;
    const bool far = c.rows > 2 * max_tile_rows && depth * c.columns * int64_t(sizeof(T)) > near_cache;
    each_column_tile<T>(c.columns, [&](int64_t j, int vectors) ALWAYS_INLINE {
        const T* b_tile = at_column(b, j);
        T* c_tile = at_column(c, j);
        for (int64_t k = 0; k < depth; k += k_block) {
            const bool last = k + k_block >= depth;
            const T *const a_block = a.data + a.column_offset(k), *const b_block = b_tile + k * b_width;
            const T* const start = k == 0 && bias ? bias + j : nullptr;
            split_evenly(c.rows, max_tile_rows, [&](int64_t row, int rows) ALWAYS_INLINE {
                if (far) fetch(b_block + block + block * row / c.rows, block * rows / c.rows);
                rows_tile_for<T>(rows, vectors, a_width)(a_block + row * a_width, a.pitch, b_block, b_width, last ? depth - k : k_block,
                                                         c_tile + row * c_width, c_width, start, last ? finish : Finish::plain,
                                                         mask_offset, &mask.scale);
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

// ---- A walked by columns

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
    tile<T, MR, NV, Sum>(
        Columns<T>{x, x_step}, dy, dy_step, depth, begin,
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
                if (go_on && (stop < end || j + tile_columns<T> < dy.columns))  // what the next tiles start from may lie far away
                    fetch(stop < end ? to.weight + offset + stop * width : at_column(weight, j + tile_columns<T>) + begin * width, (stop - in) * width);
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

}  // namespace linear

}  // namespace chainrule
