// The median of many short rounds: on a shared machine the mean measures the neighbours.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <vector>

// Seconds that one call of `body` takes.
template <class Body>
double median_seconds(Body body, double budget = 0.05) {
    using clock = std::chrono::steady_clock;
    auto seconds = [](clock::duration d) { return std::chrono::duration<double>(d).count(); };
    int64_t calls = 1;
    for (;; calls *= 2) {  // a round long enough for the clock
        auto start = clock::now();
        for (int64_t i = 0; i < calls; ++i) body();
        if (seconds(clock::now() - start) > 5e-5) break;
    }
    std::vector<double> rounds;
    for (auto begin = clock::now(); seconds(clock::now() - begin) < budget;) {
        auto start = clock::now();
        for (int64_t i = 0; i < calls; ++i) body();
        rounds.push_back(seconds(clock::now() - start) / double(calls));
    }
    std::nth_element(rounds.begin(), rounds.begin() + std::ptrdiff_t(rounds.size() / 2), rounds.end());
    return rounds[rounds.size() / 2];
}

// Makes the compiler believe that the memory was read and written.
inline void touch(void* p) { asm volatile("" : : "r"(p) : "memory"); }
