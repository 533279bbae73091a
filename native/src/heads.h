// The losses on a network's outputs: what they are compared with, their sums, and where the gradient begins.
//
// The loss of a batch is Σ weight · (Σ_i w_i l_i / denominator) over the heads. A head's weight comes into its gradient as
// denominator / weight, so no loss knows of it.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "data.h"
#include "engine.h"
#include "losses/loss.h"
#include "network.h"

namespace chainrule {

template <class T>
class Heads {
public:
    Heads(const Plan& plan, const Network<T>& network, int64_t evaluation_rows)
        : batch_(plan.batch), step_rows_(checked_product(plan.batch, plan.accumulate)), evaluation_rows_(evaluation_rows) {
        for (size_t k = 0; k < plan.heads.size(); ++k) {
            const chainrule::Head& said = plan.heads[k];
            One one;
            one.output = &network.output(k);
            one.columns = one.output->columns;
            one.loss = make_loss<T>(said.loss, one.columns);
            if (one.loss->needs_classes() && !said.class_targets) throw std::invalid_argument("plan: " + said.loss.kind + " needs class indices for targets");
            one.weight = said.weight;
            one.mean = said.loss.flag("mean");
            one.class_targets = said.class_targets;
            one.ignores_missing = !said.class_targets && one.loss->ignores_missing();
            if (said.class_targets) one.ignore_index = int64_t(said.loss.number("ignore_index"));
            heads_.push_back(std::move(one));
        }
    }

    size_t count() const { return heads_.size(); }

    void lay_out(Arena& arena) {
        const int64_t rows = step_rows_ > evaluation_rows_ ? step_rows_ : evaluation_rows_;
        sample_weights_ = arena.take<T>(heads_.empty() ? 0 : rows);
        for (One& one : heads_) {
            one.targets = arena.take<T>(one.class_targets ? 0 : matrix_size<T>(batch_, one.columns));
            one.indices = arena.take<int64_t>(one.class_targets ? rows : 0);
            if (one.ignores_missing) one.there = arena.take<double>(rows);
            one.partial = arena.take<double>(rows / row_block + 1);
            one.evaluation_targets = arena.take<T>(one.class_targets ? 0 : matrix_size<T>(evaluation_rows_, one.columns));
        }
    }

    // Refuses what later passes would stumble over.
    void check(const Dataset& data) const {
        if (data.targets.size() != heads_.size()) throw std::invalid_argument("the data set must have targets for each head");
        for (size_t k = 0; k < heads_.size(); ++k) {
            const One& one = heads_[k];
            if (!data.targets[k]) throw std::invalid_argument(one.class_targets ? "the loss needs class indices" : "the loss needs targets");
            if (!one.class_targets) continue;
            const int64_t* const indices = static_cast<const int64_t*>(data.targets[k]);
            for (int64_t r = 0; r < data.rows; ++r)
                if (uint64_t(indices[r]) >= uint64_t(one.columns) && indices[r] != one.ignore_index)
                    throw std::invalid_argument("target of row " + std::to_string(r) + ": class " + std::to_string(indices[r]) +
                                                " is not below " + std::to_string(one.columns));
        }
    }

    // By what one head's loss of numbers, without weights, is divided.
    double denominator_of(int64_t rows) const { return heads_[0].mean ? double(heads_[0].columns) * double(rows) : 1; }

    // ---- a training step

    // What the denominators depend on: one number for each row of the whole step; and these. The step is one batch, or
    // several, to which `turn_to` turns.
    void begin(const Dataset& data, const int64_t* order, int64_t first, int64_t rows) {
        first_ = 0;
        weighted_ = data.sample_weight != nullptr;
        if (weighted_) {
            const T* weight = static_cast<const T*>(data.sample_weight);
            for (int64_t r = 0; r < rows; ++r) sample_weights_[r] = weight[order ? order[first + r] : first + r];
        }
        for (size_t k = 0; k < heads_.size(); ++k) {
            One& one = heads_[k];
            if (one.class_targets) {
                const int64_t* const indices = static_cast<const int64_t*>(data.targets[k]);
                for (int64_t r = 0; r < rows; ++r) one.indices[r] = indices[order ? order[first + r] : first + r];
            }
            if (one.ignores_missing) look_what_is_there(one, data.targets[k], order, first, rows);
            if (one.of_rows == rows && !weighted_) continue;  // it depends on nothing else
            one.denominator = one.loss->denominator(target_of(one, 0, 0, rows), rows, one.columns);
            one.of_rows = weighted_ || one.class_targets || one.ignores_missing ? -1 : rows;
        }
    }
    // The batch that comes begins with this row of the step.
    void turn_to(int64_t first) { first_ = first; }
    // Targets of the batch's rows first + begin …, to rows begin … end - 1 of the memory.
    void gather_rows(const Dataset& data, const int64_t* order, int64_t first, int64_t begin, int64_t end) {
        for (size_t k = 0; k < heads_.size(); ++k)
            if (!heads_[k].class_targets)
                gather(view(heads_[k], heads_[k].targets, batch_, begin, end), static_cast<const T*>(data.targets[k]), order, first + begin);
    }
    // Losses and gradients of rows begin … end - 1 of the memory, which are the batch's from first_row + begin on.
    void rows(int64_t begin, int64_t end, int64_t first_row) {
        for (One& one : heads_)
            one.loss->rows(one.output->rows(begin, end), target_of(one, begin, first_row + begin, end - begin),
                           one.output->gradient_rows(begin, end), one.weight == 1 ? one.denominator : one.denominator / one.weight,
                           one.partial + (first_row + begin) / row_block);
    }
    // Adds each head's loss of a batch to `losses`; with the last batch of a step, what divides that of the step.
    void add_up(int64_t rows, bool last, LossSum* losses) const {
        const int64_t blocks = (rows + row_block - 1) / row_block;
        for (const One& one : heads_) {
            double sum = 0;
#pragma GCC unroll 1
            for (int64_t b = 0; b < blocks; ++b) sum += one.partial[b];
            losses->sum += sum;
            if (last) losses->denominator += one.denominator;
            ++losses;
        }
    }

    // ---- evaluation

    // Adds the losses of rows first … of the data, whose outputs these are, evaluation_rows_ of them at a time.
    void evaluate(const Dataset& data, int64_t first, int64_t rows, const std::vector<Matrix<T>>& outputs, LossSum* losses) {
        for (int64_t begin = 0; begin < rows; begin += evaluation_rows_) {
            const int64_t end = rows - begin < evaluation_rows_ ? rows : begin + evaluation_rows_;
            evaluate(data, first + begin, begin, end, outputs, losses);
        }
    }

    // The loss that these sums amount to; into `each`, if it is there, the loss of each head before its weight.
    double value(const LossSum* losses, double* each = nullptr) const {
        double total = 0;
        for (size_t k = 0; k < heads_.size(); ++k) {
            const LossSum& loss = losses[k];
            const double value = !heads_[k].mean ? loss.sum : loss.denominator == 0 ? 0 : loss.sum / loss.denominator;
            if (each) each[k] = value;
            total += heads_[k].weight * value;
        }
        return total;
    }

private:
    struct One {
        const Value<T>* output = nullptr;
        int64_t columns = 0, ignore_index = 0;
        std::unique_ptr<Loss<T>> loss;
        double weight = 1, denominator = 0;
        int64_t of_rows = -1;  // rows of the batch whose denominator it is
        bool mean = true, class_targets = false, ignores_missing = false;
        T *targets = nullptr, *evaluation_targets = nullptr;
        int64_t* indices = nullptr;
        double* there = nullptr;    // how much of each row of the batch is there
        double* partial = nullptr;  // sums of blocks of rows
    };

    // Rows begin … end - 1 of the outputs, which are those of the data from `first` on.
    void evaluate(const Dataset& data, int64_t first, int64_t begin, int64_t end, const std::vector<Matrix<T>>& outputs, LossSum* losses) {
        const int64_t rows = end - begin;
        for (size_t k = 0; k < heads_.size(); ++k) {
            One& one = heads_[k];
            Target<T> target{};
            if (one.class_targets) {
                // A copy, because other threads may write to what lies in Python's arrays.
                std::memcpy(one.indices, static_cast<const int64_t*>(data.targets[k]) + first, size_t(rows) * sizeof(int64_t));
                target.indices = one.indices;
            } else {
                target.values = view(one, one.evaluation_targets, evaluation_rows_, 0, rows);
                gather<T>(target.values, static_cast<const T*>(data.targets[k]), nullptr, first);
            }
            if (one.ignores_missing) {
                look_what_is_there(one, data.targets[k], nullptr, first, rows);
                target.there = one.there;
            }
            if (data.sample_weight) target.sample_weight = static_cast<const T*>(data.sample_weight) + first;
            const double denominator = one.loss->denominator(target, rows, one.columns);
            one.loss->rows(outputs[k].slice(begin, end), target, Matrix<T>{}, denominator, one.partial);
            for (int64_t b = 0; b < (rows + row_block - 1) / row_block; ++b) losses[k].sum += one.partial[b];
            losses[k].denominator += denominator;
        }
    }

    static void look_what_is_there(One& one, const void* targets, const int64_t* order, int64_t first, int64_t rows) {
        const T* const values = static_cast<const T*>(targets);
        for (int64_t r = 0; r < rows; ++r) one.there[r] = one.loss->there(values + (order ? order[first + r] : first + r) * one.columns, one.columns);
    }
    static Matrix<T> view(const One& one, T* data, int64_t capacity, int64_t begin, int64_t end) {
        Value<T> value;
        value.columns = one.columns;
        value.capacity = capacity;
        value.data = data;
        return value.rows(begin, end);
    }
    // memory_row: where values lie; row: of the batch, where indices and weights do.
    Target<T> target_of(const One& one, int64_t memory_row, int64_t row, int64_t rows) const {
        Target<T> target{};
        if (one.class_targets) target.indices = one.indices + first_ + row;
        else target.values = view(one, one.targets, batch_, memory_row, memory_row + rows);
        if (one.ignores_missing) target.there = one.there + first_ + row;
        if (weighted_) target.sample_weight = sample_weights_ + first_ + row;
        return target;
    }

    int64_t batch_, step_rows_, evaluation_rows_, first_ = 0;
    std::vector<One> heads_;
    T* sample_weights_ = nullptr;
    bool weighted_ = false;
};

}  // namespace chainrule
