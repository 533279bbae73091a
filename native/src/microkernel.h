// The one microkernel: a tile of MR rows and NV vectors of C = A B, held in registers while k runs.
//
//     C[i][j] = start[i][j] + Σ_k A(i, k) B[k][j]      k ascending, one fused multiply-add each
//
// All three products of a Linear are this: y = x Wᵀ (A = x, B = Wᵀ), dx = dy W (A = dy, B = W) and
// dWᵀ = xᵀ dy (A = xᵀ, B = dy). Every C[i][j] is its own chain of fused multiply-adds with k ascending, whatever the
// tile, the vector width, the block of k or the thread: so all of them give the same bits.
//
// A is read number by number and broadcast; B and C are read and written by vectors. How A is walked is a type of its own;
// what a tile starts from and what becomes of it are functors: start(i, v) gives a vector, finish(i, v, vector) takes one.
#pragma once

#include "panels.h"

namespace chainrule {

#if defined(__AVX512F__) || defined(__ARM_NEON)
inline constexpr int max_tile_rows = 13;  // 26 accumulators, 2 vectors of B, 1 broadcast; of 32 registers
#else
inline constexpr int max_tile_rows = 6;  // 12 + 2 + 1 of 16
#endif

template <class T>
inline constexpr int tile_columns = 2 * lanes<T>;

// Blocks of k: a block of B (256 rows of 128 bytes) stays in the first-level cache while all tiles pass over it. A
// multiple of every panel width.
inline constexpr int64_t k_block = 256;

// Bytes that a core's own cache keeps from one use to the next.
inline constexpr int64_t near_cache = int64_t(1) << 20;

// How A is walked: each(depth, f) calls f(number of A's row i) for every k. `a` is the tile's first element of A.

// A(i, k) is element (i, k) of a matrix with panels of S; from one panel to the next it is `pitch`.
template <class T, int S>
struct Rows {
    const T* a;
    int64_t pitch;
    template <class F>
    FORCE_INLINE void each(int64_t depth, F f) const {
        const T* at = a;
        for (; depth > S; depth -= S) {
            for (const T *ak = at, *end = at + S; ak != end; ++ak) f([ak](int i) ALWAYS_INLINE { return ak[i * S]; });
            at += pitch;
        }
        for (const T *ak = at, *end = at + depth; ak != end; ++ak) f([ak](int i) ALWAYS_INLINE { return ak[i * S]; });
    }
};
// A(i, k) is element (k, i); from one k to the next it is `step`.
template <class T>
struct Columns {
    const T* a;
    int64_t step;
    template <class F>
    FORCE_INLINE void each(int64_t depth, F f) const {
        const T* at = a;
        for (; depth > 0; --depth) {
            f([at](int i) ALWAYS_INLINE { return at[i]; });
            at += step;
        }
    }
};
// Through two tables, for windows that slide over an image: A(i, k) is row[i][column[k]] …
template <class T>
struct WindowRows {
    const T* const* row;
    const int32_t* column;
    template <class F>
    FORCE_INLINE void each(int64_t depth, F f) const {
        for (const int32_t *k = column, *end = column + depth; k != end; ++k)
            f([rows = row, k = *k](int i) ALWAYS_INLINE { return rows[i][k]; });
    }
};
// … or, where windows stand one position apart, the first one's place and S more from one to the next: half the loads …
template <class T, int S>
struct WindowRun {
    const T* first;
    const int32_t* column;
    template <class F>
    FORCE_INLINE void each(int64_t depth, F f) const {
        for (const int32_t *k = column, *end = column + depth; k != end; ++k)
            f([at = first + *k](int i) ALWAYS_INLINE { return at[i * S]; });
    }
};
// … or row[k][column[i]] …
template <class T>
struct WindowColumns {
    const T* const* row;
    const int32_t* column;
    template <class F>
    FORCE_INLINE void each(int64_t depth, F f) const {
        for (const T *const *k = row, *const *end = row + depth; k != end; ++k)
            f([at = *k, columns = column](int i) ALWAYS_INLINE { return at[columns[i]]; });
    }
};
// … or, of J numbers that lie `step` apart at each of several taps, row[k][tap[i / J] + step · (i % J)].
template <class T, int J, int step>
struct WindowTaps {
    const T* const* row;
    const int32_t* tap;
    template <class F>
    FORCE_INLINE void each(int64_t depth, F f) const {
        for (const T *const *k = row, *const *end = row + depth; k != end; ++k)
            f([at = *k, taps = tap](int i) ALWAYS_INLINE { return at[taps[i / J] + i % J * step]; });
    }
};

// b: the tile's first element of B, b_step from one k to the next.
// Sum: one more row of accumulators gathers B over k, handed to finish_sum(v, vector): the gradient of the bias.
template <class T, int MR, int NV, bool Sum, class Walk, class Start, class Finish, class FinishSum>
FORCE_INLINE void tile(Walk walk, const T* b, int64_t b_step, int64_t depth, Start start, Finish finish, FinishSum finish_sum) {
    using V = Vec<T>;
    V c[MR][NV];
    V sum[NV];
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i)
#pragma GCC unroll 2
        for (int v = 0; v < NV; ++v) c[i][v] = start(i, v);
    if constexpr (Sum)
#pragma GCC unroll 2
        for (int v = 0; v < NV; ++v) sum[v] = start(-1, v);

    walk.each(depth, [&](auto number) ALWAYS_INLINE {
        V bk[NV];
#pragma GCC unroll 2
        for (int v = 0; v < NV; ++v) bk[v] = load_unaligned(b + v * lanes<T>);
#pragma GCC unroll 16
        for (int i = 0; i < MR; ++i) {
            V ai = broadcast<T>(number(i));
#pragma GCC unroll 2
            for (int v = 0; v < NV; ++v) c[i][v] = fma(ai, bk[v], c[i][v]);
        }
        if constexpr (Sum)
#pragma GCC unroll 2
            for (int v = 0; v < NV; ++v) sum[v] += bk[v];
        b += b_step;
    });

#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i)
#pragma GCC unroll 2
        for (int v = 0; v < NV; ++v) finish(i, v, c[i][v]);
    if constexpr (Sum)
#pragma GCC unroll 2
        for (int v = 0; v < NV; ++v) finish_sum(v, sum[v]);
}

// Splits n rows into the fewest tiles of at most `most` rows, as even as can be: 25 = 13 + 12. (12 + 12 + 1 would end
// with a tile that is bound by latency.)
template <class F>
FORCE_INLINE void split_evenly(int64_t n, int64_t most, F each) {
    if (n <= 0) return;
    int64_t tiles = (n + most - 1) / most, small = tiles == 1 ? n : n / tiles, large = n - small * tiles;
    for (int64_t begin = 0; begin < n; --large) {
        const int64_t size = small + (large > 0 ? 1 : 0);
        each(begin, int(size));
        begin += size;
    }
}

// ---- transposes and sums across lanes -----------------------------------------------------------------------------

namespace shuffles {

template <class V, int... I>
FORCE_INLINE V pick(V a, V b, std::integer_sequence<int, I...>) { return __builtin_shufflevector(a, b, I...); }

// Index lists are made by F(lane) for lane = 0 … L - 1.
template <class F, int L, int... I>
constexpr auto indices(std::integer_sequence<int, I...>) { return std::integer_sequence<int, F::at(I, L)...>{}; }

template <class F, int L>
using Indices = decltype(indices<F, L>(std::make_integer_sequence<int, L>{}));

template <int S>
struct Even { static constexpr int at(int i, int lanes) { return (i & S) == 0 ? i : lanes + i - S; } };
template <int S>
struct Odd { static constexpr int at(int i, int lanes) { return (i & S) == 0 ? i + S : lanes + i; } };
template <int G>
struct Low { static constexpr int at(int i, int) { return (i / (G / 2)) * G + i % (G / 2); } };
template <int G>
struct High { static constexpr int at(int i, int lanes) { return Low<G>::at(i, lanes) + G / 2; } };

}  // namespace shuffles

// Transposes a block of lanes × lanes in registers: log2(lanes) rounds that swap blocks of S.
template <class T, int S = lanes<T> / 2>
FORCE_INLINE void transpose_block(Vec<T> (&a)[lanes<T>]) {
    constexpr int L = lanes<T>;
    if constexpr (S > 0) {
#pragma GCC unroll 16
        for (int i = 0; i < L; ++i) {
            if (i & S) continue;
            Vec<T> even = shuffles::pick(a[i], a[i + S], shuffles::Indices<shuffles::Even<S>, L>{});
            Vec<T> odd = shuffles::pick(a[i], a[i + S], shuffles::Indices<shuffles::Odd<S>, L>{});
            a[i] = even;
            a[i + S] = odd;
        }
        transpose_block<T, S / 2>(a);
    }
}

// to = fromᵀ. Both are in panels, so blocks are read and written by whole vectors; padding of `to` becomes 0.
// from: rows × columns with panels of S; only its columns begin … end - 1 (a multiple of the lanes, or all).
template <class T>
void transpose(const Matrix<T>& from, const Matrix<T>& to, int64_t begin, int64_t end) {
    constexpr int L = lanes<T>;
    const int from_width = from.width(), to_width = to.width();
    if (from_width < L || to_width < L) {  // 8 columns, 16 lanes: one vector would cover two rows
        for (int64_t c = begin; c < end; ++c) {
            T* row = nullptr;
            for (int64_t p = 0; p < to.panels(); ++p) {
                row = to.row(p, c);
                for (int i = 0; i < to_width; ++i) {
                    int64_t r = p * to_width + i;
                    row[i] = r < from.rows ? from.at(r, c) : T(0);
                }
            }
        }
        return;
    }
    const int64_t padded_rows = to.panels() * to_width;
    for (int64_t c = begin; c < end; c += L) {
        const T* column = from.data + from.column_offset(c);
        const int n = int(end - c < L ? end - c : L);
        for (int64_t r = 0; r < padded_rows; r += L) {
            Vec<T> block[L];
            if (r + L <= from.rows) {
#pragma GCC unroll 16
                for (int i = 0; i < L; ++i) block[i] = load_unaligned(column + (r + i) * from_width);
            } else {
#pragma GCC unroll 16
                for (int i = 0; i < L; ++i)
                    block[i] = r + i < from.rows ? load_unaligned(column + (r + i) * from_width) : Vec<T>{};
            }
            transpose_block<T>(block);
            T* out = to.data + to.column_offset(r) + c * to_width;
            if (n == L) {
#pragma GCC unroll 16
                for (int i = 0; i < L; ++i) store_unaligned(out + i * to_width, block[i]);
            } else {
#pragma GCC unroll 16
                for (int i = 0; i < L; ++i)
                    if (i < n) store_unaligned(out + i * to_width, block[i]);
            }
        }
    }
}

template <class T, int G>
FORCE_INLINE Vec<T> halve(Vec<T> a, Vec<T> b) {
    return shuffles::pick(a, b, shuffles::Indices<shuffles::Low<G>, lanes<T>>{}) +
           shuffles::pick(a, b, shuffles::Indices<shuffles::High<G>, lanes<T>>{});
}

template <class T, int G = lanes<T>, int N>
FORCE_INLINE Vec<T> sum_each(Vec<T> (&a)[N]) {
    if constexpr (G == 1) {
        return a[0];
    } else {
#pragma GCC unroll 16
        for (int i = 0; i < (G > 1 ? G / 2 : 1); ++i) a[i] = halve<T, G>(a[2 * i], a[2 * i + 1]);
        return sum_each<T, G / 2>(a);
    }
}

// The sums of `lanes` Lanes16 at once, sum i in lane i, each with the same tree as Lanes16::sum.
template <class T>
FORCE_INLINE Vec<T> sum_each(Lanes16<T> (&s)[lanes<T>]) {
    constexpr int n = Lanes16<T>::vectors;
    Vec<T> a[lanes<T>];
#pragma GCC unroll 16
    for (int i = 0; i < lanes<T>; ++i) {
#pragma GCC unroll 4
        for (int half = n / 2; half > 0; half /= 2)
#pragma GCC unroll 4
            for (int j = 0; j < half; ++j) s[i].v[j] += s[i].v[j + half];
        a[i] = s[i].v[0];
    }
    return sum_each<T, lanes<T>>(a);
}

}  // namespace chainrule
