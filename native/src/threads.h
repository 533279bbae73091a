// A few threads that share the work of one step. No sum ever crosses threads, so any number of them gives the same bits.
//
// A step is a row of phases, a phase a number of parts, and whoever is free takes the next part: the thread that leads,
// or a helper. The leader never waits for a helper that has not come (another process may have its core), only for
// parts that somebody has begun. A barrier for all threads, spinning, turned 17 µs into 111-278 in a trial.
//
// Even so a helper can do harm: it may lose its core in the midst of a part, or be given the leader's. So `Judge` times
// steps with and without help, and help is asked for only while it pays.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "fork.h"
#include "share.h"
#include "vec.h"

namespace chainrule {

FORCE_INLINE void pause() {
#if defined(__SSE2__)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// When help may be asked for again, to all judges of the process: that others need the cores is true for all of them.
class Patience {
public:
    static Patience& of_process() {
        static Patience patience;
        return patience;
    }
    double until() const { return until_.load(std::memory_order_relaxed); }
    void wait(double until) { until_.store(until, std::memory_order_relaxed); }

    // For tests: help is wanted in every step, whatever it costs.
    bool is_endless() const { return endless_.load(std::memory_order_relaxed); }
    void be_endless() { endless_.store(true, std::memory_order_relaxed); }

private:
    std::atomic<double> until_{0};
    std::atomic<bool> endless_{false};
};

// Steps with help, or without? What help has gained or lost is an account: a row costs what it took alone, of late, and where
// help is behind that, nobody is asked for a time that is long beside what was lost, longer each time. So it costs about a
// fiftieth, whatever goes wrong: a helper that loses its core in the midst of a part is waited for while a scheduler lets
// another process run, some milliseconds; the short while before that says nothing, for there it helps. Who is helped works
// alone for a moment now and then, to know what that takes. It may change while a program runs: on a virtual machine whose
// two processors now shared a cache and now did not (bench/round_trip.cpp), a step of 28 µs took 17 with help, or 43.
class Judge {
public:
    explicit Judge(Patience& patience = Patience::of_process()) : Judge(patience, clock()) {}
    Judge(Patience& patience, double now) : patience_(patience), helped_(now >= patience.until()) {}
    bool wants_help() const { return helped_ || patience_.is_endless(); }

    void begin_step() { start_ = clock(); }
    void end_step(int64_t rows) {
        const double now = clock();
        ended(rows, now - start_, now);
    }

    // A step, as wanted, took so long until now.
    void ended(int64_t rows, double seconds, double now) {
        seconds_ += seconds;
        rows_ += rows;
        if (helped_ && alone_ > 0) {
            balance_ += double(rows) * alone_ - seconds;
            if (balance_ > most_gained) balance_ = most_gained;
            if (balance_ < -moment) return refrain(now);
        }
        if (seconds_ < (helped_ && alone_ > 0 ? stint_ : moment)) return;
        if (helped_) {
            if (alone_ > 0 && stint_ < longest) stint_ *= 2;
            wait_ = 0;
            return turn_to(false);
        }
        const double cost = seconds_ / double(rows_);
        alone_ = alone_ == 0 ? cost : (alone_ + cost) / 2;
        if (stint_ < fold / 2 * seconds_) stint_ = fold / 2 * seconds_;  // half of a fiftieth, where help takes half the time
        turn_to(now >= again_ && now >= patience_.until());
    }

private:
    static constexpr double moment = 3e-4, longest = 0.25;
    static constexpr double most_gained = 3e-3;  // as much as one such wait: one now and then is no reason to do without
    static constexpr double fold = 50;
    static double clock() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

    // Help has cost more than a moment.
    void refrain(double now) {
        const double due = fold * -balance_;
        patience_.wait(now + due);
        wait_ = 2 * wait_ > due ? 2 * wait_ : due;
        if (wait_ > longest && due < longest) wait_ = longest;
        again_ = now + wait_;
        stint_ = 0;
        turn_to(false);
    }
    void turn_to(bool help) {
        if (help != helped_) balance_ = 0;
        helped_ = help;
        seconds_ = 0, rows_ = 0;
    }

    Patience& patience_;
    bool helped_;
    double alone_ = 0;                             // seconds per row without help; 0: not known yet
    double balance_ = 0;                           // seconds gained by help since it was asked for
    double stint_ = 0, wait_ = 0, again_ = 0;      // seconds until the next look at alone_; without help, and until when
    double seconds_ = 0, start_ = 0;
    int64_t rows_ = 0;
};

class Pool {
public:
    explicit Pool(int size) : size_(size < most ? size : most) {}
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;
    ~Pool() {
        if (!team_ || is_inherited()) {
            (void)team_.release();  // in the child of a fork: its threads are not there, and would be waited for
            return;
        }
        {
            std::lock_guard<std::mutex> lock(team_->mutex);
            team_->stop = true;
        }
        team_->wake.notify_all();
        for (std::thread& t : team_->threads) t.join();
    }

    int size() const { return size_; }

    // Starts the threads, if there are none yet (not at construction: a network that only predicts needs none). Where
    // the system has no more of them, fewer do.
    void start() {
        if (team_ && !is_inherited()) return;
        (void)team_.release();
        team_ = std::make_unique<Team>();
        generation_ = Process::generation();
        team_->threads.reserve(size_t(size_));
        while (int(team_->threads.size()) + 1 < size_) {
            try {
                team_->threads.emplace_back([team = team_.get()] { team->help(); });
            } catch (const std::system_error&) {
                break;
            }
        }
    }

    // Runs f(Share{part, parts}) for every part, each by one thread, and returns when all are done.
    template <class F>
    void phase(int parts, const F& f) {
        Team& team = *team_;
        team.call = [](const void* g, Share share) { (*static_cast<const F*>(g))(share); };
        team.function = &f;
        team.done.store(0, std::memory_order_relaxed);
        const uint64_t number = (team.ticket.load(std::memory_order_relaxed) >> 32) + 1;
        team.ticket.store(number << 32 | uint64_t(parts) << 16, std::memory_order_seq_cst);
        if (team.sleeping.load(std::memory_order_seq_cst) > 0 && !team.called.load(std::memory_order_relaxed)) {
            {
                std::lock_guard<std::mutex> lock(team.mutex);
                team.called.store(true, std::memory_order_relaxed);  // once: a call costs the leader microseconds
            }
            team.wake.notify_all();
        }
        while (team.take_part()) {}
        for (int turns = 0; team.done.load(std::memory_order_acquire) != parts; ++turns) {
            if (turns < 2000) pause();
            else std::this_thread::yield();
        }
    }

private:
    static constexpr int most = 1024;  // the ticket has 16 bits for parts
    static constexpr int spin_turns = 3000;  // about 50 µs: from phase to phase and from step to step, not much longer

    // All that the threads touch, in one piece, which the child of a fork leaves where it is.
    struct Team {
        std::vector<std::thread> threads;
        std::mutex mutex;
        std::condition_variable wake;
        std::atomic<bool> stop{false}, called{false};
        std::atomic<int> sleeping{0};
        void (*call)(const void*, Share) = nullptr;
        const void* function = nullptr;
        // The number of the phase, its parts, and the next part that nobody has taken.
        alignas(128) std::atomic<uint64_t> ticket{0};
        alignas(128) std::atomic<int> done{0};

        bool part_is_free() const {
            const uint64_t t = ticket.load(std::memory_order_acquire);
            return (t & 0xffff) < (t >> 16 & 0xffff);
        }
        bool take_part() {
            if (!part_is_free()) return false;
            const uint64_t t = ticket.fetch_add(1, std::memory_order_acq_rel);
            const int part = int(t & 0xffff), parts = int(t >> 16 & 0xffff);
            if (part >= parts) return false;
            call(function, Share{part, parts});
            done.fetch_add(1, std::memory_order_release);
            return true;
        }
        void help() {
            const FlushDenormals flush;
            for (int turns = 0; !stop.load(std::memory_order_relaxed);) {
                if (take_part()) {
                    turns = 0;
                } else if (++turns < spin_turns) {
                    pause();
                } else {
                    std::unique_lock<std::mutex> lock(mutex);
                    sleeping.fetch_add(1, std::memory_order_seq_cst);
                    wake.wait(lock, [&] { return stop || called || part_is_free(); });
                    if (sleeping.fetch_sub(1, std::memory_order_seq_cst) == 1) called = false;
                    turns = 0;
                }
            }
        }
    };

    bool is_inherited() const { return generation_ != Process::generation(); }

    int size_;
    int generation_ = 0;
    std::unique_ptr<Team> team_;
};

}  // namespace chainrule
