// The scalar twins of random.h and layers/dropout.h: the specification, one number at a time.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

namespace naive {

inline std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> c, std::array<uint32_t, 2> k, int rounds = 10) {
    for (int round = 0; round < rounds; ++round) {
        uint64_t p0 = uint64_t(0xD2511F53) * c[0], p1 = uint64_t(0xCD9E8D57) * c[2];
        c = {uint32_t(p1 >> 32) ^ c[1] ^ k[0], uint32_t(p1), uint32_t(p0 >> 32) ^ c[3] ^ k[1], uint32_t(p0)};
        k = {k[0] + 0x9E3779B9, k[1] + 0xBB67AE85};
    }
    return c;
}

inline std::array<uint32_t, 4> philox4x32(uint64_t seed, uint32_t block, uint64_t index, uint32_t stream, int rounds = 10) {
    return philox4x32(std::array<uint32_t, 4>{block, uint32_t(index), uint32_t(index >> 32), stream},
                      std::array<uint32_t, 2>{uint32_t(seed), uint32_t(seed >> 32)}, rounds);
}

// Sorts 63-bit keys whose low bits are the samples' numbers.
inline std::vector<int64_t> sample_order(uint64_t seed, uint64_t epoch, int64_t n) {
    int64_t numbers = 16;
    while (numbers < n) numbers *= 2;
    std::vector<int64_t> keys;
    for (uint32_t block = 0; int64_t(keys.size()) < n; ++block) {
        auto w = philox4x32(seed, block, epoch, 0);
        for (uint64_t key : {w[0] | uint64_t(w[1]) << 32, w[2] | uint64_t(w[3]) << 32})
            keys.push_back(int64_t(key / 2) / numbers * numbers + int64_t(keys.size()));
    }
    keys.resize(size_t(n));
    std::sort(keys.begin(), keys.end());
    for (int64_t& key : keys) key %= numbers;
    return keys;
}

// The factor of element (row, column) of a batch: 0 or 65536 / (65536 - t).
inline double dropout_factor(uint64_t seed, uint32_t layer, uint64_t pass, double p, int64_t columns, int64_t row, int64_t column) {
    long t = std::lrint(p * 65536);  // halves to even
    int64_t element = row * columns + column;
    auto w = philox4x32(seed, uint32_t(element / 8), pass, 1 + layer, 7);
    uint32_t word = w[size_t(element % 8 / 2)];
    uint32_t halfword = element % 2 ? word >> 16 : word & 0xFFFF;
    return halfword >= uint32_t(t) ? 65536.0 / (65536.0 - double(t)) : 0;
}

}  // namespace naive
