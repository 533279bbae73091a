// The masks of Dropout: y = x · mask / (1 - p), and the same for dx.
//
// A mask is not stored: it is a function of (seed, layer, pass), drawn anew wherever it is needed. A block of Philox is
// eight halfwords (the low half of each word first), and
//
//   element (row, column) has number e = row · columns + column, and halfword e % 8 of block e / 8.
//
// It is kept if its halfword is at least t = round(65536 p); to match what is kept exactly, the factor is
// 65536 / (65536 - t).
#pragma once

#include "random.h"

namespace chainrule {

// A stretch of the halfwords that belong to one mask, drawn as they are needed, up to element `end`.
class Halfwords {
public:
    Halfwords(uint64_t seed, uint32_t layer, uint64_t pass, int64_t end)
        : seed_(seed), pass_(pass), stream_(1 + layer), end_(end) {}

    // Those of the elements e … e + n - 1. Ascending e; n at most a few dozen.
    FORCE_INLINE const uint16_t* at(int64_t e, int64_t n) {
        if (e + n > drawn_) draw(e, n);
        return halfword_ + (e - first_);
    }

private:
    static constexpr int64_t per_block = 8, window = 1024, step = per_block * lanes<double>;

    NO_INLINE void draw(int64_t e, int64_t n) {
        const int64_t wanted = end_ - e < window ? end_ - e : window;
        first_ = e / per_block * per_block;
        drawn_ = first_;
        for (uint16_t* to = halfword_; drawn_ < e + (wanted > n ? wanted : n); drawn_ += step, to += step) {
            const UnsignedVec<double> block = iota<uint64_t>() + broadcast<uint64_t>(uint64_t(drawn_ / per_block));
            store_pairs(to, philox4x32<philox::rounds_for_dropout>(seed_, block, pass_, stream_),
                        std::make_integer_sequence<int, lanes<double>>{});
        }
    }

    // Block after block.
    template <int... I>
    FORCE_INLINE static void store_pairs(uint16_t* to, const PhiloxWords& r, std::integer_sequence<int, I...>) {
        constexpr int L = lanes<double>;
        const UnsignedVec<double> a = first_pair(r), b = second_pair(r);
        const UnsignedVec<double> parts[2] = {__builtin_shufflevector(a, b, (I / 2 + I % 2 * L)...),
                                              __builtin_shufflevector(a, b, (L / 2 + I / 2 + I % 2 * L)...)};
        std::memcpy(to, parts, sizeof parts);
    }

    uint64_t seed_, pass_;
    uint32_t stream_;
    int64_t end_, first_ = 0, drawn_ = 0;
    alignas(64) uint16_t halfword_[window + 2 * step];
};

namespace dropout_detail {

// round(65536 p), halves to even, as Python.
inline int64_t threshold(double p) { return int64_t(__builtin_nearbyint(p * 65536)); }

template <class T>
Vec<T> factor(double p) {
    const int64_t t = threshold(p);
    return broadcast<T>(t < 65536 ? T(65536.0 / double(65536 - t)) : T(0));
}

// y = f(row, column, vector of x, vector of y), vector by vector along the rows.
template <class T, class F>
FORCE_INLINE void each_vector(const Matrix<T>& x, const Matrix<T>& y, F f) {
    const int width = x.width();
    for (int64_t r = 0; r < x.rows; ++r)
        for (int64_t p = 0, c = 0; c < x.columns; ++p) {
            const T* from = x.row(p, r);
            T* to = y.row(p, r);
            if (width < lanes<T>) {
                store_partial(to, f(r, c, load_partial(from, narrow_panel), load_partial(to, narrow_panel)), narrow_panel);
                c += width;
            } else {
                for (int v = 0; v < width && c < x.columns; v += lanes<T>, c += lanes<T>)
                    store_unaligned(to + v, f(r, c, load_unaligned(from + v), load_unaligned(to + v)));
            }
        }
}

}  // namespace dropout_detail

// y = x · mask · factor, or added to y. The rows of x are the rows first_row … of the batch; y may be x.
template <bool adds = false, class T>
void dropout(uint64_t seed, uint32_t layer, uint64_t pass, double p, const Matrix<T>& x, const Matrix<T>& y, int64_t first_row) {
    typedef uint16_t Drawn __attribute__((vector_size(2 * lanes<T>)));
    const IntVec<T> threshold = broadcast<Integer<T>>(Integer<T>(dropout_detail::threshold(p)));
    const Vec<T> factor = dropout_detail::factor<T>(p);
    Halfwords halfwords(seed, layer, pass, (first_row + x.rows) * x.columns);
    dropout_detail::each_vector<T>(x, y, [&](int64_t r, int64_t c, Vec<T> value, Vec<T> held) ALWAYS_INLINE {
        Drawn drawn;
        std::memcpy(&drawn, halfwords.at((first_row + r) * x.columns + c, lanes<T>), sizeof drawn);
        const Vec<T> mine = value * keep<T>(__builtin_convertvector(drawn, IntVec<T>) >= threshold, factor);
        return adds ? held + mine : mine;
    });
}

// dx = dy · factor, where zeros of the output are mask enough: behind a ReLU.
template <class T>
void dropout_scale(double p, const Matrix<T>& dy) {
    const Vec<T> factor = dropout_detail::factor<T>(p);
    dropout_detail::each_vector<T>(dy, dy, [&](int64_t, int64_t, Vec<T> value, Vec<T>) ALWAYS_INLINE { return value * factor; });
}

}  // namespace chainrule
