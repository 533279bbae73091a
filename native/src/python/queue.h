#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <memory>
#include <string>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "../queue.h"
#include "compiled.h"

namespace chainrule {

// Compiled networks, trained side by side: queue.h, and everything of Python's that its runs need, kept until they end.
class PythonQueue {
public:
    explicit PythonQueue(int threads) : queue_(std::make_unique<Queue>(threads)) {}
    ~PythonQueue() {
        if (is_inherited()) (void)queue_.release();  // its threads are not there, and would be waited for
    }

    int64_t submit(nb::object compiled, nb::object data, nb::object validation, Doubles lr, Doubles momentum, bool lr_per_step,
                   int64_t batch, bool shuffle, uint64_t seed, int64_t first_epoch, int64_t end_epoch,
                   double max_seconds, bool keep_best, Doubles losses, Doubles validation_losses, Doubles head_losses,
                   Doubles validation_head_losses, nb::object position, int64_t patience, double min_delta) {
        Compiled& network = nb::cast<Compiled&>(compiled);
        const Data& samples = nb::cast<const Data&>(data);
        const Data* held_out = validation.is_none() ? nullptr : &nb::cast<const Data&>(validation);
        Queue::Run run;
        run.training = network.training_of(samples, held_out, lr, momentum, lr_per_step, batch, shuffle, seed, first_epoch, end_epoch,
                                           max_seconds, keep_best, losses, validation_losses, head_losses, validation_head_losses);
        if (patience > 0 && first_epoch != 0)
            throw std::invalid_argument("submit: an early stop needs the losses from epoch 0 on");
        refuse_if_inherited();
        run.engine = &network.engine();
        run.data = &samples.view;
        run.early = {patience, min_delta};
        run.position = &nb::cast<Position&>(position);
        network.lend();
        int64_t number = 0;
        try {
            number = queue_->submit(run);
        } catch (...) {  // the system has no thread at all
            network.take_back();
            throw;
        }
        kept_.emplace(number, Kept{&network, {compiled, data, validation, position},
                                   {lr, momentum, losses, validation_losses, head_losses, validation_head_losses}});
        return number;
    }

    std::vector<std::tuple<int64_t, std::string, double, std::string>> wait(double seconds) {
        refuse_if_inherited();
        std::vector<Queue::Ended> ended;
        {
            const WithoutGil release;
            ended = queue_->wait(seconds);
        }
        std::vector<std::tuple<int64_t, std::string, double, std::string>> result;
        for (Queue::Ended& run : ended) {
            give_back(run.number);
            result.emplace_back(run.number, Compiled::text_of(run.outcome), run.seconds, std::move(run.error));
        }
        return result;
    }

    void stop() {
        if (!is_inherited()) queue_->stop();
    }

    // Ends all runs before their next step, and returns when every network has been given back.
    void close() {
        stop();
        while (!kept_.empty() && !is_inherited()) {
            std::vector<Queue::Ended> ended;
            {
                const WithoutGil release;
                ended = queue_->wait(1.0);
            }
            for (const Queue::Ended& run : ended) give_back(run.number);
        }
    }

private:
    struct Kept {
        Compiled* compiled;
        std::vector<nb::object> objects;
        std::vector<Doubles> arrays;
    };
    bool is_inherited() const { return generation_ != Process::generation(); }
    void refuse_if_inherited() const {
        if (is_inherited()) throw std::runtime_error("fit_many began before this process was forked; its threads are in the other one");
    }
    void give_back(int64_t number) {
        const auto kept = kept_.find(number);
        if (kept == kept_.end()) return;
        Compiled& network = *kept->second.compiled;
        network.take_back();
        kept_.erase(kept);
    }

    int generation_ = Process::generation();
    std::unordered_map<int64_t, Kept> kept_;
    std::unique_ptr<Queue> queue_;  // last, so that its threads end before what they work on
};

}  // namespace chainrule
