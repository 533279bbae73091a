// A few threads that share the work of one step. No sum ever crosses threads, so any number of them gives the same bits.
//
// A step is a row of phases, a phase a number of parts, and whoever is free takes the next part: the thread that leads,
// or a helper. The leader never waits for a helper that has not come (another process may have its core), only for
// parts that somebody has begun. So a busy machine costs a little, and never a collapse: a barrier for all threads,
// spinning, turned 17 µs into 111-278 in a trial. When helpers do not come for several steps they are not called for
// a while.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "network.h"

namespace chainrule {

FORCE_INLINE void pause() {
#if defined(__SSE2__)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

class Pool {
public:
    explicit Pool(int size) : size_(size < most ? size : most) {}
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;
    ~Pool() {
        {
            std::lock_guard<std::mutex> lock(mutex_);
            stop_ = true;
        }
        wake_.notify_all();
        for (std::thread& t : threads_) t.join();
    }

    int size() const { return size_; }

    // Starts the threads, if there are none yet (not at construction: a network that only predicts needs none).
    void start() {
        while (int(threads_.size()) + 1 < size_) threads_.emplace_back([this] { help(); });
    }

    // Is help likely to come? Asked once per step.
    bool expects_help() {
        if (size_ == 1) return false;
        if (alone_ > 0) {
            --alone_;
            return false;
        }
        return true;
    }

    // Called after a step with help: looks whether any came.
    void learn() {
        if (helped_.exchange(0, std::memory_order_relaxed) > 0) {
            missed_ = 0;
            pause_steps_ = first_pause;
        } else if (++missed_ == patience) {
            missed_ = 0;
            alone_ = pause_steps_;
            pause_steps_ = pause_steps_ < 4096 ? 2 * pause_steps_ : pause_steps_;
        }
    }

    // Runs f(Share{part, parts}) for every part, each by one thread, and returns when all are done.
    template <class F>
    void phase(int parts, const F& f) {
        call_ = [](const void* g, Share share) { (*static_cast<const F*>(g))(share); };
        function_ = &f;
        done_.store(0, std::memory_order_relaxed);
        const uint64_t number = (ticket_.load(std::memory_order_relaxed) >> 32) + 1;
        ticket_.store(number << 32 | uint64_t(parts) << 16, std::memory_order_seq_cst);
        if (sleeping_.load(std::memory_order_seq_cst) > 0 && !called_.load(std::memory_order_relaxed)) {
            {
                std::lock_guard<std::mutex> lock(mutex_);
                called_.store(true, std::memory_order_relaxed);  // once: a call costs the leader microseconds
            }
            wake_.notify_all();
        }
        while (take_part(false)) {}
        for (int turns = 0; done_.load(std::memory_order_acquire) != parts; ++turns) {
            if (turns < 2000) pause();
            else std::this_thread::yield();
        }
    }

private:
    static constexpr int most = 1024;  // the ticket has 16 bits for parts
    static constexpr int spin_turns = 3000;  // about 50 µs: from phase to phase and from step to step, not much longer
    static constexpr int patience = 64;  // steps without help: they cost next to nothing, and waking takes 100 µs or more
    static constexpr int first_pause = 64;

    // The ticket holds the number of the phase, its parts, and the next part that nobody has taken.
    bool part_is_free() const {
        const uint64_t t = ticket_.load(std::memory_order_acquire);
        return (t & 0xffff) < (t >> 16 & 0xffff);
    }
    bool take_part(bool helper) {
        if (!part_is_free()) return false;
        const uint64_t t = ticket_.fetch_add(1, std::memory_order_acq_rel);
        const int part = int(t & 0xffff), parts = int(t >> 16 & 0xffff);
        if (part >= parts) return false;
        call_(function_, Share{part, parts});
        if (helper) helped_.fetch_add(1, std::memory_order_relaxed);
        done_.fetch_add(1, std::memory_order_release);
        return true;
    }

    void help() {
        const FlushDenormals flush;
        for (int turns = 0; !stop_.load(std::memory_order_relaxed);) {
            if (take_part(true)) {
                turns = 0;
            } else if (++turns < spin_turns) {
                pause();
            } else {
                std::unique_lock<std::mutex> lock(mutex_);
                sleeping_.fetch_add(1, std::memory_order_seq_cst);
                wake_.wait(lock, [&] { return stop_ || called_ || part_is_free(); });
                if (sleeping_.fetch_sub(1, std::memory_order_seq_cst) == 1) called_ = false;
                turns = 0;
            }
        }
    }

    int size_;
    int alone_ = 0, missed_ = 0, pause_steps_ = first_pause;
    std::vector<std::thread> threads_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::atomic<bool> stop_{false}, called_{false};
    std::atomic<int> sleeping_{0};
    void (*call_)(const void*, Share) = nullptr;
    const void* function_ = nullptr;
    alignas(128) std::atomic<uint64_t> ticket_{0};
    alignas(128) std::atomic<int> done_{0};
    std::atomic<int> helped_{0};
};

}  // namespace chainrule
