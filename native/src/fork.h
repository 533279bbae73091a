// What a process that forks leaves to its child: memory as it was, no thread but one, and locks that nobody will open.
//
// So that a child finds numbers that are whole, a fork waits for the engine's work outside Python to pause (work passes a
// gate every few milliseconds), and the child gets a gate and a bell of its own. What belongs to threads (helpers, queues)
// remembers the process that it was made in, and in another one is left alone: its destructors would wait for threads
// that are not there.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#if __has_include(<pthread.h>) && !defined(_WIN32)
#include <pthread.h>
#define CHAINRULE_FORKS 1
#endif

namespace chainrule {

class Process {
    static inline std::atomic<int> forks{0};

    struct Gate {
        std::mutex mutex;
        std::condition_variable opened, emptied;
        int closed = 0;  // forks that are under way
        int inside = 0;
    };

public:
    // The number of forks between the first process and this one.
    static int generation() { return forks.load(std::memory_order_relaxed); }

    // From here on forks are noticed, and wait for work to pause.
    static void watch_forks() { state(); }

    // Work outside Python, between two looks at the gate. Whoever holds one must not wait for a Python thread.
    class Work {
    public:
        Work() : gate_(*state().gate) {
            std::unique_lock<std::mutex> lock(gate_.mutex);
            gate_.opened.wait(lock, [&] { return gate_.closed == 0; });
            ++gate_.inside;
        }
        Work(const Work&) = delete;
        ~Work() {
            std::lock_guard<std::mutex> lock(gate_.mutex);
            if (--gate_.inside == 0 && gate_.closed > 0) gate_.emptied.notify_all();
        }

    private:
        Gate& gate_;
    };

    // For threads that wait until a network is idle: rung whenever one becomes so and somebody waits.
    struct Bell {
        std::mutex mutex;
        std::condition_variable rung;
    };
    static Bell& bell() { return *state().bell; }

private:
    struct State {
        Gate* gate = new Gate;  // never deleted: the child of a fork inherits both in any state
        Bell* bell = new Bell;
        State() {
#ifdef CHAINRULE_FORKS
            pthread_atfork(close, open, renew);
#endif
        }
    };
    static State& state() {
        static State* const only = new State;
        return *only;
    }
#ifdef CHAINRULE_FORKS
    static void close() {  // the lock is kept until the fork is done, so that no child inherits it in another's hands
        Gate& gate = *state().gate;
        gate.mutex.lock();
        ++gate.closed;
        std::unique_lock<std::mutex> lock(gate.mutex, std::adopt_lock);
        gate.emptied.wait(lock, [&] { return gate.inside == 0; });
        lock.release();
    }
    static void open() {
        Gate& gate = *state().gate;
        --gate.closed;
        gate.mutex.unlock();
        gate.opened.notify_all();
    }
    static void renew() {
        State& s = state();
        s.gate = new Gate;
        s.bell = new Bell;
        forks.fetch_add(1, std::memory_order_relaxed);
    }
#endif
};

}  // namespace chainrule
