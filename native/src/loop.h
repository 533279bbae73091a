// The training loop, and everything else that engine.h promises, on top of a network, its heads and its steps.
//
// The loop allocates nothing; all it touches lies in one arena.
#pragma once

#include <chrono>
#include <cmath>
#include <stdexcept>
#include <string>

#include "averages.h"
#include "engine.h"
#include "evaluation.h"
#include "heads.h"
#include "random.h"
#include "step.h"

namespace chainrule {

// The plan with a value of its own for each output, so that a gradient comes to each from one loss; and with one thread for
// a tiny network, whose sums would run in another order with more.
inline Plan settled(Plan plan, bool tiny) {
    if (tiny) plan.threads = 1;
    for (size_t k = 0; k < plan.outputs.size(); ++k) {
        for (size_t j = 0; j < k; ++j) {
            if (plan.outputs[j] != plan.outputs[k]) continue;
            Op copy;
            copy.settings.kind = "Sum";
            copy.inputs = {plan.outputs[k]};
            copy.output = int(plan.values.size());
            plan.values.push_back(plan.values[size_t(plan.outputs[k])]);
            plan.ops.push_back(copy);
            plan.outputs[k] = copy.output;
            break;
        }
    }
    return plan;
}

inline const Plan& checked(const Plan& plan) {
    check_plan(plan);
    return plan;
}

template <class T>
class Loop final : public Engine {
public:
    explicit Loop(const Plan& plan)
        : plan_(checked(plan)), average_(plan.average), tiny_(make_tiny<T>(plan)), network_(settled(plan, tiny_ != nullptr)),
          heads_(plan, network_, Evaluation<T>::few_rows), evaluation_(network_), step_(network_, heads_, tiny_.get()), sums_(plan.heads.size()) {
        lay_out();
        arena_.allocate(plan.limit_bytes);
        lay_out();
        network_.memory_is_there();
        if (tiny_) tiny_->memory_is_there(network_.parameters());
    }

    const Plan& plan() const override { return plan_; }
    int64_t bytes() const override { return arena_.bytes(); }
    int threads_used(int64_t batch) const override { return step_.team_for(batch); }
    std::vector<std::string> notes() const override {
        std::vector<std::string> notes = network_.fusion().notes;
        notes.resize(plan_.ops.size());
        return notes;
    }

    void read_parameter(int i, void* to) const override { read(parameters().values(), i, to); }
    void write_parameter(int i, const void* from) override {
        write(parameters().values(), i, from);
        network_.parameters_changed();
    }
    void read_gradient(int i, void* to) const override { read(parameters().gradients(), i, to); }
    void write_gradient(int i, const void* from) override { write(parameters().gradients(), i, from); }
    void read_state(int i, int k, void* to) const override { parameters().read_state(known(i), known_state(k), static_cast<T*>(to)); }
    void write_state(int i, int k, const void* from) override { network_.parameters().write_state(known(i), known_state(k), static_cast<const T*>(from)); }
    ParameterShape state_shape(int i, int k) const override { return parameters().state_shape(known(i), known_state(k)); }
    int states() const override { return parameters().states(); }
    int64_t steps_taken(int i) const override { return parameters().steps_taken(known(i)); }
    void set_steps_taken(int i, int64_t steps) override { network_.parameters().set_steps_taken(known(i), steps); }
    int64_t steps_ahead(int i) const override { return parameters().steps_ahead()[known(i)]; }
    void set_steps_ahead(int i, int64_t steps) override { network_.parameters().set_steps_ahead(known(i), steps); }
    int64_t dropout_pass() const override { return passes_; }
    void set_dropout_pass(int64_t pass) override { passes_ = pass; }
    void read_best(int i, void* to) const override { read(parameters().best(), i, to); }
    void write_best(int i, const void* from) override { write(parameters().best(), i, from); }
    Best best() const override { return best_; }
    void set_best(Best best) override { best_ = best; }
    void keep_best(Best best) override {
        best_ = best;
        by_average([&] { network_.parameters().keep_best(); });
    }
    void read_average(int i, void* to) const override { read(known_average(), i, to); }
    void write_average(int i, const void* from) override { write(known_average(), i, from); }
    int64_t averaged() const override { return averaged_; }
    void set_averaged(int64_t taken) override {
        known_average();
        averaged_ = taken;
    }
    void count_updates_in(int64_t* count) override { updates_ = count; }

    Outcome run(const Dataset& data, const Training& training, Position& at) override {
        need(!plan_.heads.empty(), "run: the plan has no loss");
        need(plan_.has_optimizer(), "run: the plan has no optimizer");
        need(training.batch >= 1 && training.batch <= plan_.batch, "run: batch must lie between 1 and the plan's");
        need(data.rows >= 1, "run: the data set is empty");
        need(data.rows <= plan_.samples || !training.shuffle, "run: the data set is larger than the plan's samples");
        need(!data.total || !training.shuffle, "run: a part of a data set comes in an order of its own");
        need(training.lr != nullptr, "run: lr is missing");
        const int64_t last = data.all() % training.batch;
        need_samples(last > 0 ? last : training.batch, "run");
        check(data);
        if (training.validation) check(*training.validation);
        const int64_t step_rows = training.batch * plan_.accumulate, steps = (data.all() + step_rows - 1) / step_rows;
        need(at.step * step_rows >= data.before, "run: position before the part of the data");
        need(at.epoch >= training.first_epoch && at.step >= 0 && at.step < steps, "run: position outside the run");
        need(at.losses.empty() || at.losses.size() == heads_.count(), "run: position of another network");
        at.losses.resize(heads_.count());

        remembers_ = 0;
        const FlushDenormals flush;
        Clock clock(training.max_seconds);
        int64_t budget = training.max_steps;
        const int64_t rules = int64_t(plan_.rules.size()), next_rates = training.lr_per_step ? rules : 0;
        for (; at.epoch < training.end_epoch; ++at.epoch, at.step = 0, clear(at.losses)) {
            const int64_t nth = at.epoch - training.first_epoch;
            const int64_t* order = data.order;
            if (training.shuffle) {
                if (order_epoch_ != at.epoch || order_seed_ != training.seed || order_rows_ != data.rows) {
                    sample_order(training.seed, uint64_t(at.epoch), data.rows, order_, order_scratch_);
                    order_epoch_ = at.epoch;
                    order_seed_ = training.seed;
                    order_rows_ = data.rows;
                }
                order = order_;
            }
            const int64_t row = nth * (training.lr_per_step ? steps : 1) * rules + at.step * next_rates;
            Rates rates(training.lr + row, training.momentum ? training.momentum + row : nullptr);
            for (; at.step < steps; ++at.step, rates.advance(next_rates)) {
                const int64_t first = at.step * step_rows - data.before;
                const int64_t left = data.all() - at.step * step_rows, rows = left < step_rows ? left : step_rows;
                if (budget == 0 || first + rows > data.rows || clock.is_over()) return Outcome::interrupted;
                --budget;
                train(data, order, first, rows, training.batch, rates, at.losses.data());
                if (average_.takes(at.epoch, at.step, steps)) {
                    step_.divided([&](Share share) { network_.parameters().average_in(average_.share(averaged_), averaged_ == 0, share); });
                    ++averaged_;
                }
            }
            const auto of_heads = [&](double* table) { return table ? table + nth * int64_t(heads_.count()) : nullptr; };
            double value = heads_.value(at.losses.data(), of_heads(training.head_losses));
            if (training.losses) training.losses[nth] = value;
            bool finite = std::isfinite(value);
            if (finite && training.validation) {
                clear(sums_);
                by_average([&] { evaluate_chunks(*training.validation, sums_.data(), nullptr); });
                value = heads_.value(sums_.data(), of_heads(training.validation_head_losses));
                if (training.validation_losses) training.validation_losses[nth] = value;
                finite = std::isfinite(value);
            }
            // The last update may have ruined what the losses, measured before it, or an activation that saturates, hide.
            finite = finite && parameters().are_finite();
            if (training.seconds) training.seconds[nth] = clock.since_start();
            if (!finite) return Outcome::not_finite;
            if (training.keep_best && (best_.epoch < 0 || value < best_.loss)) {
                keep_best({at.epoch, value});
            }
        }
        return Outcome::finished;
    }

    void evaluate(const Dataset& data, LossSum* losses, void* const* y) override {
        need(!plan_.heads.empty(), "evaluate: the plan has no loss");
        check(data);
        std::fill(losses, losses + heads_.count(), LossSum{});
        evaluate_chunks(data, losses, y);
    }

    void predict(const void* const* x, int64_t rows, void* const* y) override {
        const FlushDenormals flush;
        for (int64_t first = 0, n; first < rows; first += n) {
            n = evaluation_.next(rows - first);
            give_out(outputs_of(x, first, n), first, y);
        }
    }

    void predict_by_average(const void* const* x, int64_t rows, void* const* y) override {
        by_average([&] { predict(x, rows, y); });
    }

    void forward(const void* const* x, int64_t rows, void* const* y, bool training) override {
        need(rows >= 1 && rows <= plan_.batch, "forward: more rows than the plan's batch");
        if (training) need_samples(rows, "forward");
        const FlushDenormals flush;
        remembers_ = 0;
        for (size_t i = 0; i < network_.inputs(); ++i) gather(network_.input(i).rows(0, rows), static_cast<const T*>(x[i]), nullptr, 0);
        pass_ = {};
        pass_.training = training;
        if (training) pass_.number = passes_++;
        network_.prepare_forward({});
        network_.forward(pass_, 0, rows);
        for (size_t k = 0; k < network_.outputs(); ++k) unpack(network_.output(k).rows(0, rows), static_cast<T*>(y[k]), network_.output(k).columns);
        remembers_ = rows;
    }

    void backward(const void* const* dy, int64_t rows, void* const* dx) override {
        need(remembers_ > 0, "backward: nothing to go back through; call forward first");
        need(rows == remembers_, "backward: dy must have as many rows as the last forward");
        remembers_ = 0;
        const FlushDenormals flush;
        network_.parameters_changed();  // packing W for dx takes the place of its transposes
        for (size_t k = 0; k < network_.outputs(); ++k) pack(network_.output(k).gradient_rows(0, rows), static_cast<const T*>(dy[k]), network_.output(k).columns);
        pass_.add = true;
        pass_.input = dx != nullptr;
        network_.backward(pass_, rows);
        for (size_t i = 0; dx && i < network_.inputs(); ++i) unpack(network_.input(i).gradient_rows(0, rows), static_cast<T*>(dx[i]), network_.input(i).columns);
    }

    void zero_gradients() override { network_.parameters().zero_gradients(); }

    void update(const Rates& rates) override {
        need(plan_.has_optimizer(), "update: the plan has no optimizer");
        const FlushDenormals flush;
        ++*updates_;
        Parameters<T>& all = network_.parameters();
        all.count_step();
        all.step(rates, false, [](const auto& f) { f(Share{}); });
        network_.parameters_changed();
    }

    double step(const Dataset& batch, const Rates& rates) override {
        need(!plan_.heads.empty() && plan_.has_optimizer(), "step: the plan needs a loss and an optimizer");
        need(batch.rows >= 1 && batch.rows <= plan_.batch, "step: more rows than the plan's batch");
        need_samples(batch.rows, "step");
        check(batch);
        remembers_ = 0;
        const FlushDenormals flush;
        clear(sums_);
        train(batch, nullptr, 0, batch.rows, batch.rows, rates, sums_.data());
        return heads_.value(sums_.data());
    }

private:
    static void need(bool holds, const char* otherwise) {
        if (!holds) throw std::invalid_argument(otherwise);
    }
    void need_samples(int64_t rows, const char* who) const {
        if (rows < network_.least_samples())
            throw std::invalid_argument(std::string(who) + ": x must have more than one value per channel in training, for its BatchNorm, got a batch of one sample");
    }
    const Parameters<T>& parameters() const { return network_.parameters(); }
    size_t known(int i) const {
        if (i < 0 || size_t(i) >= parameters().count()) throw std::out_of_range("there is no parameter " + std::to_string(i));
        return size_t(i);
    }
    int known_state(int k) const {
        if (k < 0 || k >= states()) throw std::out_of_range("the optimizer has no state " + std::to_string(k));
        return k;
    }
    T* known_average() const {
        need(average_.is_there(), "the plan has no average");
        return parameters().average();
    }
    // f with the mean in the place of the parameters, as soon as weights are in it.
    template <class F>
    void by_average(const F& f) {
        if (averaged_ == 0) return f();
        struct Swap {
            Network<T>& network;
            explicit Swap(Network<T>& of) : network(of) { now(); }
            ~Swap() { now(); }
            void now() const {
                network.parameters().swap_average();
                network.parameters_changed();
            }
        };
        const Swap swap(network_);
        f();
    }
    void read(const T* flat, int i, void* to) const { parameters().read(flat, known(i), static_cast<T*>(to)); }
    void write(T* flat, int i, const void* from) { network_.parameters().write(flat, known(i), static_cast<const T*>(from)); }

    void check(const Dataset& data) const {
        need(data.x.size() == network_.inputs(), "the data set must have an x for each input");
        for (const void* x : data.x) need(x != nullptr, "the data set has no x");
        heads_.check(data);
    }
    static void clear(std::vector<LossSum>& losses) { std::fill(losses.begin(), losses.end(), LossSum{}); }

    // Reads the clock rarely where steps are short: about every 20 microseconds.
    class Clock {
    public:
        explicit Clock(double seconds) : limited_(seconds >= 0), start_(now()), end_(start_ + seconds), last_(start_) {}
        double since_start() const { return now() - start_; }
        bool is_over() {
            if (!limited_ || --wait_ > 0) return false;
            const double t = now();
            interval_ = t - last_ < 20e-6 ? (interval_ < 1024 ? 2 * interval_ : interval_) : (interval_ > 1 ? interval_ / 2 : 1);
            wait_ = interval_;
            last_ = t;
            return t >= end_;
        }

    private:
        static double now() {
            return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
        }
        bool limited_;
        double start_, end_, last_;
        int wait_ = 2, interval_ = 1;
    };

    // Runs twice: to count, and to hand out (arena.h). In the order in which a step touches it.
    void lay_out() {
        network_.lay_out(arena_);
        if (tiny_) tiny_->lay_out(arena_);
        heads_.lay_out(arena_);
        evaluation_.lay_out(arena_);
        order_ = arena_.take<int64_t>(plan_.samples);
        order_scratch_ = arena_.take<char>(sample_order_scratch(plan_.samples));
        network_.lay_out_best(arena_);
    }

    void train(const Dataset& data, const int64_t* order, int64_t first, int64_t rows, int64_t batch, const Rates& rates, LossSum* losses) {
        ++*updates_;
        step_.make(data, order, first, rows, batch, rates, passes_, losses);
        passes_ += rows <= batch ? 1 : (rows + batch - 1) / batch;  // a division takes as long as a small layer
    }

    const std::vector<Matrix<T>>& outputs_of(const void* const* x, int64_t first, int64_t rows) {
        for (size_t i = 0; i < network_.inputs(); ++i) gather(evaluation_.input(i, rows), static_cast<const T*>(x[i]), nullptr, first);
        return evaluation_.run(rows);
    }
    void give_out(const std::vector<Matrix<T>>& outputs, int64_t first, void* const* y) {
        for (size_t k = 0; k < outputs.size(); ++k)
            if (y[k]) unpack(outputs[k], static_cast<T*>(y[k]) + first * outputs[k].columns, outputs[k].columns);
    }
    void evaluate_chunks(const Dataset& data, LossSum* losses, void* const* y) {
        const FlushDenormals flush;
        for (int64_t first = 0, rows; first < data.rows; first += rows) {
            rows = evaluation_.next(data.rows - first);
            const std::vector<Matrix<T>>& outputs = outputs_of(data.x.data(), first, rows);
            heads_.evaluate(data, first, rows, outputs, losses);
            if (y) give_out(outputs, first, y);
        }
    }

    Plan plan_;
    Average average_;
    int64_t averaged_ = 0;  // weights in the mean
    std::unique_ptr<Tiny<T>> tiny_;
    Network<T> network_;
    Heads<T> heads_;
    Evaluation<T> evaluation_;
    Step<T> step_;
    std::vector<LossSum> sums_;  // of a step or an evaluation, for each head
    Arena arena_;
    Pass pass_;                  // the last forward's
    Best best_;
    int64_t remembers_ = 0;  // rows of the last forward that backward may go back through
    int64_t passes_ = 0;     // training passes so far
    int64_t counted_ = 0;
    int64_t* updates_ = &counted_;
    int64_t* order_ = nullptr;
    void* order_scratch_ = nullptr;
    int64_t order_epoch_ = -1, order_rows_ = -1;
    uint64_t order_seed_ = 0;
};

template <class T>
std::unique_ptr<Engine> create(const Plan& plan) { return std::make_unique<Loop<T>>(plan); }

#define LOOP(LINKAGE, T) LINKAGE template std::unique_ptr<Engine> create<T>(const Plan&)
LOOP(extern, float);  // here only announced: loop.cpp makes them
LOOP(extern, double);

}  // namespace chainrule
