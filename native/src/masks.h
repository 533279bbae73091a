// The masks of Dropout: y = x · mask / (1 - p), and the same for dx.
//
// A mask is a function of (seed, layer, pass), so none is kept for the way back: it is drawn anew. A block of Philox is eight
// halfwords (the low half of each word first), and
//
//   element (row, column) has number e = row · columns + column, and halfword e % 8 of block e / 8.
//
// It is kept if its halfword is at least t = round(65536 p); to match what is kept exactly, the factor is
// 65536 / (65536 - t).
#pragma once

#include "matrices.h"
#include "random.h"

namespace chainrule {

// The halfwords of a layer's masks, a stretch at a time. Each thread needs one of its own.
class Halfwords {
public:
    static constexpr int64_t most = 1024;  // in a stretch: they stay in the nearest cache until they are used

    Halfwords(uint64_t seed, uint32_t layer) : key_(seed), stream_(1 + layer) {}
    Halfwords another() const { return Halfwords(key_, stream_); }  // with nothing drawn yet

    // Is a mask of so many elements drawn together with those of the passes to come? Alone it would be one chain of
    // multiplications, each waiting for the last.
    static bool draws_ahead(int64_t elements) { return elements <= (together - 1) * per_block; }

    // Those of the elements e … e + n - 1 of a pass, and something behind them that vectors may read; n <= most.
    FORCE_INLINE const uint16_t* at(uint64_t pass, int64_t e, int64_t n) {
        const int64_t first = e / per_block, blocks = (e + n + per_block - 1) / per_block - first;
        if (first != first_ || blocks != blocks_ || pass - pass_ >= passes_) {
            pass_ = pass;
            first_ = first;
            blocks_ = blocks;
            if (e == 0 && draws_ahead(n)) draw_ahead();
            else draw();
        }
        return halfword_ + int64_t(pass - pass_) * blocks * per_block + e % per_block;
    }

private:
    using Key = PhiloxKey<philox::rounds_for_dropout>;
    Halfwords(const Key& key, uint32_t stream) : key_(key), stream_(stream) {}
    using Words = UnsignedVec<double>;
    static constexpr int64_t per_block = 8, in_set = lanes<double>;
    static constexpr int64_t together = philox::sets * in_set;

    NO_INLINE void draw() {
        passes_ = 1;
        const uint64_t pass = pass_, first = uint64_t(first_);
        fill(blocks_, [&](int64_t i, Words& block, Words& index) ALWAYS_INLINE {
            block = iota<uint64_t>() + broadcast<uint64_t>(first + uint64_t(i));
            index = broadcast<uint64_t>(pass);
        });
    }
    // Number i is block i % blocks of pass i / blocks, which is i · (2^16 / blocks) / 2^16 for numbers as small as these.
    NO_INLINE void draw_ahead() {
        passes_ = uint64_t(most / per_block / blocks_);
        const Words pass = broadcast<uint64_t>(pass_), blocks = broadcast<uint64_t>(uint64_t(blocks_));
        const Words inverse = broadcast<uint64_t>(uint64_t(65536 / blocks_ + 1));
        fill(int64_t(passes_) * blocks_, [&](int64_t i, Words& block, Words& index) ALWAYS_INLINE {
            const Words number = iota<uint64_t>() + broadcast<uint64_t>(uint64_t(i));
            const Words ahead = philox::multiply_low(number, inverse) >> 16;
            block = number - philox::multiply_low(ahead, blocks);
            index = ahead + pass;
        });
    }

    // Blocks 0 … n - 1 of those whose numbers are next(i, block, index) for i, i + 1, …
    template <class Next>
    FORCE_INLINE void fill(int64_t n, Next next) {
        int64_t i = 0;
        for (; n - i > together / 2; i += together) draw_set<philox::sets>(i, halfword_ + i * per_block, next);
        for (; i < n; i += in_set) draw_set<1>(i, halfword_ + i * per_block, next);
    }
    template <int Sets, class Next>
    FORCE_INLINE void draw_set(int64_t i, uint16_t* to, Next next) const {
        Words block[Sets], index[Sets];
        PhiloxWords r[Sets];
#pragma GCC unroll 4
        for (int s = 0; s < Sets; ++s) next(i + s * in_set, block[s], index[s]);
        philox4x32<philox::rounds_for_dropout, Sets>(key_, block, index, stream_, r);
#pragma GCC unroll 4
        for (int s = 0; s < Sets; ++s) store_pairs(to + s * in_set * per_block, r[s], std::make_integer_sequence<int, lanes<double>>{});
    }

    // Block after block.
    template <int... I>
    FORCE_INLINE static void store_pairs(uint16_t* to, const PhiloxWords& r, std::integer_sequence<int, I...>) {
        constexpr int L = lanes<double>;
        const Words a = first_pair(r), b = second_pair(r);
        const Words parts[2] = {__builtin_shufflevector(a, b, (I / 2 + I % 2 * L)...),
                                __builtin_shufflevector(a, b, (L / 2 + I / 2 + I % 2 * L)...)};
        std::memcpy(to, parts, sizeof parts);
    }

    Key key_;
    uint32_t stream_;
    uint64_t pass_ = 0, passes_ = 0;
    int64_t first_ = 0, blocks_ = 0;
    alignas(64) uint16_t halfword_[most + (1 + together) * per_block + 64];
};

// What p comes to: what a halfword must be at least, and the factor of what is kept.
template <class T>
struct Kept {
    int64_t least;
    T factor;
    explicit Kept(double p) : least(int64_t(__builtin_nearbyint(p * 65536))) {  // halves to even, as Python
        factor = least < 65536 ? T(65536.0 / double(65536 - least)) : T(0);
        if (least == 65536) least = 65535;  // of no matter then, and a halfword
    }

    // The factors of a vector of elements: 0 for those that are dropped.
    FORCE_INLINE Vec<T> mask(const uint16_t* drawn) const {
#if defined(__AVX512BW__) && defined(__AVX512VL__)  // GCC would widen the halfwords before it compares them
        const Vec<T> all = broadcast<T>(factor);
        if constexpr (sizeof(T) == 4) {
            const __m256i halfwords = _mm256_loadu_si256(reinterpret_cast<const __m256i_u*>(drawn));
            return (Vec<T>)_mm512_maskz_mov_ps(_mm256_cmpge_epu16_mask(halfwords, _mm256_set1_epi16(int16_t(least))), (__m512)all);
        } else {
            const __m128i halfwords = _mm_loadu_si128(reinterpret_cast<const __m128i_u*>(drawn));
            return (Vec<T>)_mm512_maskz_mov_pd(_mm_cmpge_epu16_mask(halfwords, _mm_set1_epi16(int16_t(least))), (__m512d)all);
        }
#else
        typedef uint16_t Drawn __attribute__((vector_size(2 * lanes<T>)));
        Drawn halfwords;
        std::memcpy(&halfwords, drawn, sizeof halfwords);
        return keep<T>(__builtin_convertvector(halfwords, IntVec<T>) >= broadcast<Integer<T>>(Integer<T>(least)), broadcast<T>(factor));
#endif
    }
};

// y = x · mask · factor, or added to y. The rows of x are the rows first_row … of the batch; y may be x.
template <bool adds = false, class T>
void dropout(Halfwords& halfwords, uint64_t pass, Kept<T> kept, const Matrix<T>& x, const Matrix<T>& y, int64_t first_row) {
    const int64_t columns = x.columns, x_pitch = x.pitch, y_pitch = y.pitch;
    const int width = x.width();
    // A stretch: all rows, or as many as fit, or a part of one.
    const int64_t across = columns < Halfwords::most ? columns : Halfwords::most;
    const int64_t down = x.rows * columns <= Halfwords::most ? x.rows : Halfwords::most / across;
    for (int64_t r = 0; r < x.rows; r += down)
        for (int64_t c = 0; c < columns; c += across) {
            const int64_t rows = x.rows - r < down ? x.rows - r : down, count = columns - c < across ? columns - c : across;
            const uint16_t* drawn = halfwords.at(pass, (first_row + r) * columns + c, (rows - 1) * columns + count);
            const T* from = x.data + x.column_offset(c) + r * width;
            T* to = y.data + y.column_offset(c) + r * width;
            if (width < lanes<T>) {
                for (int64_t i = 0; i < rows; ++i, from += width, to += width, drawn += columns) {
                    const Vec<T> mine = load_partial(from, narrow_panel) * kept.mask(drawn);
                    store_partial(to, adds ? load_partial(to, narrow_panel) + mine : mine, narrow_panel);
                }
                continue;
            }
            for (int64_t left = count; left > 0; left -= width, from += x_pitch, to += y_pitch, drawn += width) {
                const auto each_row = [&](auto end) ALWAYS_INLINE {
                    for (int64_t i = 0; i < rows; ++i)
                        for (int v = 0; v < end; v += lanes<T>) {
                            T* at = to + i * width + v;
                            const Vec<T> mine = load_unaligned(from + i * width + v) * kept.mask(drawn + i * columns + v);
                            store_unaligned(at, adds ? load_unaligned(at) + mine : mine);
                        }
                };
                if (left > panel<T> - lanes<T>) each_row(std::integral_constant<int, panel<T>>{});
                else each_row(int(left));
            }
        }
}

// The same with one number of the mask for each column of a sample: element (sample, column) of a matrix of samples.
template <bool adds, class T>
void dropout_of_channels(Halfwords& halfwords, uint64_t pass, Kept<T> kept, const Matrix<T>& x, const Matrix<T>& y, int64_t positions, int64_t first_sample) {
    const int width = x.width(), part = lanes<T> < width ? lanes<T> : width;
    for (int64_t s = 0; s < x.rows / positions; ++s)
        for (int64_t first = 0; first < x.columns; first += Halfwords::most) {
            const int64_t n = x.columns - first < Halfwords::most ? x.columns - first : Halfwords::most;
            const uint16_t* const drawn = halfwords.at(pass, (first_sample + s) * x.columns + first, n);
            for (int64_t c = 0; c < n; c += part) {
                const Vec<T> mask = kept.mask(drawn + c);
                const T* from = &x.at(s * positions, first + c);
                T* to = &y.at(s * positions, first + c);
                for (int64_t p = 0; p < positions; ++p, from += width, to += width) {
                    const Vec<T> kept_of = load_partial(from, part) * mask;
                    store_partial(to, adds ? load_partial(to, part) + kept_of : kept_of, part);
                }
            }
        }
}

}  // namespace chainrule
