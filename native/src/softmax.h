// What Softmax, LogSoftmax and CrossEntropyLoss share: the largest x of each row, e^(x - largest), and their sum.
//
// Rows are taken in groups as large as a vector, so that maxima, sums and whatever is made of them stand in lanes.
// Subtracting the largest keeps every term at most 1 and their sum at least 1: nothing overflows, and the logarithm of
// the sum needs no special cases.
#pragma once

#include "elementary.h"
#include "rows.h"

namespace chainrule {

template <class T, RowKind kind>
struct SoftmaxRows {
    using C = Chunk<T, kind>;
    static constexpr bool in_place = kind != RowKind::long_row;  // a row's terms fit in one chunk, which stays here

    ChunkMask<T> tail;
    Lanes16<T> terms[in_place ? lanes<T> : 1];
    T largest[lanes<T>], sum[lanes<T>];

    FORCE_INLINE explicit SoftmaxRows(int64_t columns) : tail(tail_mask<T>(columns)) {}

    template <class Count>
    FORCE_INLINE void find_largest(const Matrix<T>& x, int64_t r, Count n) {
        const Vec<T> lowest = broadcast<T>(-std::numeric_limits<T>::infinity());
        auto row = [&](int i) ALWAYS_INLINE {
            Lanes16<T> most;
            for (int j = 0; j < C::vectors; ++j) most.v[j] = lowest;
            each_chunk<kind>(x.columns, [&](int64_t c, auto full) ALWAYS_INLINE {
                Lanes16<T> a = C::load(chunk_at<kind>(x, r + i, c));
                C::each_vector([&](int j) ALWAYS_INLINE {
                    if constexpr (!full) a.v[j] = tail.v[j] ? a.v[j] : lowest;
                    most.v[j] = larger(most.v[j], a.v[j]);
                });
            });
            return most;
        };
        reduce_rows(n, largest, row, larger);
    }

    // The terms of long rows go to `to`, which may be x, if it has memory.
    template <class Count>
    FORCE_INLINE void add_terms(const Matrix<T>& x, int64_t r, Count n, const Matrix<T>& to) {
        auto row = [&](int i) ALWAYS_INLINE {
            Lanes16<T> total = Lanes16<T>::zeros();
            const Vec<T> m = broadcast<T>(largest[i]);
            each_chunk<kind>(x.columns, [&](int64_t c, auto full) ALWAYS_INLINE {
                Lanes16<T> a = C::load(chunk_at<kind>(x, r + i, c));
                C::each_vector([&](int j) ALWAYS_INLINE {
                    a.v[j] = elementary::exp_negative<T>(a.v[j] - m);
                    if constexpr (!full) a.v[j] = keep<T>(tail.v[j], a.v[j]);
                    total.v[j] += a.v[j];
                });
                if constexpr (in_place) terms[i] = a;
                else if (to.data) C::store(chunk_at<kind>(to, r + i, c), a);
            });
            return total;
        };
        reduce_rows(n, sum, row, add);
    }

    FORCE_INLINE Lanes16<T> term(const Matrix<T>& to, int64_t r, int i, int64_t c) const {
        if constexpr (in_place) return terms[i];
        else return C::load(chunk_at<kind>(to, r + i, c));
    }
};

}  // namespace chainrule
