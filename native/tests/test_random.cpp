// random.h: the known answers of Philox4x32-10, the vectors against the scalar twin, the order against std::sort.
#include "../src/random.h"

#include "check.h"
#include "naive_random.h"

using namespace chainrule;

namespace {

struct KnownAnswer {
    std::array<uint32_t, 4> counter;
    std::array<uint32_t, 2> key;
    std::array<uint32_t, 4> words;
};

// From kat_vectors of Random123 1.14, the lines "philox4x32 10".
const KnownAnswer known_answers[] = {
    {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
    {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
    {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}, {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
};

uint32_t word(const PhiloxWords& r, int j, int lane) { return uint32_t(r.w[j][lane]); }

TEST("the known answers of Random123") {
    for (const KnownAnswer& a : known_answers) {
        CHECK(naive::philox4x32(a.counter, a.key) == a.words);
        uint64_t seed = a.key[0] | uint64_t(a.key[1]) << 32, index = a.counter[1] | uint64_t(a.counter[2]) << 32;
        PhiloxWords r = philox4x32(seed, broadcast<uint64_t>(a.counter[0]), index, a.counter[3]);
        for (int j = 0; j < 4; ++j)
            for (int lane = 0; lane < lanes<double>; ++lane) CHECK(word(r, j, lane) == a.words[size_t(j)]);
    }
}

TEST("every lane is a block of its own") {
    uint64_t seed = 0x123456789abcdef0, index = 0xfedcba9876543210;
    PhiloxWords r = philox4x32(seed, iota<uint64_t>() + broadcast<uint64_t>(77), index, 5);
    for (int lane = 0; lane < lanes<double>; ++lane) {
        auto expected = naive::philox4x32(seed, uint32_t(77 + lane), index, 5);
        for (int j = 0; j < 4; ++j) CHECK(word(r, j, lane) == expected[size_t(j)]);
    }
}

TEST("the order of samples is that of their keys") {
    for (int64_t n : {1, 2, 3, 5, 7, 15, 16, 17, 31, 33, 100, 257, 1000, 1001, 65537, 300000})
        for (uint64_t seed : {uint64_t(0), uint64_t(1), ~uint64_t(0)})
            for (uint64_t epoch : {uint64_t(0), uint64_t(3), uint64_t(1) << 40}) {
                // guards behind both arrays: nothing may be written over the end
                std::vector<int64_t> order(size_t(n) + 1, -7);
                std::vector<unsigned char> scratch(size_t(sample_order_scratch(n)) + 64, 0xA5);
                sample_order(seed, epoch, n, order.data(), scratch.data());
                CHECK(order.back() == -7, "n %ld", long(n));
                for (size_t i = scratch.size() - 64; i < scratch.size(); ++i) CHECK(scratch[i] == 0xA5, "n %ld", long(n));
                order.pop_back();
                CHECK(order == naive::sample_order(seed, epoch, n), "n %ld", long(n));
            }
}

}  // namespace

TEST_MAIN
