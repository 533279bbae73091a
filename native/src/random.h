// Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as
// 1, 2, 3", 2011). A number is a pure function of seed, stream, index and block, so nothing needs to be remembered:
//
//   key     = (seed, low 32 bits; seed, high 32 bits)
//   counter = (block; index, low; index, high; stream)
//
// Stream 0, index e: the order of samples in epoch e. Stream 1 + layer, index s: the dropout mask of a layer in its
// pass s (layers/dropout.h).
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
inline constexpr int rounds = 10;

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

FORCE_INLINE PhiloxWords philox4x32(uint64_t seed, UnsignedVec<double> block, uint64_t index, uint32_t stream) {
    using namespace philox;
    UnsignedVec<double> c0 = block, c1 = broadcast<uint64_t>(index), c2 = broadcast<uint64_t>(index >> 32),
                        c3 = broadcast<uint64_t>(stream);
    const UnsignedVec<double> m0 = broadcast<uint64_t>(multiplier0), m1 = broadcast<uint64_t>(multiplier1);
    uint32_t k0 = uint32_t(seed), k1 = uint32_t(seed >> 32);
#pragma GCC unroll 10
    for (int round = 0; round < rounds; ++round) {
        const UnsignedVec<double> p0 = multiply_low(m0, c0), p1 = multiply_low(m1, c2);
        c0 = (p1 >> 32) ^ c1 ^ broadcast<uint64_t>(k0);
        c2 = (p0 >> 32) ^ c3 ^ broadcast<uint64_t>(k1);
        c1 = p1;
        c3 = p0;
        k0 += weyl0;
        k1 += weyl1;
    }
    return {{c0, c1, c2, c3}};
}

// ---- the order of samples ----------------------------------------------------------------------------------------

// Buckets per key: more of them leave fewer keys to be put in order inside a bucket, and cost more memory to count in.
inline constexpr int64_t buckets_per_sample = 2;

// Bytes of scratch memory that sample_order needs.
inline int64_t sample_order_scratch(int64_t n) {
    const int64_t keys = round_up(n, 2 * lanes<double>);
    return 2 * keys * int64_t(sizeof(uint64_t)) + (buckets_per_sample * n + 1) * int64_t(sizeof(uint32_t));
}

// The order of n samples in an epoch: the stable ascending argsort of n random 64-bit keys, of which block b holds two,
// w0 | w1 << 32 and w2 | w3 << 32. Random keys fill buckets evenly, so they are counted into buckets by their high bits
// and only the few that share one are compared: linear time, no allocation. n < 2^31.
inline void sample_order(uint64_t seed, uint64_t epoch, int64_t n, int64_t* order, void* scratch) {
    const int64_t padded = round_up(n, 2 * lanes<double>), buckets = buckets_per_sample * n;
    uint64_t* keys = static_cast<uint64_t*>(scratch);
    uint64_t* sorted = keys + padded;
    uint32_t* ends = reinterpret_cast<uint32_t*>(sorted + padded);
    auto bucket = [&](uint64_t key) ALWAYS_INLINE {  // key / 2^64 · buckets, which ascends with the key
        return int64_t((static_cast<unsigned __int128>(key) * uint64_t(buckets)) >> 64);
    };

    std::memset(ends, 0, size_t(buckets + 1) * sizeof(uint32_t));
    const UnsignedVec<double> low = broadcast<uint64_t>(0xFFFFFFFF);
    for (int64_t b = 0; 2 * b < n; b += lanes<double>) {
        const PhiloxWords r = philox4x32(seed, iota<uint64_t>() + broadcast<uint64_t>(uint64_t(b)), epoch, 0);
        uint64_t even[lanes<double>], odd[lanes<double>];
        store_unaligned(even, (r.w[0] & low) | (r.w[1] << 32));
        store_unaligned(odd, (r.w[2] & low) | (r.w[3] << 32));
        for (int i = 0; i < lanes<double>; ++i) {
            keys[2 * (b + i)] = even[i];
            keys[2 * (b + i) + 1] = odd[i];
        }
    }
    for (int64_t i = 0; i < n; ++i) ++ends[bucket(keys[i])];
    uint32_t sum = 0;
    for (int64_t i = 0; i < buckets; ++i) {  // the number in a bucket becomes where the bucket begins
        const uint32_t count = ends[i];
        ends[i] = sum;
        sum += count;
    }
    for (int64_t i = 0; i < n; ++i) {
        const uint32_t at = ends[bucket(keys[i])]++;
        sorted[at] = keys[i];
        order[at] = i;
    }
    // Insertion sort never leaves a bucket: keys of an earlier bucket are smaller. Equal keys stay in their order.
    for (int64_t i = 1; i < n; ++i) {
        const uint64_t key = sorted[i];
        if (sorted[i - 1] <= key) continue;
        const int64_t sample = order[i];
        int64_t at = i;
        for (; at > 0 && sorted[at - 1] > key; --at) {
            sorted[at] = sorted[at - 1];
            order[at] = order[at - 1];
        }
        sorted[at] = key;
        order[at] = sample;
    }
}

}  // namespace chainrule
