// Products with positions in the lanes, for images of at most eight channels: of channels they would leave most of a vector
// empty. An image is turned into planes, one a channel, and eight windows that stand side by side are a *piece*: what they
// read of a plane is eight numbers side by side, wherever the piece lies.
//
//     gather    y[o][i]             = b[o] + Σ_k W[k][o] x[c][i + tap]      k = tap by tap, channel by channel
//     scatter   dx[c][i + tap]     += Σ_o W[k][o] dy[o][i]                  tap after tap
//     dw        dW[k][o]            = Σ_i x[c][i + tap] dy[o][i]            by sixteen lanes, over so many samples
//
// i is a window of eight at a time. Sums of the first two are the chains that products/windows.h makes: the same bits.
#pragma once

#include <vector>

#include "../planes.h"
#include "tiles.h"

namespace chainrule {

namespace planes {

// A tile: so many vectors of windows, of so many rows (outputs or channels) at most. Its accumulators stay in registers.
template <class T>
inline constexpr int tile_vectors = lanes<T> < piece && max_tile_rows < 13 ? piece / lanes<T> : max_tile_rows < 13 ? 2 : 4;
template <class T>
inline constexpr int tile_rows = 2 * max_tile_rows / tile_vectors<T>;
template <class T>
inline constexpr int tile_windows = tile_vectors<T> * lanes<T>;

inline constexpr int largest_tile = 64;  // of any machine

// Planes lie on the stack while a product is made: no more than this, or channels stay in the lanes.
template <class T>
inline constexpr int64_t most_numbers = (int64_t(1) << 16) / int64_t(sizeof(T));

// The windows of an image in pieces, and where planes lie. Where a run of windows is no multiple of eight, every position
// from the first window to the last counts as one, and what is none is left out of y and is 0 in dy.
struct Pieces {
    int64_t channels = 0, positions = 0, windows = 0;
    int64_t pitch = 0;                // from plane to plane
    int64_t of_sample = 0, samples = 0;  // pieces of one; so many samples go together
    std::vector<int32_t> begins;      // of each piece of these samples, in the planes of all
    std::vector<int32_t> rows;        // of each window of a piece: its row in y, or -1; empty where they follow each other
    std::vector<int32_t> columns;     // of each k: its plane, and its tap there
    std::vector<int32_t> taps;

    Pieces() = default;
    Pieces(const std::vector<int32_t>& window, int64_t run, const std::vector<int32_t>& tap, int64_t channels_, int64_t positions_)
        : channels(channels_), positions(positions_), windows(int64_t(window.size())), pitch(round_up(positions_ + 2 * piece, piece)), taps(tap) {
        if (positions > most_numbers<float>) return;  // too large in any case
        std::vector<int32_t> at, row;
        if (run % piece == 0) {
            for (int64_t i = 0; i < windows; i += piece) at.push_back(window[size_t(i)]);
            for (int64_t i = 0; i < windows; ++i) row.push_back(int32_t(i));
        } else if (run > 1) {
            size_t next = 0;
            for (int32_t p = window.front(); p <= window.back(); ++p) {
                if ((p - window.front()) % piece == 0) at.push_back(p);
                row.push_back(window[next] == p ? int32_t(next++) : -1);
            }
        }
        if (at.size() % 2 == 1) at.push_back(-1);
        row.resize(at.size() * piece, -1);
        of_sample = int64_t(at.size());
        const bool is_dense = of_sample * piece == windows;
        // Whole blocks of rows (share.h) have whole groups of samples, however they are cut.
        samples = 1;
        while (samples < 16 && samples * windows < 128) samples *= 2;
        const int32_t nobody = int32_t(samples * channels * pitch);  // room behind the planes, for what fills a tile
        for (int64_t s = 0; s < samples; ++s)
            for (size_t j = 0; j < at.size(); ++j) {
                begins.push_back(at[j] < 0 ? nobody : int32_t(s * channels * pitch) + at[j]);
                for (int i = 0; i < piece && !is_dense; ++i) {
                    const int32_t r = row[j * piece + size_t(i)];
                    rows.push_back(r < 0 ? -1 : int32_t(s * windows) + r);
                }
            }
        while (begins.size() % (2 * piece) != 0) begins.push_back(nobody);
        for (int32_t t : tap)
            for (int64_t c = 0; c < channels; ++c) columns.push_back(int32_t(c * pitch) + t);
    }

    // Do they pay for a product with so many planes of windows?
    template <class T>
    bool pay(int64_t window_planes) const {
        if (of_sample == 0 || 2 * of_sample * piece > 3 * windows + 2 * piece) return false;
        return image_size() + window_planes * window_pitch() <= most_numbers<T>;
    }
    const int32_t* row_numbers(int64_t first = 0) const { return rows.empty() ? nullptr : rows.data() + first; }
    // Numbers of the images, and the room of nobody's; of a plane of windows.
    int64_t image_size() const { return round_up((samples + 1) * channels * pitch, largest_tile); }
    int64_t window_pitch() const { return round_up(samples * of_sample * piece, largest_tile); }
};

// ---- pieces in planes, and images as planes ------------------------------------------------------------------------

// Vector v of a tile whose pieces begin in `plane` at `begins`.
template <class T>
FORCE_INLINE Vec<T> load_pieces(const T* plane, const int32_t* begins, int v) {
#if defined(__AVX512F__)
    if constexpr (lanes<T> > piece) return join(plane + begins[2 * v], plane + begins[2 * v + 1]);
#endif
    constexpr int parts = lanes<T> > piece ? 1 : piece / lanes<T>;
    return load_unaligned(plane + begins[v / parts] + v % parts * lanes<T>);
}
template <class T>
FORCE_INLINE void store_pieces(T* plane, const int32_t* begins, int v, Vec<T> value) {
#if defined(__AVX512F__)
    if constexpr (lanes<T> > piece) return part(plane + begins[2 * v], plane + begins[2 * v + 1], value);
#endif
    constexpr int parts = lanes<T> > piece ? 1 : piece / lanes<T>;
    store_unaligned(plane + begins[v / parts] + v % parts * lanes<T>, value);
}

// All channels of the rows of a matrix, in the order of `number`, to planes; none: 0.
template <class T>
FORCE_INLINE void matrix_to_planes(const Matrix<T>& m, const int32_t* number, int64_t count, T* planes, int64_t pitch) {
    alignas(64) T zeros[piece]{};
    with_width<T>(m.width(), [&](auto width) ALWAYS_INLINE {
        for (int64_t c = 0; c < m.columns; c += piece)
            each_rows<T>(m.data + m.column_offset(c), decltype(width)::value, number, count, zeros, [&](int64_t i, auto row) ALWAYS_INLINE {
                to_planes<T>(row, planes + c * pitch + i, pitch, int(m.columns - c < piece ? m.columns - c : piece));
            });
    });
}

// One sample's image. What lies behind a plane's end is 0.
template <class T>
FORCE_INLINE void image_to_planes(const Pieces& pieces, const Matrix<T>& image, T* planes) {
    if (pieces.channels == 1)
        for (int64_t p = 0; p < pieces.positions; ++p) planes[p] = image.data[p * piece];
    else matrix_to_planes<T>(image, nullptr, pieces.positions, planes, pieces.pitch);
    for (int64_t c = 0; c < pieces.channels; ++c)
        for (int64_t p = pieces.positions; p < pieces.pitch; ++p) planes[c * pieces.pitch + p] = 0;
}

// ---- tiles -------------------------------------------------------------------------------------------------------

// begin(i, v) + Σ_k W(k, i) vector(k, v), k ascending
template <class T, int MR, class Vector, class Begin, class Put>
FORCE_INLINE void tile(const T* weight, int64_t step, int64_t depth, Vector vector, Begin begin, Put put) {
    constexpr int NV = tile_vectors<T>;
    Vec<T> sum[MR][NV];
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i)
#pragma GCC unroll 4
        for (int v = 0; v < NV; ++v) sum[i][v] = begin(i, v);
    for (int64_t k = 0; k < depth; ++k, weight += step) {
        Vec<T> b[NV];
#pragma GCC unroll 4
        for (int v = 0; v < NV; ++v) b[v] = vector(k, v);
#pragma GCC unroll 16
        for (int i = 0; i < MR; ++i) {
            const Vec<T> w = broadcast<T>(weight[i]);
#pragma GCC unroll 4
            for (int v = 0; v < NV; ++v) sum[i][v] = fma(w, b[v], sum[i][v]);
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i)
#pragma GCC unroll 4
        for (int v = 0; v < NV; ++v) put(i, v, sum[i][v]);
}

// to[i]: windows of a tile, for each output.
template <class T, int MR>
NO_INLINE void gather_tile(const T* planes, const int32_t* column, const int32_t* begins, const T* weight, int64_t step, int64_t depth, const T* start, T* to) {
    const auto vector = [&](int64_t k, int v) ALWAYS_INLINE { return load_pieces<T>(planes + column[k], begins, v); };
    tile<T, MR>(weight, step, depth, vector, [&](int i, int) ALWAYS_INLINE { return broadcast<T>(start[i]); },
                [&](int i, int v, Vec<T> y) ALWAYS_INLINE { store_unaligned(to + i * tile_windows<T> + v * lanes<T>, y); });
}
// to: the first of the channels' planes, at a tap. dy: windows of a tile, planes `pitch` apart.
template <class T, int MR>
NO_INLINE void scatter_tile(const T* dy, int64_t dy_pitch, const int32_t* begins, const T* weight, int64_t step, int64_t depth, T* to, int64_t pitch) {
    tile<T, MR>(weight, step, depth, [&](int64_t o, int v) ALWAYS_INLINE { return load_unaligned(dy + o * dy_pitch + v * lanes<T>); },
                [&](int i, int v) ALWAYS_INLINE { return load_pieces<T>(to + i * pitch, begins, v); },
                [&](int i, int v, Vec<T> dx) ALWAYS_INLINE { store_pieces<T>(to + i * pitch, begins, v, dx); });
}

// So many k by so many outputs at a time: sums of sixteen lanes, which stay in registers.
template <class T>
inline constexpr int dw_sums = 2 * max_tile_rows * lanes<T> / virtual_lanes;
template <class T>
inline constexpr int dw_outputs = dw_sums<T> >= piece ? piece : dw_sums<T> >= 6 ? 3 : dw_sums<T> >= 2 ? 2 : 1;
template <class T, int N>
inline constexpr int dw_depth = dw_sums<T> / N < 1 ? 1 : dw_sums<T> / N > 6 ? 6 : dw_sums<T> / N;

// to[q][o]: sixteen lanes of Σ_i x(k_q, i) dy[o][i], for columns at[0], at[1], …
template <class T, int N>
NO_INLINE void dw_tile(const T* planes, const int32_t* at, const int32_t* begins, int64_t pieces, const T* dy, int64_t dy_pitch, T* to) {
    constexpr int K = dw_depth<T, N>;
    Lanes16<T> sum[K][N];
#pragma GCC unroll 8
    for (int q = 0; q < K; ++q)
#pragma GCC unroll 8
        for (int o = 0; o < N; ++o) sum[q][o] = Lanes16<T>::zeros();
    for (int64_t j = 0; j < pieces; j += 2) {
        Lanes16<T> x[K];
#pragma GCC unroll 8
        for (int q = 0; q < K; ++q)
#pragma GCC unroll 8
            for (int v = 0; v < Lanes16<T>::vectors; ++v) x[q].v[v] = load_pieces<T>(planes + at[q], begins + j, v);
#pragma GCC unroll 8
        for (int o = 0; o < N; ++o) {
            const Lanes16<T> d = Lanes16<T>::load(dy + o * dy_pitch + j * piece);
#pragma GCC unroll 8
            for (int q = 0; q < K; ++q) sum[q][o].add_product(x[q], d);
        }
    }
#pragma GCC unroll 8
    for (int q = 0; q < K; ++q)
#pragma GCC unroll 8
        for (int o = 0; o < N; ++o)
#pragma GCC unroll 8
            for (int v = 0; v < Lanes16<T>::vectors; ++v) store_unaligned(to + (q * piece + o) * virtual_lanes + v * lanes<T>, sum[q][o].v[v]);
}

// f(a constant, 1 … most): n as one
template <int most, int n = 1, class F>
FORCE_INLINE void with_count(int count, F f) {
    if constexpr (n == most) f(std::integral_constant<int, n>{});
    else if (count == n) f(std::integral_constant<int, n>{});
    else with_count<most, n + 1>(count, f);
}

// ---- the three products --------------------------------------------------------------------------------------------

// Some samples at a time: f(the first, how many)
template <class F>
FORCE_INLINE void each_group(const Pieces& pieces, int64_t samples, F f) {
    for (int64_t s = 0; s < samples; s += pieces.samples) f(s, samples - s < pieces.samples ? samples - s : pieces.samples);
}
template <class T>
FORCE_INLINE Matrix<T> samples_of(const Matrix<T>& m, int64_t begin, int64_t count, int64_t positions) { return m.slice(begin * positions, (begin + count) * positions); }

// y, of at most eight columns. start: a bias.
template <class T>
void gather(const Pieces& pieces, const Matrix<T>& image, const Matrix<T>& weight, const Matrix<T>& y, const T* start, bool relu) {
    alignas(64) T planes[most_numbers<T>];
    alignas(64) T made[piece * tile_windows<T>];
    each_group(pieces, image.rows / pieces.positions, [&](int64_t s, int64_t n) {
        for (int64_t i = 0; i < n; ++i) image_to_planes<T>(pieces, samples_of(image, s + i, 1, pieces.positions), planes + i * pieces.channels * pieces.pitch);
        const Matrix<T> to = samples_of(y, s, n, pieces.windows);
        const int64_t windows = n * pieces.of_sample * piece;
        for (int64_t first = 0; first < windows; first += tile_windows<T>) {
            split_evenly(y.columns, tile_rows<T>, [&](int64_t o, int rows) ALWAYS_INLINE {
                with_count<tile_rows<T>>(rows, [&](auto count) ALWAYS_INLINE {
                    gather_tile<T, decltype(count)::value>(planes, pieces.columns.data(), pieces.begins.data() + first / piece, weight.data + o, weight.width(), weight.rows,
                                                           start + o, made + o * tile_windows<T>);
                });
            });
            const int64_t here = windows - first < tile_windows<T> ? windows - first : tile_windows<T>;
            T nobody[piece];
            each_rows<T>(to.data + (pieces.rows.empty() ? first * piece : 0), piece, pieces.row_numbers(first), here, nobody,
                         [&](int64_t i, auto row) ALWAYS_INLINE { to_rows<T>(made + i, tile_windows<T>, int(y.columns), relu, row); });
        }
    });
}

// The image, of at most eight columns, gets what the windows of its rows send back; or that is added. weight: of each tap, a
// row of eight channels for each column of `rows`, `tap_size` numbers a tap.
template <class T>
void scatter(const Pieces& pieces, const Matrix<T>& rows, const T* weight, int64_t tap_size, const Matrix<T>& image, bool add) {
    alignas(64) T planes[most_numbers<T>];
    T* const dy = planes + pieces.image_size();
    const int64_t pitch = pieces.window_pitch();
    each_group(pieces, image.rows / pieces.positions, [&](int64_t s, int64_t n) {
        for (int64_t i = 0; add && i < n; ++i) image_to_planes<T>(pieces, samples_of(image, s + i, 1, pieces.positions), planes + i * pieces.channels * pieces.pitch);
        if (!add) std::memset(planes, 0, size_t(n * pieces.channels * pieces.pitch) * sizeof(T));
        matrix_to_planes<T>(samples_of(rows, s, n, pieces.windows), pieces.row_numbers(), n * pieces.of_sample * piece, dy, pitch);
        for (size_t t = 0; t < pieces.taps.size(); ++t)
            for (int64_t first = 0; first < n * pieces.of_sample * piece; first += tile_windows<T>)
                split_evenly(pieces.channels, tile_rows<T>, [&](int64_t c, int channels) ALWAYS_INLINE {
                    with_count<tile_rows<T>>(channels, [&](auto count) ALWAYS_INLINE {
                        scatter_tile<T, decltype(count)::value>(dy + first, pitch, pieces.begins.data() + first / piece, weight + int64_t(t) * tap_size + c, piece, rows.columns,
                                                                planes + c * pieces.pitch + pieces.taps[t], pieces.pitch);
                    });
                });
        T nobody[piece];
        for (int64_t i = 0; i < n; ++i)
            each_rows<T>(samples_of(image, s + i, 1, pieces.positions).data, piece, nullptr, pieces.positions, nobody, [&](int64_t p, auto row) ALWAYS_INLINE {
                to_rows<T>(planes + i * pieces.channels * pieces.pitch + p, pieces.pitch, int(pieces.channels), false, row);
            });
    });
}

// dW, rows begin … end - 1, where `rows` has at most eight columns.
template <class T>
void dw(const Pieces& pieces, const Matrix<T>& image, const Matrix<T>& rows, const LinearGradient<T>& to, int64_t begin, int64_t end) {
    alignas(64) T planes[most_numbers<T>];
    T* const dy = planes + pieces.image_size();
    const int64_t pitch = pieces.window_pitch(), samples = image.rows / pieces.positions;
    std::memset(planes + pieces.samples * pieces.channels * pieces.pitch, 0, size_t(pieces.channels * pieces.pitch) * sizeof(T));
    each_group(pieces, samples, [&](int64_t s, int64_t n) {
        for (int64_t i = 0; i < n; ++i) image_to_planes<T>(pieces, samples_of(image, s + i, 1, pieces.positions), planes + i * pieces.channels * pieces.pitch);
        matrix_to_planes<T>(samples_of(rows, s, n, pieces.windows), pieces.row_numbers(), n * pieces.of_sample * piece, dy, pitch);
        const bool add = to.add || s > 0, update = to.update && s + n == samples;
        with_count<dw_outputs<T>>(int(rows.columns), [&](auto outputs) ALWAYS_INLINE {
            constexpr int N = decltype(outputs)::value, K = dw_depth<T, N>;
            alignas(64) T sums[(K + 1) * piece * virtual_lanes]{};
            for (int64_t k = begin; k < end; k += K) {
                const int64_t here = end - k < K ? end - k : K;
                int32_t at[K];
                for (int q = 0; q < K; ++q) at[q] = pieces.columns[size_t(q < here ? k + q : k)];
                for (int64_t o = 0; o < rows.columns; o += N) {
                    const int64_t from = o + N <= rows.columns ? o : rows.columns - N;
                    dw_tile<T, N>(planes, at, pieces.begins.data(), n * pieces.of_sample, dy + from * pitch, pitch, sums + from * virtual_lanes);
                }
                for (int64_t f = 0; f < here * piece; f += lanes<T>) {
                    Lanes16<T> sixteen[lanes<T>];
                    for (int i = 0; i < lanes<T>; ++i) sixteen[i] = Lanes16<T>::load(sums + (f + i) * virtual_lanes);
                    const int left = int(here * piece - f < lanes<T> ? here * piece - f : lanes<T>);
                    T* const gradient = to.weight + k * piece + f;
                    Vec<T> g = sum_each<T>(sixteen);
                    if (add) g = load_partial(gradient, left) + g;
                    if (update) store_partial(to.weight_value + k * piece + f, fma(broadcast<T>(-to.lr), g, load_partial(to.weight_value + k * piece + f, left)), left);
                    else store_partial(gradient, g, left);
                }
            }
        });
    });
}

}  // namespace planes

}  // namespace chainrule
