// Dropout, the twin of chainrule.layers.dropout.Dropout: forward y = x · mask / (1 - p), backward dx = dy · mask / (1 - p).
//
// The mask is not stored: it is a function of (seed, layer, pass), drawn anew wherever it is needed. One block of
// Philox, 8 halfwords, serves 8 rows of one column,
//
//   block = (row / 8) · columns + column, halfword row % 8 (the low half of each word first),
//
// so a vector of blocks is a vector of columns for 8 rows and nothing has to be transposed. An element is kept if its
// halfword is at least t = round(65536 p); to match what is kept exactly, the factor is 65536 / (65536 - t).
#pragma once

#include "../random.h"

namespace chainrule {

namespace dropout_detail {

// `words` holds a word for each lane of a Vec<T>, in lanes as wide as T; each word decides about two rows.
template <class T>
struct MaskWords {
    UnsignedVec<T> w[4];
};

// The words of lanes<T> columns from `first_block` on.
template <class T>
FORCE_INLINE MaskWords<T> mask_words(uint64_t seed, uint32_t stream, uint64_t pass, uint64_t first_block) {
    const UnsignedVec<double> first = broadcast<uint64_t>(first_block), i = iota<uint64_t>();
    if constexpr (sizeof(T) == 8) {
        const PhiloxWords r = philox4x32(seed, first + i, pass, stream);
        return {{r.w[0], r.w[1], r.w[2], r.w[3]}};
    } else {
        // even columns and odd columns, which then share the two halves of a 64-bit lane
        const UnsignedVec<double> even = first + i + i, low = broadcast<uint64_t>(0xFFFFFFFF);
        const PhiloxWords a = philox4x32(seed, even, pass, stream);
        const PhiloxWords b = philox4x32(seed, even + broadcast<uint64_t>(1), pass, stream);
        MaskWords<T> words;
        for (int j = 0; j < 4; ++j) words.w[j] = (UnsignedVec<T>)((a.w[j] & low) | (b.w[j] << 32));
        return words;
    }
}

// Calls row(i, kept) for the 8 rows i of a block.
template <class T, class Row>
FORCE_INLINE void each_row(const MaskWords<T>& words, uint32_t threshold, Row row) {
    const UnsignedVec<T> halfword = broadcast<Unsigned<T>>(0xFFFF);
    const IntVec<T> t = broadcast<Integer<T>>(Integer<T>(threshold));
    for (int j = 0; j < 4; ++j) {
        row(2 * j, (Mask<T>)((IntVec<T>)(words.w[j] & halfword) >= t));
        row(2 * j + 1, (Mask<T>)((IntVec<T>)(words.w[j] >> 16 & halfword) >= t));
    }
}

// 8 rows of 8 columns where a vector is twice as long: it holds two rows, which are the two halves of one word.
template <class T>
FORCE_INLINE void narrow_rows(uint64_t seed, uint32_t stream, uint64_t pass, uint64_t first_block, uint32_t threshold,
                              Vec<T> factor, const T* from, T* to, int rows) {
    static_assert(lanes<T> == 2 * narrow_panel && lanes<double> == narrow_panel);
    const PhiloxWords r = philox4x32(seed, broadcast<uint64_t>(first_block) + iota<uint64_t>(), pass, stream);
    const UnsignedVec<T> shift = first_lanes<T>(narrow_panel) ? UnsignedVec<T>{} : broadcast<Unsigned<T>>(16);
    const IntVec<T> t = broadcast<Integer<T>>(Integer<T>(threshold));
    for (int i = 0; i < rows; i += 2) {
        const UnsignedVec<T> w = (UnsignedVec<T>)r.w[i / 2];
        const UnsignedVec<T> both = __builtin_shufflevector(w, w, 0, 2, 4, 6, 8, 10, 12, 14, 0, 2, 4, 6, 8, 10, 12, 14);
        const Mask<T> mask = (IntVec<T>)(both >> shift & broadcast<Unsigned<T>>(0xFFFF)) >= t;
        const int n = rows - i < 2 ? narrow_panel : 2 * narrow_panel;
        const int64_t at = i * narrow_panel;
        store_partial(to + at, keep<T>(mask, load_partial(from + at, n) * factor), n);
    }
}

}  // namespace dropout_detail

// y = x · mask · factor. The rows of x are the rows first_row … of the batch, first_row a multiple of 8; y may be x.
template <class T>
void dropout(uint64_t seed, uint32_t layer, uint64_t pass, double p, Matrix<T> x, Matrix<T> y, int64_t first_row) {
    using namespace dropout_detail;
    const uint32_t threshold = uint32_t(__builtin_nearbyint(p * 65536));  // halves to even, as Python
    const Vec<T> factor = broadcast<T>(threshold < 65536 ? T(65536.0 / (65536.0 - threshold)) : T(0));
    const uint32_t stream = 1 + layer;
    for (int64_t r = 0; r < x.rows; r += 8) {
        const int rows = int(x.rows - r < 8 ? x.rows - r : 8);
        const uint64_t first_block = uint64_t((first_row + r) / 8) * uint64_t(x.columns);
        if constexpr (lanes<T> > narrow_panel) {
            if (x.width() == narrow_panel) {
                narrow_rows(seed, stream, pass, first_block, threshold, factor, x.row(0, r), y.row(0, r), rows);
                continue;
            }
        }
        for (int64_t c = 0; c < x.columns; c += lanes<T>) {
            const int64_t panel_index = c / x.width(), offset = c % x.width();
            const T* from = x.row(panel_index, r) + offset;
            T* to = y.row(panel_index, r) + offset;
            const int64_t stride = x.width();
            const MaskWords<T> words = mask_words<T>(seed, stream, pass, first_block + uint64_t(c));
            auto row = [&](int i, Mask<T> mask) ALWAYS_INLINE {
                store_unaligned(to + i * stride, keep<T>(mask, load_unaligned(from + i * stride) * factor));
            };
            if (rows == 8) each_row<T>(words, threshold, row);
            else each_row<T>(words, threshold, [&](int i, Mask<T> mask) ALWAYS_INLINE { if (i < rows) row(i, mask); });
        }
    }
}

}  // namespace chainrule
