// Sums and maxima along the rows of a matrix, many rows at a time, in an order that no vector width changes.
//
// A row is taken in chunks of sixteen columns: element c belongs to virtual lane c mod 16, a lane adds its elements in
// ascending order, and the sixteen lanes are added by halves: lane i and i + 8, then 4, 2, 1. Within a row that is the
// order of vec.h's Lanes16. Adding the halves of one vector is slow, so as many rows as a vector has lanes are brought
// together: each step merges the halves of two vectors into one, and in the end lane i holds the sum of row i.
#pragma once

#include <utility>

#include "panels.h"

namespace chainrule {

namespace rows_detail {

// Of vectors a and b, cut into segments: the lower (or the upper) half of each segment of a, beside that of b.
template <int lanes, int segment, int upper>
constexpr int half_index(int lane) {
    const int start = lane / segment * segment, offset = lane % segment, half = segment / 2;
    return (offset < half ? start + offset : lanes + start + offset - half) + upper * half;
}

template <class T, int segment, int upper, int... lane>
FORCE_INLINE Vec<T> halves(std::type_identity_t<Vec<T>> a, std::type_identity_t<Vec<T>> b, std::integer_sequence<int, lane...>) {
    return __builtin_shufflevector(a, b, half_index<lanes<T>, segment, upper>(lane)...);
}

}  // namespace rows_detail

// v[i] holds the lanes of row i; lane i of the result holds what `combine` makes of them.
template <class T, int segment = lanes<T>, class Combine>
FORCE_INLINE Vec<T> combine_lanes(Vec<T>* v, Combine combine) {
    if constexpr (segment == 1) return v[0];
    else {
        constexpr auto all = std::make_integer_sequence<int, lanes<T>>{};
        for (int i = 0; i < segment / 2; ++i)
            v[i] = combine(rows_detail::halves<T, segment, 0>(v[i], v[i + segment / 2], all),
                           rows_detail::halves<T, segment, 1>(v[i], v[i + segment / 2], all));
        return combine_lanes<T, segment / 2>(v, combine);
    }
}

// What `combine` makes of the lanes of one vector, in the same order.
template <class T, int segment = lanes<T>, class Combine>
FORCE_INLINE T combine_one(std::type_identity_t<Vec<T>> v, Combine combine) {
    if constexpr (segment == 1) return v[0];
    else {
        constexpr auto all = std::make_integer_sequence<int, lanes<T>>{};
        return combine_one<T, segment / 2>(combine(rows_detail::halves<T, segment, 0>(v, v, all), rows_detail::halves<T, segment, 1>(v, v, all)), combine);
    }
}

// Sixteen lanes to as many as a vector has.
template <class T, class Combine>
FORCE_INLINE Vec<T> fold(Lanes16<T> a, Combine combine) {
    for (int n = Lanes16<T>::vectors / 2; n > 0; n /= 2)
        for (int j = 0; j < n; ++j) a.v[j] = combine(a.v[j], a.v[j + n]);
    return a.v[0];
}

inline constexpr auto add = [](auto a, auto b) ALWAYS_INLINE { return a + b; };
inline constexpr auto larger = [](auto a, auto b) ALWAYS_INLINE { return a > b ? a : b; };

// Rows of at most 8 columns, stored as 8 numbers of which no more may be touched; of at most 16; longer ones.
enum class RowKind { narrow, one_chunk, long_row };

// Calls function(kind) with the kind of m's rows as a compile-time constant.
template <class T, class Function>
FORCE_INLINE void with_row_kind(const Matrix<T>& m, Function function) {
    if (m.width() == narrow_panel) function(std::integral_constant<RowKind, RowKind::narrow>{});
    else if (m.columns <= virtual_lanes) function(std::integral_constant<RowKind, RowKind::one_chunk>{});
    else function(std::integral_constant<RowKind, RowKind::long_row>{});
}

template <class T, RowKind kind>
struct Chunk {
    static constexpr int vectors = Lanes16<T>::vectors;
    static constexpr int columns = kind == RowKind::narrow ? narrow_panel : virtual_lanes;

    template <class Function>
    FORCE_INLINE static void each_vector(Function function) {
        for (int j = 0; j < vectors; ++j)
            if (j * lanes<T> < columns) function(j);
    }

    FORCE_INLINE static Lanes16<T> load(const T* p) {
        Lanes16<T> r = Lanes16<T>::zeros();
        each_vector([&](int j) ALWAYS_INLINE {
            r.v[j] = load_partial(p + j * lanes<T>, columns < lanes<T> ? columns : lanes<T>);
        });
        return r;
    }

    FORCE_INLINE static void store(T* p, const Lanes16<T>& a) {
        each_vector([&](int j) ALWAYS_INLINE {
            store_partial(p + j * lanes<T>, a.v[j], columns < lanes<T> ? columns : lanes<T>);
        });
    }
};

// Which of the sixteen columns from c on exist.
template <class T>
struct ChunkMask {
    Mask<T> v[Lanes16<T>::vectors];

    FORCE_INLINE explicit ChunkMask(int64_t rest) {
        for (int j = 0; j < Lanes16<T>::vectors; ++j) {
            const int64_t n = rest - j * lanes<T>;
            v[j] = first_lanes<T>(int(n < 0 ? 0 : n > lanes<T> ? lanes<T> : n));
        }
    }

    FORCE_INLINE Lanes16<T> keep(Lanes16<T> a) const {
        for (int j = 0; j < Lanes16<T>::vectors; ++j) a.v[j] = chainrule::keep<T>(v[j], a.v[j]);
        return a;
    }
};

// Calls function(c, full) for the chunks of a row that begin at columns 0, 16, …; full is std::true_type where all
// sixteen columns exist for sure.
template <RowKind kind, class Function>
FORCE_INLINE void each_chunk(int64_t columns, Function function) {
    if constexpr (kind != RowKind::long_row) function(int64_t(0), std::false_type{});
    else {
        int64_t c = 0;
        for (; c + virtual_lanes <= columns; c += virtual_lanes) function(c, std::true_type{});
        if (c < columns) function(c, std::false_type{});
    }
}

// Where column c of row r lies, for a column that begins a chunk.
template <RowKind kind, class T>
FORCE_INLINE T* chunk_at(const Matrix<T>& m, int64_t r, int64_t c) {
    if constexpr (kind == RowKind::narrow) return m.data + r * narrow_panel;
    else if constexpr (kind == RowKind::one_chunk) return m.data + r * panel<T>;
    else return m.data + c / panel<T> * m.pitch + r * panel<T> + c % panel<T>;
}

// Where any column of row r lies.
template <RowKind kind, class T>
FORCE_INLINE T& element_at(const Matrix<T>& m, int64_t r, int64_t c) {
    if constexpr (kind == RowKind::long_row) return m.data[c / panel<T> * m.pitch + r * panel<T> + c % panel<T>];
    else return chunk_at<kind>(m, r, 0)[c];
}

// Which columns of the last chunk exist.
template <class T>
FORCE_INLINE ChunkMask<T> tail_mask(int64_t columns) { return ChunkMask<T>(columns - (columns - 1) / virtual_lanes * virtual_lanes); }

// Writes function(c) to every chunk of a row, 0 into its padding.
template <RowKind kind, class T, class Function>
FORCE_INLINE void write_row(const Matrix<T>& to, int64_t r, const ChunkMask<T>& tail, Function function) {
    using C = Chunk<T, kind>;
    each_chunk<kind>(to.columns, [&](int64_t c, auto full) ALWAYS_INLINE {
        Lanes16<T> a = function(c);
        if constexpr (!full) a = tail.keep(a);
        C::store(chunk_at<kind>(to, r, c), a);
    });
    if constexpr (kind != RowKind::narrow && panel<T> > virtual_lanes) {
        // the last panel may hold a chunk that is padding altogether
        const int64_t end = kind == RowKind::one_chunk ? virtual_lanes : round_up(to.columns, virtual_lanes);
        if (end % panel<T> != 0) C::store(chunk_at<kind>(to, r, kind == RowKind::one_chunk ? 0 : end) + (kind == RowKind::one_chunk ? end : 0), Lanes16<T>::zeros());
    }
}

// Calls function(r, n) for groups of rows as large as a vector: rows r … r + n - 1. n is a constant for
// full groups.
template <class T, class Function>
FORCE_INLINE void each_row_group(int64_t rows, Function function) {
    int64_t r = 0;
    for (; r + lanes<T> <= rows; r += lanes<T>) function(r, std::integral_constant<int, lanes<T>>{});
    if (r < rows) function(r, int(rows - r));
}

// result[i] becomes what `combine` makes of the sixteen lanes row(i), for i < n; 0 beyond n.
template <class T, class Count, class Row, class Combine>
FORCE_INLINE void reduce_rows(Count n, T* result, Row row, Combine combine) {
    if constexpr (std::is_same_v<Count, int>) {  // a few rows
        store_unaligned(result, Vec<T>{});
        for (int i = 0; i < n; ++i) result[i] = combine_one<T>(fold(row(i), combine), combine);
    } else {
        Vec<T> v[lanes<T>];
        for (int i = 0; i < n; ++i) v[i] = fold(row(i), combine);
        store_unaligned(result, combine_lanes<T>(v, combine));
    }
}

}  // namespace chainrule
