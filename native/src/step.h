// One training step: gather the rows that the epoch's order names, forward, loss, backward, (clip,) update. A step is one
// batch, or several, each of which passes by itself: their gradients add up, of a loss that is that of all rows. There are
// three ways, which give the same bits: alone; several threads, each with its rows; or several, layer by layer. And there is
// a fourth for tiny networks (tiny.h), which have one thread.
#pragma once

#include "heads.h"
#include "network.h"
#include "threads.h"
#include "tiny.h"

namespace chainrule {

template <class T>
class Step {
public:
    Step(Network<T>& network, Heads<T>& heads, Tiny<T>* tiny) : network_(network), heads_(heads), tiny_(tiny), tiny_rule_(tiny ? network.parameters().rule(0) : 0), pool_(network.threads()) {}

    int team_for(int64_t rows) const { return network_.worth_threads(rows) ? pool_.size() : 1; }

    // Rows first … of the data in the given order (null: as they stand), of which `batch` pass at a time, each batch with the
    // next number. Adds each head's loss to `losses`.
    void make(const Dataset& data, const int64_t* order, int64_t first, int64_t rows, int64_t batch, const Rates& rates,
              int64_t pass_number, LossSum* losses) {
        if (tiny_ && tiny_->takes(rows) && !data.sample_weight) return make_tiny(data, order, first, rows, rates, losses[0]);
        Pass pass;
        // Of several batches the update is one of its own, for none rides on a gradient that is a part of the whole.
        const bool rides = rows <= batch;
        pass.number = pass_number;
        pass.add = network_.gradients_start_from_zero();
        pass.update = rides;
        pass.lr = rates.lr;
        Parameters<T>& parameters = network_.parameters();
        if (pass.add) parameters.zero_gradients();
        parameters.count_step();
        heads_.begin(data, order, first, rows);
        const bool sharable = pool_.size() > 1 && network_.worth_threads(rides ? rows : batch), shared = sharable && judge_.wants_help();
        if (sharable) judge_.begin_step();
        if (shared) pool_.start();
        if (rides) pass_of(pass, data, order, first, rows, shared);
        else passes_of(pass, data, order, first, rows, batch, shared, losses);
        if (!rides || !parameters.all_fused()) parameters.step(rates, rides, [&](const auto& f) { divided(shared, f); });
        if (rides) heads_.add_up(rows, true, losses);
        if (sharable) judge_.end_step(rows);
        shared_ = shared;
    }

    // Runs f for every share of something that follows the last step, by as many threads as that had.
    template <class F>
    void divided(const F& f) { divided(shared_, f); }

private:
    template <class F>
    void divided(bool shared, const F& f) {
        if (shared) phase(f);
        else f(Share{});
    }

    void make_tiny(const Dataset& data, const int64_t* order, int64_t first, int64_t rows, const Rates& rates, LossSum& loss) {
        Parameters<T>& parameters = network_.parameters();
        parameters.count_step();
        const double denominator = heads_.denominator_of(rows);
        loss.sum += tiny_->step(static_cast<const T*>(data.x[0]), static_cast<const T*>(data.targets[0]), order, first, rows,
                                denominator, parameters.all_fused(), T(rates.lr[tiny_rule_]));
        loss.denominator += denominator;
        if (!parameters.all_fused()) parameters.step(rates, true, [&](const auto& f) { divided(false, f); });
    }

    void pass_of(Pass& pass, const Dataset& data, const int64_t* order, int64_t first, int64_t rows, bool shared) {
        if (!shared) alone(pass, data, order, first, rows);
        else if (network_.goes_by_layers(rows)) by_layers(pass, data, order, first, rows);
        else by_rows(pass, data, order, first, rows);
    }
    // Batch after batch, whose gradients add up.
    NO_INLINE void passes_of(Pass pass, const Dataset& data, const int64_t* order, int64_t first, int64_t rows, int64_t batch, bool shared,
                             LossSum* losses) {
        for (int64_t begin = 0; begin < rows; begin += batch, ++pass.number, pass.add = true) {
            const int64_t n = rows - begin < batch ? rows - begin : batch;
            heads_.turn_to(begin);
            pass_of(pass, data, order, first + begin, n, shared && (begin == 0 || network_.worth_threads(n)));
            heads_.add_up(n, begin + n == rows, losses);
        }
        network_.parameters_changed();
    }

    // Chunk after chunk, all in the same memory.
    void alone(Pass& pass, const Dataset& data, const int64_t* order, int64_t first, int64_t rows) {
        network_.parameters_changed();
        network_.prepare_forward({});
        const bool add = pass.add, update = pass.update;
        each_chunk(0, rows, network_.chunk_rows(), [&](int64_t begin, int64_t end) {
            const int64_t n = end - begin;
            pass.first_row = begin;
            gather_rows(data, order, first + begin, 0, n);
            network_.forward(pass, 0, n);
            heads_.rows(0, n, begin);
            pass.add = add || begin > 0;
            pass.update = update && end == rows;
            network_.backward(pass, n);
        });
    }

    // Each thread takes its rows for forward, loss and dx, then its part of the parameters' gradients.
    void by_rows(const Pass& pass, const Dataset& data, const int64_t* order, int64_t first, int64_t rows) {
        if (!network_.is_prepared()) phase([&](Share share) { network_.prepare(share); });
        phase_of_rows(rows, [&](int64_t rows_begin, int64_t rows_end) {
            each_chunk(rows_begin, rows_end, network_.chunk_rows(), [&](int64_t begin, int64_t end) {
                gather_rows(data, order, first, begin, end);
                network_.forward(pass, begin, end);
                heads_.rows(begin, end, 0);
                network_.backward_inputs(pass, begin, end);
            });
        });
        phase([&](Share share) { network_.backward_parameters(pass, rows, share); });
        network_.parameters_stepped();
    }

    // Each thread takes its part of every layer, and all rows.
    void by_layers(const Pass& pass, const Dataset& data, const int64_t* order, int64_t first, int64_t rows) {
        const auto all = [&](const auto& f) { phase(f); };
        network_.parameters_changed();
        phase([&](Share share) { network_.prepare_forward(share); });
        phase_of_rows(rows, [&](int64_t begin, int64_t end) { gather_rows(data, order, first, begin, end); });
        network_.forward_by_layers(pass, rows, all);
        phase_of_rows(rows, [&](int64_t begin, int64_t end) { heads_.rows(begin, end, 0); });
        network_.backward_by_layers(pass, rows, all);
    }

    template <class F>
    void phase(const F& f) { pool_.phase(pool_.size(), f); }
    template <class F>
    void phase_of_rows(int64_t rows, const F& f) {
        phase([&](Share share) {
            const int64_t begin = share.begin(rows, row_block), end = share.end(rows, row_block);
            if (begin < end) f(begin, end);
        });
    }

    void gather_rows(const Dataset& data, const int64_t* order, int64_t first, int64_t begin, int64_t end) {
        for (size_t i = 0; i < network_.inputs(); ++i)
            gather(network_.input(i).rows(begin, end), static_cast<const T*>(data.x[i]), order, first + begin);
        heads_.gather_rows(data, order, first, begin, end);
    }

    Network<T>& network_;
    Heads<T>& heads_;
    Tiny<T>* tiny_;  // or null
    int tiny_rule_;  // that all of its parameters follow, if it updates them
    Pool pool_;
    Judge judge_;
    bool shared_ = false;  // the last step
};

}  // namespace chainrule
