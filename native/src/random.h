// Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as
// 1, 2, 3", 2011). A number is a pure function of seed, stream, index and block, so nothing needs to be remembered:
//
//   key     = (seed, low 32 bits; seed, high 32 bits)
//   counter = (block; index, low; index, high; stream)
//
// Stream 0, index e: the order of samples in epoch e. Stream 1 + layer, index s: the dropout mask of a layer in its
// pass s (masks.h).
#pragma once

#include "panels.h"

namespace chainrule {

// As many blocks at once as there are 64-bit lanes. A 32-bit word lies in the low half of its lane; what is in the high
// half is left over from the arithmetic and means nothing: the products below read low halves only.
struct PhiloxWords {
    UnsignedVec<double> w[4];
};

namespace philox {

// The two multipliers and the two Weyl increments of the paper (table 2 and section 4.3; golden ratio and √3 - 1).
inline constexpr uint64_t multiplier0 = 0xD2511F53, multiplier1 = 0xCD9E8D57;
inline constexpr uint32_t weyl0 = 0x9E3779B9, weyl1 = 0xBB67AE85;
// Ten rounds are the paper's choice with a margin; seven pass every test of BigCrush (its table 2), and do for dropout.
inline constexpr int rounds = 10, rounds_for_dropout = 7;
// Sets of blocks that are drawn together: a 25-wide mask of 100 rows takes 0.24 us so with AVX-512, 0.63 with AVX2, and 0.27 and
// 0.69 with two of them.
inline constexpr int sets = 4;

// The 64-bit products of the low halves.
FORCE_INLINE UnsignedVec<double> multiply_low(UnsignedVec<double> a, UnsignedVec<double> b) {
#if defined(__AVX512F__)
    return (UnsignedVec<double>)_mm512_maskz_mul_epu32(__mmask8(-1), (__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
    return (UnsignedVec<double>)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
    return (UnsignedVec<double>)_mm_mul_epu32((__m128i)a, (__m128i)b);
#elif defined(__ARM_NEON)
    return (UnsignedVec<double>)vmull_u32(vmovn_u64((uint64x2_t)a), vmovn_u64((uint64x2_t)b));
#else
    const UnsignedVec<double> low = broadcast<uint64_t>(0xFFFFFFFF);
    return (a & low) * (b & low);
#endif
}

}  // namespace philox

// What the key is in each round.
template <int Rounds = philox::rounds>
struct PhiloxKey {
    uint64_t k0[Rounds], k1[Rounds];
    explicit PhiloxKey(uint64_t seed) {
        for (int round = 0; round < Rounds; ++round) {
            k0[round] = uint32_t(seed) + uint32_t(round) * philox::weyl0;
            k1[round] = uint32_t(seed >> 32) + uint32_t(round) * philox::weyl1;
        }
    }
};

// Sets of blocks side by side, one in each element of the arrays. A set is one chain of multiplications, each of which waits
// for the last: with several the wait is put to use.
template <int Rounds, int Sets>
FORCE_INLINE void philox4x32(const PhiloxKey<Rounds>& key, const UnsignedVec<double> (&block)[Sets],
                             const UnsignedVec<double> (&index)[Sets], uint32_t stream, PhiloxWords (&r)[Sets]) {
    using namespace philox;
    const UnsignedVec<double> m0 = broadcast<uint64_t>(multiplier0), m1 = broadcast<uint64_t>(multiplier1);
    UnsignedVec<double> p0[Sets], p1[Sets];
#pragma GCC unroll 4
    for (int s = 0; s < Sets; ++s) r[s] = {{block[s], index[s], index[s] >> 32, broadcast<uint64_t>(stream)}};
#pragma GCC unroll 10
    for (int round = 0; round < Rounds; ++round) {
#pragma GCC unroll 4
        for (int s = 0; s < Sets; ++s) p0[s] = multiply_low(m0, r[s].w[0]), p1[s] = multiply_low(m1, r[s].w[2]);
        const UnsignedVec<double> k0 = broadcast<uint64_t>(key.k0[round]), k1 = broadcast<uint64_t>(key.k1[round]);
#pragma GCC unroll 4
        for (int s = 0; s < Sets; ++s)
            r[s] = {{(p1[s] >> 32) ^ r[s].w[1] ^ k0, p1[s], (p0[s] >> 32) ^ r[s].w[3] ^ k1, p0[s]}};
    }
}

template <int Rounds = philox::rounds>
FORCE_INLINE PhiloxWords philox4x32(uint64_t seed, UnsignedVec<double> block, uint64_t index, uint32_t stream) {
    PhiloxWords r[1];
    philox4x32<Rounds, 1>(PhiloxKey<Rounds>(seed), {block}, {broadcast<uint64_t>(index)}, stream, r);
    return r[0];
}

// The first two words of each block as one number, and the last two.
FORCE_INLINE UnsignedVec<double> first_pair(const PhiloxWords& r) {
    return (r.w[0] & broadcast<uint64_t>(0xFFFFFFFF)) | (r.w[1] << 32);
}
FORCE_INLINE UnsignedVec<double> second_pair(const PhiloxWords& r) {
    return (r.w[2] & broadcast<uint64_t>(0xFFFFFFFF)) | (r.w[3] << 32);
}

// ---- the order of samples ----------------------------------------------------------------------------------------

// A sample's key: 63 random bits, of which the low ones make way for the sample's own number, so that keys are sorted as
// single numbers and none is like another. n <= 2^31.
inline int index_bits(int64_t n) {
    int bits = 4;
    while (int64_t(1) << bits < n) ++bits;
    return bits;
}

// Keys are counted into that many buckets: two for each, so that few share one.
inline int64_t key_buckets(int64_t n) { return int64_t(2) << index_bits(n); }

// Bytes of scratch memory that sample_order needs.
inline int64_t sample_order_scratch(int64_t n) {
    return 2 * round_up(n, virtual_lanes) * int64_t(sizeof(int64_t)) + key_buckets(n) * int64_t(sizeof(uint32_t));
}

namespace sorting {

inline constexpr auto key_lanes = std::make_integer_sequence<int, lanes<double>>{};
inline constexpr auto count_lanes = std::make_integer_sequence<int, lanes<float>>{};

template <int... I>
FORCE_INLINE Vec<int64_t> partners(Vec<int64_t> v, std::integer_sequence<int, I...>) {
    return __builtin_shufflevector(v, v, (I ^ 1)...);
}

// Puts keys 0 and 1, 2 and 3, … in order, without a branch that could be predicted wrongly.
FORCE_INLINE void order_pairs(int64_t* keys, int64_t n) {
    const Vec<int64_t> upper = Vec<int64_t>{} - (iota<int64_t>() & 1);  // the lanes that shall have the larger one
    for (int64_t i = 0; i + lanes<double> <= n; i += lanes<double>) {
        const Vec<int64_t> mine = load_unaligned(keys + i), other = partners(mine, key_lanes), trade = (mine > other) ^ upper;
        store_unaligned(keys + i, (trade & other) | (~trade & mine));
    }
}

// v plus v moved up by Step lanes, and so on with twice as many: lane i becomes the sum of the lanes up to i.
template <int Step, int... I>
FORCE_INLINE Vec<uint32_t> sums_up_to(Vec<uint32_t> v, std::integer_sequence<int, I...> all) {
    if constexpr (Step >= lanes<float>) return v;
    else return sums_up_to<2 * Step>(v + __builtin_shufflevector(Vec<uint32_t>{}, v, (I < Step ? 0 : lanes<float> + I - Step)...), all);
}
// counts[i] becomes the sum of those before it. n is a multiple of a vector.
FORCE_INLINE void sums_before(uint32_t* counts, int64_t n) {
    uint32_t before = 0;
    for (int64_t i = 0; i < n; i += lanes<float>) {
        const Vec<uint32_t> count = load_unaligned(counts + i), sum = sums_up_to<1>(count, count_lanes);
        store_unaligned(counts + i, sum - count + broadcast<uint32_t>(before));
        before += sum[lanes<float> - 1];
    }
}

}  // namespace sorting

// The order of n samples in an epoch: their keys sorted. Block b of the generator holds two, w0 | w1 << 32 and
// w2 | w3 << 32, each shifted right by one. Random keys fill buckets evenly, so they are counted into buckets by their
// high bits, and only the few that share one are compared: linear time, no allocation.
inline void sample_order(uint64_t seed, uint64_t epoch, int64_t n, int64_t* order, void* scratch) {
    using Words = UnsignedVec<double>;
    const int64_t padded = round_up(n, virtual_lanes), buckets = key_buckets(n);
    const int64_t index_mask = (int64_t(1) << index_bits(n)) - 1;
    const int shift = 62 - index_bits(n);  // from a key to its bucket
    int64_t* keys = static_cast<int64_t*>(scratch);
    int64_t* sorted = keys + padded;
    uint32_t* places = reinterpret_cast<uint32_t*>(sorted + padded);

    const Words random_bits = broadcast<uint64_t>(~uint64_t(index_mask));
    const PhiloxKey<> key(seed);
    const auto draw = [&](auto sets, int64_t b) ALWAYS_INLINE {
        constexpr int n = decltype(sets)::value;
        Words block[n], index[n];
        PhiloxWords r[n];
#pragma GCC unroll 4
        for (int s = 0; s < n; ++s) {
            block[s] = iota<uint64_t>() + broadcast<uint64_t>(uint64_t(b + s * lanes<double>));
            index[s] = broadcast<uint64_t>(epoch);
        }
        philox4x32<philox::rounds, n>(key, block, index, 0, r);
#pragma GCC unroll 4
        for (int s = 0; s < n; ++s) {
            int64_t* to = keys + 2 * (b + s * lanes<double>);
            store_unaligned(to, Vec<int64_t>((first_pair(r[s]) >> 1 & random_bits) | (block[s] << 1)));
            store_unaligned(to + lanes<double>, Vec<int64_t>((second_pair(r[s]) >> 1 & random_bits) | (block[s] << 1) | 1));
        }
    };
    int64_t b = 0;
    for (; 2 * (b + philox::sets * lanes<double>) <= padded; b += philox::sets * lanes<double>) draw(std::integral_constant<int, philox::sets>{}, b);
    for (; 2 * b < padded; b += lanes<double>) draw(std::integral_constant<int, 1>{}, b);
    for (int64_t i = padded - virtual_lanes; i < padded; ++i)  // what is there only to fill vectors comes last
        if ((keys[i] & index_mask) >= n) keys[i] |= INT64_MAX ^ index_mask;

    std::memset(places, 0, size_t(buckets) * sizeof(uint32_t));
    for (int64_t i = 0; i < padded; ++i) ++places[keys[i] >> shift];
    sorting::sums_before(places, buckets);
    for (int64_t i = 0; i < padded; ++i) sorted[places[keys[i] >> shift]++] = keys[i];

    // Two keys in one bucket are the rule where there are several: they are put in order first. The rest is left to
    // insertion, which never leaves a bucket.
    sorting::order_pairs(sorted, padded);
    sorting::order_pairs(sorted + 1, padded - 1);
    for (int64_t begin = 1; begin < padded; begin += lanes<double>) {
        const int64_t end = padded - begin < lanes<double> ? padded : begin + lanes<double>;
        if (end - begin == lanes<double> && !any<double>(load_unaligned(sorted + begin - 1) > load_unaligned(sorted + begin))) continue;
        for (int64_t i = begin; i < end; ++i) {
            const int64_t key = sorted[i];
            int64_t at = i;
            for (; at > 0 && sorted[at - 1] > key; --at) sorted[at] = sorted[at - 1];
            sorted[at] = key;
        }
    }
    for (int64_t i = 0; i < n; ++i) order[i] = sorted[i] & index_mask;
}

}  // namespace chainrule
