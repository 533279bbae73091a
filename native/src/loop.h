// The training loop, and everything else that engine.h promises, on top of a Network.
//
// A step: gather the rows that the epoch's order names, forward, loss, backward, (clip,) update. The loop allocates
// nothing; all it touches lies in the network's arena.
#pragma once

#include <chrono>
#include <cmath>
#include <mutex>
#include <stdexcept>
#include <string>

#include "engine.h"
#include "losses/loss.h"
#include "network.h"
#include "random.h"
#include "threads.h"

namespace chainrule {

// Copies row `from` of n numbers to row r of m. Padding stays as it is (0 from the start: nobody else writes inputs).
template <class T>
FORCE_INLINE void gather_row(const Matrix<T>& m, int64_t r, const T* from) {
    const int64_t n = m.columns;
    if (n <= narrow_panel) {
        T* to = m.data + r * narrow_panel;
        for (int64_t c = 0; c < n; ++c) to[c] = from[c];
        return;
    }
    int64_t c = 0;
    T* to = m.data + r * panel<T>;
    for (; c + panel<T> <= n; c += panel<T>, to += m.pitch)
#pragma GCC unroll 8
        for (int v = 0; v < panel<T>; v += lanes<T>) store_unaligned(to + v, load_unaligned(from + c + v));
    for (; c < n; c += lanes<T>, to += lanes<T>) {
        const int rest = int(n - c < lanes<T> ? n - c : lanes<T>);
        store_partial(to, load_partial(from + c, rest), rest);
    }
}

// Rows first … of the data set, in the given order (null: as they stand), to rows begin … end - 1 of m (a view of them).
template <class T>
void gather(const Matrix<T>& m, const T* data, const int64_t* order, int64_t first) {
    if (m.columns == 2) {  // points in the plane, and two outputs: one 8- or 16-byte move each
        struct Pair { T a, b; };
        for (int64_t r = 0; r < m.rows; ++r) {
            const int64_t from = order ? order[first + r] : first + r;
            std::memcpy(m.data + r * narrow_panel, data + 2 * from, sizeof(Pair));
        }
        return;
    }
    for (int64_t r = 0; r < m.rows; ++r) gather_row(m, r, data + (order ? order[first + r] : first + r) * m.columns);
}

template <class T>
class Loop final : public Engine {
public:
    explicit Loop(const Plan& plan) : network_(plan), pool_(plan.threads) {
        if (!plan.has_loss) return;
        loss_ = make_loss<T>(plan.loss, network_.n_out());
        mean_ = plan.loss.flag("mean");
        if (plan.class_targets) ignore_index_ = int64_t(plan.loss.number("ignore_index"));
    }

    const Plan& plan() const override { return network_.plan(); }
    int64_t n_out() const override { return network_.n_out(); }
    int64_t bytes() const override { return network_.bytes(); }

    int threads_used(int64_t batch) const override { return team_for(batch); }

    void read_parameter(int i, void* to) const override { network_.read(network_.values(), known(i), static_cast<T*>(to)); }
    void write_parameter(int i, const void* from) override {
        network_.write(network_.values(), known(i), static_cast<const T*>(from));
    }
    void read_gradient(int i, void* to) const override {
        network_.read(network_.gradients(), known(i), static_cast<T*>(to));
    }
    void write_gradient(int i, const void* from) override {
        network_.write(network_.gradients(), known(i), static_cast<const T*>(from));
    }
    void read_state(int i, int k, void* to) const override {
        network_.read(network_.state(known_state(k)), known(i), static_cast<T*>(to));
    }
    void write_state(int i, int k, const void* from) override {
        network_.write(network_.state(known_state(k)), known(i), static_cast<const T*>(from));
    }
    int states() const override { return network_.states(); }
    int64_t steps_taken(int i) const override { return network_.steps_taken()[known(i)]; }
    void set_steps_taken(int i, int64_t steps) override { network_.set_steps_taken(known(i), steps); }
    int64_t dropout_pass() const override { return passes_; }
    void set_dropout_pass(int64_t pass) override { passes_ = pass; }
    void read_best(int i, void* to) const override { network_.read(network_.best(), known(i), static_cast<T*>(to)); }
    void write_best(int i, const void* from) override {
        network_.write(network_.best(), known(i), static_cast<const T*>(from));
    }
    Best best() const override { return best_; }
    void set_best(Best best) override { best_ = best; }
    void keep_best(Best best) override {
        best_ = best;
        network_.keep_best();
    }
    void count_updates_in(int64_t* count) override { updates_ = count; }

    Outcome run(const Dataset& data, const Training& training, Position& at) override {
        const Plan& plan = network_.plan();
        need(plan.has_loss, "run: the plan has no loss");
        need(plan.has_optimizer, "run: the plan has no optimizer");
        need(training.batch >= 1 && training.batch <= plan.batch, "run: batch must lie between 1 and the plan's");
        need(data.rows >= 1, "run: the data set is empty");
        need(data.rows <= plan.samples || !training.shuffle, "run: the data set is larger than the plan's samples");
        need(training.lr != nullptr, "run: lr is missing");
        check(data);
        if (training.validation) check(*training.validation);
        const int64_t steps = (data.rows + training.batch - 1) / training.batch;
        need(at.epoch >= training.first_epoch && at.step >= 0 && at.step < steps, "run: position outside the run");

        remembers_ = 0;
        const FlushDenormals flush;
        Clock clock(training.max_seconds);
        int64_t budget = training.max_steps;
        for (; at.epoch < training.end_epoch; ++at.epoch, at.step = 0, at.loss = {}) {
            const int64_t nth = at.epoch - training.first_epoch;
            const int64_t* order = nullptr;
            if (training.shuffle) {
                if (order_epoch_ != at.epoch || order_seed_ != training.seed || order_rows_ != data.rows) {
                    sample_order(training.seed, uint64_t(at.epoch), data.rows, network_.order(), network_.order_scratch());
                    order_epoch_ = at.epoch;
                    order_seed_ = training.seed;
                    order_rows_ = data.rows;
                }
                order = network_.order();
            }
            for (; at.step < steps; ++at.step) {
                if (budget == 0 || clock.is_over()) return Outcome::interrupted;
                --budget;
                const int64_t first = at.step * training.batch;
                const int64_t rows = data.rows - first < training.batch ? data.rows - first : training.batch;
                const LossSum loss =
                    train(data, order, first, rows, training.lr[training.lr_per_step ? nth * steps + at.step : nth]);
                at.loss.sum += loss.sum;
                at.loss.denominator += loss.denominator;
            }
            double value = loss_of(at.loss);
            if (training.losses) training.losses[nth] = value;
            bool finite = std::isfinite(value);
            if (finite && training.validation) {
                value = loss_of(evaluate_chunks(*training.validation, nullptr));
                if (training.validation_losses) training.validation_losses[nth] = value;
                finite = std::isfinite(value);
            }
            // The last update may have ruined what the losses, measured before it, or an activation that saturates, hide.
            finite = finite && network_.parameters_are_finite();
            if (training.seconds) training.seconds[nth] = clock.since_start();
            if (!finite) return Outcome::not_finite;
            if (training.keep_best && (best_.epoch < 0 || value < best_.loss)) {
                keep_best({at.epoch, value});
            }
        }
        return Outcome::finished;
    }

    LossSum evaluate(const Dataset& data, void* y) override {
        need(network_.plan().has_loss, "evaluate: the plan has no loss");
        check(data);
        return evaluate_chunks(data, static_cast<T*>(y));
    }

    void predict(const void* x, int64_t rows, void* y) override {
        const FlushDenormals flush;
        const T* from = static_cast<const T*>(x);
        T* to = static_cast<T*>(y);
        for (int64_t first = 0; first < rows; first += Network<T>::evaluation_rows) {
            const int64_t n = rows - first < Network<T>::evaluation_rows ? rows - first : Network<T>::evaluation_rows;
            gather(network_.evaluation_input(n), from, nullptr, first);
            unpack(network_.evaluate(n), to + first * n_out(), n_out());
        }
    }

    void forward(const void* x, int64_t rows, void* y, bool training) override {
        need(rows >= 1 && rows <= network_.plan().batch, "forward: more rows than the plan's batch");
        const FlushDenormals flush;
        remembers_ = 0;
        gather(network_.input(0, rows), static_cast<const T*>(x), nullptr, 0);
        network_.dropout_active = training;
        if (training) network_.dropout_pass = passes_++;
        network_.forward(0, rows);
        unpack(network_.output(0, rows), static_cast<T*>(y), n_out());
        remembers_ = rows;
    }

    void backward(const void* dy, int64_t rows, void* dx) override {
        need(remembers_ > 0, "backward: nothing to go back through; call forward first");
        need(rows == remembers_, "backward: dy must have as many rows as the last forward");
        remembers_ = 0;
        const FlushDenormals flush;
        network_.weights_changed();  // packing W for dx takes the place of its transposes
        pack(network_.output_gradient(0, rows), static_cast<const T*>(dy), n_out());
        network_.backward(rows, {.add = true, .update = false, .lr = 0, .input = dx != nullptr});
        if (dx) unpack(network_.input_gradient(0, rows), static_cast<T*>(dx), network_.n_in());
    }

    void zero_gradients() override {
        std::memset(network_.gradients(), 0, size_t(network_.flat_size()) * sizeof(T));
    }

    void update(double lr) override {
        need(network_.plan().has_optimizer, "update: the plan has no optimizer");
        const FlushDenormals flush;
        ++*updates_;
        network_.count_step();
        network_.update(lr, network_.clipping_scale(), false, {});
        network_.weights_changed();
        network_.clear_padding_if_needed();
    }

    double step(const Dataset& batch, double lr) override {
        const Plan& plan = network_.plan();
        need(plan.has_loss && plan.has_optimizer, "step: the plan needs a loss and an optimizer");
        need(batch.rows >= 1 && batch.rows <= plan.batch, "step: more rows than the plan's batch");
        check(batch);
        remembers_ = 0;
        const FlushDenormals flush;
        return loss_of(train(batch, nullptr, 0, batch.rows, lr));
    }

private:
    static void need(bool holds, const char* otherwise) {
        if (!holds) throw std::invalid_argument(otherwise);
    }
    size_t known(int i) const {
        if (i < 0 || size_t(i) >= network_.plan().parameters.size())
            throw std::out_of_range("there is no parameter " + std::to_string(i));
        return size_t(i);
    }
    int known_state(int k) const {
        if (k < 0 || k >= network_.states()) throw std::out_of_range("the optimizer has no state " + std::to_string(k));
        return k;
    }
    void check(const Dataset& data) const {
        const Plan& plan = network_.plan();
        need(data.x != nullptr, "the data set has no x");
        if (plan.class_targets) {
            need(data.indices != nullptr, "the loss needs class indices");
            const int64_t classes = n_out(), ignore = ignore_index_;
            for (int64_t r = 0; r < data.rows; ++r) {
                const int64_t index = data.indices[r];
                if (uint64_t(index) >= uint64_t(classes) && index != ignore)
                    throw std::invalid_argument("target of row " + std::to_string(r) + ": class " + std::to_string(index) +
                                                " is not below " + std::to_string(classes));
            }
        } else {
            need(data.target != nullptr, "the loss needs targets");
        }
    }

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

    double loss_of(const LossSum& loss) const {
        if (!mean_) return loss.sum;
        return loss.denominator == 0 ? 0 : loss.sum / loss.denominator;
    }

    int team_for(int64_t rows) const {
        return network_.worth_threads(rows) ? pool_.size() : 1;
    }

    void gather_rows(const Dataset& data, const int64_t* order, int64_t first, int64_t begin, int64_t end) {
        gather(network_.input(begin, end), static_cast<const T*>(data.x), order, first + begin);
        if (!network_.plan().class_targets)
            gather(network_.targets(begin, end), static_cast<const T*>(data.target), order, first + begin);
    }
    // What the denominator of the mean depends on: one number for each row of the whole batch.
    void gather_targets_of_all(const Dataset& data, const int64_t* order, int64_t first, int64_t rows) {
        if (network_.plan().class_targets)
            for (int64_t r = 0; r < rows; ++r)
                network_.indices()[r] = data.indices[order ? order[first + r] : first + r];
        if (data.sample_weight) {
            const T* weight = static_cast<const T*>(data.sample_weight);
            for (int64_t r = 0; r < rows; ++r)
                network_.sample_weights()[r] = weight[order ? order[first + r] : first + r];
        }
    }

    Target<T> target_of(const Dataset& data, int64_t begin, int64_t end) const {
        Target<T> target{};
        if (network_.plan().class_targets) target.indices = network_.indices() + begin;
        else target.values = network_.targets(begin, end);
        if (data.sample_weight) target.sample_weight = network_.sample_weights() + begin;
        return target;
    }

    LossSum train(const Dataset& data, const int64_t* order, int64_t first, int64_t rows, double lr) {
        const Plan& plan = network_.plan();
        const bool add = network_.gradients_start_from_zero();
        if (add) zero_gradients();
        const Backward how{.add = add, .update = true, .lr = lr, .input = false};
        LossSum loss;
        network_.dropout_active = true;
        network_.dropout_pass = passes_++;
        ++*updates_;
        network_.count_step();
        const bool sharable = pool_.size() > 1 && network_.worth_threads(rows), shared = sharable && judge_.wants_help();
        if (sharable) judge_.begin_step();
        if (!shared) {
            network_.weights_changed();
            gather_targets_of_all(data, order, first, rows);
            loss.denominator = loss_->denominator(target_of(data, 0, rows), rows, n_out());
            each_chunk(0, rows, network_.chunk_rows(), [&](int64_t begin, int64_t end) {  // all in the same memory
                const int64_t n = end - begin;
                network_.first_row = begin;
                gather_rows(data, order, first + begin, 0, n);
                network_.forward(0, n);
                Target<T> target = target_of(data, begin, end);
                if (!plan.class_targets) target.values = network_.targets(0, n);
                loss_->rows(network_.output(0, n), target, network_.output_gradient(0, n), loss.denominator,
                             network_.partial() + begin / row_block);
                network_.backward(n, {.add = add || begin > 0, .update = end == rows, .lr = lr, .input = false});
            });
            network_.first_row = 0;
            if (!network_.all_updates_fused()) network_.update(lr, network_.clipping_scale(), true, {});
        } else {
            pool_.start();
            const auto phase = [&](const auto& f) { pool_.phase(pool_.size(), f); };
            const auto by_rows = [&](const auto& f) {
                phase([&](Share share) {
                    const int64_t begin = share.begin(rows, row_block), end = share.end(rows, row_block);
                    if (begin < end) f(begin, end);
                });
            };
            const auto loss_of_rows = [&](int64_t begin, int64_t end) {
                loss_->rows(network_.output(begin, end), target_of(data, begin, end),
                             network_.output_gradient(begin, end), loss.denominator, network_.partial() + begin / row_block);
            };
            gather_targets_of_all(data, order, first, rows);
            loss.denominator = loss_->denominator(target_of(data, 0, rows), rows, n_out());
            if (network_.goes_by_layers(rows)) {
                network_.weights_changed();
                by_rows([&](int64_t begin, int64_t end) { gather_rows(data, order, first, begin, end); });
                network_.forward_by_layers(rows, phase);
                by_rows(loss_of_rows);
                network_.backward_by_layers(rows, how, phase);
            } else {
                if (!network_.weights_are_transposed()) phase([&](Share share) { network_.transpose_weights(share); });
                by_rows([&](int64_t rows_begin, int64_t rows_end) {
                    each_chunk(rows_begin, rows_end, network_.chunk_rows(), [&](int64_t begin, int64_t end) {
                        gather_rows(data, order, first, begin, end);
                        network_.forward(begin, end);
                        loss_of_rows(begin, end);
                        network_.backward_rows(begin, end);
                    });
                });
                phase([&](Share share) { network_.backward_parameters(rows, how, share); });
                network_.parameters_stepped();
            }
            if (!network_.all_updates_fused()) {
                const double scale = network_.clipping_scale();
                phase([&](Share share) { network_.update(lr, scale, true, share); });
            }
        }
        if (!network_.all_updates_fused()) network_.clear_padding_if_needed();
        for (int64_t b = 0; b < (rows + row_block - 1) / row_block; ++b) loss.sum += network_.partial()[b];
        if (sharable) judge_.end_step(rows);
        return loss;
    }

    LossSum evaluate_chunks(const Dataset& data, T* y) {
        const FlushDenormals flush;
        const Plan& plan = network_.plan();
        LossSum total;
        for (int64_t first = 0; first < data.rows; first += Network<T>::evaluation_rows) {
            const int64_t rows =
                data.rows - first < Network<T>::evaluation_rows ? data.rows - first : Network<T>::evaluation_rows;
            gather(network_.evaluation_input(rows), static_cast<const T*>(data.x), nullptr, first);
            const Matrix<T> output = network_.evaluate(rows);
            Target<T> target{};
            if (plan.class_targets) {
                // A copy, because other threads may write to what lies in Python's arrays.
                std::memcpy(network_.indices(), data.indices + first, size_t(rows) * sizeof(int64_t));
                target.indices = network_.indices();
            } else {
                target.values = network_.evaluation_targets(rows);
                gather(target.values, static_cast<const T*>(data.target), nullptr, first);
            }
            if (data.sample_weight) target.sample_weight = static_cast<const T*>(data.sample_weight) + first;
            const double denominator = loss_->denominator(target, rows, n_out());
            loss_->rows(output, target, Matrix<T>{}, denominator, network_.partial());
            for (int64_t b = 0; b < (rows + row_block - 1) / row_block; ++b) total.sum += network_.partial()[b];
            total.denominator += denominator;
            if (y) unpack(output, y + first * n_out(), n_out());
        }
        return total;
    }

    Network<T> network_;
    Pool pool_;
    Judge judge_;
    std::unique_ptr<Loss<T>> loss_;
    bool mean_ = true;
    int64_t ignore_index_ = 0;
    Best best_;
    int64_t remembers_ = 0;  // rows of the last forward that backward may go back through
    int64_t passes_ = 0;     // training passes so far
    int64_t counted_ = 0;
    int64_t* updates_ = &counted_;
    int64_t order_epoch_ = -1, order_rows_ = -1;
    uint64_t order_seed_ = 0;
};

template <class T>
std::unique_ptr<Engine> create(const Plan& plan) { return std::make_unique<Loop<T>>(plan); }

#define LOOP(LINKAGE, T) LINKAGE template std::unique_ptr<Engine> create<T>(const Plan&)
LOOP(extern, float);  // here only announced: loop.cpp makes them
LOOP(extern, double);

}  // namespace chainrule
