// Nanoseconds for a word from one thread to another and back.
//
// What sharing a step costs follows from it. Between cores that share a cache it is about 100; where it is several hundred,
// small networks train faster on one thread (src/threads.h). On a virtual machine it may change from minute to minute.
#include <atomic>
#include <cstdio>
#include <thread>

#include "timing.h"

int main() {
    constexpr int64_t stop = -1;
    alignas(128) std::atomic<int64_t> ball{0};
    std::thread partner([&] {
        for (int64_t last = 0;;) {
            const int64_t now = ball.load(std::memory_order_acquire);
            if (now == stop) return;
            if (now % 2 == 1 && now != last) ball.store(last = now + 1, std::memory_order_release);
        }
    });
    int64_t turn = 0;
    const double seconds = median_seconds(
        [&] {
            ball.store(++turn, std::memory_order_release);
            ++turn;
            while (ball.load(std::memory_order_acquire) != turn) {}
        },
        0.5);
    ball.store(stop, std::memory_order_release);
    partner.join();
    std::printf("round trip %.0f ns\n", seconds * 1e9);
}
