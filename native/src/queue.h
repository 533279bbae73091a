// Many training runs on a few threads. A run stays on its thread from its first step to its last, and shares nothing with
// others but the data it reads: so it gives the bits that it gives alone, and no lock is taken between two steps.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <limits>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "engine.h"
#include "fork.h"

namespace chainrule {

// Stop when the last `patience` epochs brought nothing better than all those before. Twin of chainrule.EarlyStopping.
struct EarlyStopping {
    int64_t patience = 0;  // 0: never
    double min_delta = 0;

    bool wants_to_stop(const double* losses, int64_t epochs) const {
        if (patience < 1 || epochs <= patience) return false;
        const double* const window = losses + (epochs - patience);
        return *std::min_element(window, losses + epochs) >= *std::min_element(losses, window) - min_delta;
    }
};

class Queue {
public:
    struct Run {
        Engine* engine = nullptr;  // all that is pointed to has to live until the run has been given back
        const Dataset* data = nullptr;
        Training training;         // losses from epoch 0 on, if there is to be an early stop
        EarlyStopping early;
        Position* position = nullptr;
    };
    struct Ended {
        int64_t number = 0;
        Outcome outcome = Outcome::interrupted;  // interrupted: by the time that it had, or by `stop`
        double seconds = 0;
        std::string error;
    };

    // threads: the most; one is started when a run finds none that is idle.
    explicit Queue(int threads) : most_(size_t(threads)) { threads_.reserve(most_); }
    Queue(const Queue&) = delete;
    Queue& operator=(const Queue&) = delete;
    ~Queue() {
        stop();
        {
            std::lock_guard<std::mutex> lock(mutex_);
            closing_ = true;
        }
        work_.notify_all();
        for (std::thread& t : threads_) t.join();
    }

    int64_t submit(const Run& run) {
        std::lock_guard<std::mutex> lock(mutex_);
        if (waiting_.size() >= idle_ && threads_.size() < most_) start_thread();
        waiting_.push_back({submitted_, run});
        work_.notify_one();
        return submitted_++;
    }

    // The runs that have ended since the last call; waits for the first one, and for `seconds` at most.
    std::vector<Ended> wait(double seconds) {
        std::unique_lock<std::mutex> lock(mutex_);
        result_.wait_for(lock, std::chrono::duration<double>(seconds), [&] { return !ended_.empty(); });
        return std::exchange(ended_, {});
    }

    // Ends all runs before their next step, and those that wait or are still to come before their first: they come back
    // as interrupted.
    void stop() { stop_ = true; }

private:
    static constexpr double slice = 0.02;  // seconds between two looks at `stop_`

    // Where the system has no more threads, those that are there do all the work.
    void start_thread() {
        try {
            threads_.emplace_back([this] { work(); });
        } catch (const std::system_error&) {
            if (threads_.empty()) throw;
            most_ = threads_.size();
        }
    }

    void work() {
        std::unique_lock<std::mutex> lock(mutex_);
        for (;;) {
            ++idle_;
            work_.wait(lock, [&] { return closing_ || !waiting_.empty(); });
            --idle_;
            if (waiting_.empty()) return;
            auto [number, run] = waiting_.front();
            waiting_.pop_front();
            lock.unlock();
            Ended ended = train(run);
            ended.number = number;
            lock.lock();
            ended_.push_back(std::move(ended));
            result_.notify_one();
        }
    }

    Ended train(const Run& run) const {
        const auto start = std::chrono::steady_clock::now();
        Ended ended;
        try {
            ended.outcome = train(run, start);
        } catch (const std::exception& error) {
            ended.error = error.what();
        }
        ended.seconds = since(start);
        return ended;
    }

    Outcome train(const Run& run, std::chrono::steady_clock::time_point start) const {
        const double* losses = run.training.validation ? run.training.validation_losses : run.training.losses;
        const double limit = run.training.max_seconds < 0 ? std::numeric_limits<double>::infinity() : run.training.max_seconds;
        Training training = run.training;
        while (!stop_) {
            const double left = limit - since(start);
            if (left <= 0) break;
            training.max_seconds = std::min(slice, left);
            training.end_epoch = run.early.patience > 0 ? run.position->epoch + 1 : run.training.end_epoch;
            const Outcome outcome = [&] {
                const Process::Work work;
                return run.engine->run(*run.data, training, *run.position);
            }();
            if (outcome == Outcome::not_finite) return outcome;
            if (outcome == Outcome::interrupted) continue;
            if (run.position->epoch == run.training.end_epoch) return outcome;
            if (run.early.wants_to_stop(losses, run.position->epoch)) return outcome;
        }
        return Outcome::interrupted;
    }

    static double since(std::chrono::steady_clock::time_point start) {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }

    size_t most_, idle_ = 0;
    std::vector<std::thread> threads_;
    std::mutex mutex_;
    std::condition_variable work_, result_;
    std::deque<std::pair<int64_t, Run>> waiting_;
    std::vector<Ended> ended_;
    std::atomic<bool> stop_{false};
    bool closing_ = false;
    int64_t submitted_ = 0;
};

}  // namespace chainrule
