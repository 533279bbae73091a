// The parameters of a network: values, gradients, the optimizer's state and the best values so far, each array flat, with
// every parameter at the same offset in all of them, so that one pass updates everything.
#pragma once

#include <vector>

#include "arena.h"
#include "optimizers/optimizer.h"
#include "plan.h"
#include "products/products.h"
#include "share.h"

namespace chainrule {

// Numbers in memory of a matrix, padding included.
template <class T>
int64_t matrix_size(int64_t rows, int64_t columns) {
    return checked_product(rows, round_up(columns, panel_width<T>(columns)));
}

template <class T>
class Parameters {
public:
    Parameters(const std::vector<ParameterShape>& shapes, const Plan& plan) : shapes_(shapes) {
        for (const ParameterShape& p : shapes)
            if (p.n_out < 1 || p.n_in < 0 || p.n_out > (int64_t(1) << 31) || p.n_in > (int64_t(1) << 31))
                throw std::invalid_argument("plan: a parameter's shape is empty or huge");
        uses_.assign(shapes.size(), 0);
        fused_.assign(shapes.size(), false);
        steps_taken_.assign(shapes.size(), 0);
        if (!plan.has_optimizer) return;
        const Settings settings = with_normal_options<T>(plan.optimizer);
        Settings without_decay = settings;
        without_decay.numbers["weight_decay"] = 0;
        const bool decays = settings.numbers.count("weight_decay") && settings.number("weight_decay") != 0;  // some never do
        decays_all_ = !decays || settings.flag("decay_biases");
        clip_value_ = settings.number("clip_value");
        clip_norm_ = settings.number("clip_norm");
        rule_ = make_optimizer<T>(settings);
        bias_rule_ = make_optimizer<T>(decays_all_ ? settings : without_decay);
    }

    // ---- what the layers say, before memory is counted

    void use(int i) { ++uses_[size_t(i)]; }
    // Does the optimizer do nothing but value -= lr · gradient to this one, which one layer alone uses?
    bool may_fuse_update(int i) const { return rule_ && rule_->is_plain() && uses_[size_t(i)] == 1; }
    // That layer will, in the pass that makes the gradient.
    void fuse_update(int i) { fused_[size_t(i)] = true; }

    // ---- memory; in three parts, for a step touches it in this order; runs twice (arena.h)

    void lay_out_values(Arena& arena) {
        offset_.resize(shapes_.size());
        size_.resize(shapes_.size());
        int64_t flat = 0, biggest = 0;
        for (size_t i = 0; i < shapes_.size(); ++i) {
            const Matrix<T> m = matrix(nullptr, i);
            offset_[i] = flat;
            size_[i] = round_up(matrix_size<T>(m.rows, m.columns), 64);
            biggest = size_[i] > biggest ? size_[i] : biggest;
            flat += size_[i];
            checked_product(flat, 1);
        }
        flat_size_ = flat;
        biggest_ = biggest;
        values_ = arena.take<T>(flat);
    }
    void lay_out_gradients(Arena& arena) {
        gradients_ = arena.take<T>(flat_size_);
        state_.resize(size_t(states()));
        for (T*& s : state_) s = arena.take<T>(flat_size_);
    }
    void lay_out_best(Arena& arena) {
        best_ = arena.take<T>(flat_size_);
        scratch_ = arena.take<T>(spoils_padding() ? biggest_ : 0);
    }
    // Once the memory is there.
    void start() {
        for (int k = 0; k < states(); ++k) {
            const T initial = T(rule_->initial_state(k));
            if (initial != 0)
                for (size_t i = 0; i < shapes_.size(); ++i)
                    each_number(i, [&](int64_t at) { state_[size_t(k)][at] = initial; });
        }
        find_uniform();
    }

    // ---- what Python sees

    int states() const { return rule_ ? rule_->states() : 0; }
    T* values() const { return values_; }
    T* gradients() const { return gradients_; }
    T* state(int k) const { return state_[size_t(k)]; }
    T* best() const { return best_; }
    T* value(int i) const { return values_ + offset_[size_t(i)]; }
    T* gradient(int i) const { return gradients_ + offset_[size_t(i)]; }
    size_t count() const { return shapes_.size(); }
    const ParameterShape& shape(int i) const { return shapes_[size_t(i)]; }
    const std::vector<int64_t>& steps_taken() const { return steps_taken_; }
    void set_steps_taken(size_t i, int64_t steps) {
        steps_taken_[i] = steps;
        find_uniform();
    }

    void read(const T* flat, size_t i, T* to) const {
        each_number(i, [&](int64_t at) { *to++ = flat[at]; });
    }
    void write(T* flat, size_t i, const T* from) {
        std::memset(flat + offset_[i], 0, size_t(size_[i]) * sizeof(T));  // a scale or a rate of NaN ruins the padding too
        each_number(i, [&](int64_t at) { flat[at] = *from++; });
    }

    void zero_gradients() { std::memset(gradients_, 0, size_t(flat_size_) * sizeof(T)); }
    void keep_best() { std::memcpy(best_, values_, size_t(flat_size_) * sizeof(T)); }

    // Neither infinite nor NaN, every one of them.
    bool are_finite() const {
        Lanes16<T> sums[4];  // of v - v, which is 0, or NaN once and for all
        for (Lanes16<T>& sum : sums) sum = Lanes16<T>::zeros();
        for (int64_t i = 0; i < flat_size_; i += 4 * virtual_lanes)  // parameters are padded to 64 numbers
            for (int q = 0; q < 4; ++q) {
                Lanes16<T> v = Lanes16<T>::load(values_ + i + q * virtual_lanes);
                for (int j = 0; j < Lanes16<T>::vectors; ++j) sums[q].v[j] += v.v[j] - v.v[j];
            }
        for (int q = 1; q < 4; ++q) sums[0].add(sums[q]);
        return sums[0].sum() == 0;
    }

    // ---- the optimizer's step

    void count_step() {
        for (int64_t& steps : steps_taken_) ++steps;
    }
    bool all_fused() const { return all_fused_; }

    // The factor by which clip_norm scales all gradients, after clip_value has cut them.
    double clipping_scale() const {
        if (!(clip_norm_ > 0)) return 1;
        double squares = 0;
        for (size_t i = 0; i < shapes_.size(); ++i)
            squares += sum_of_squares(matrix(gradients_ + offset_[i], i), clip_value_);
        return clip_scale(clip_norm_, squares);
    }

    // On the gradients as they are, for this thread's share of the numbers; but for what a fused pass has updated.
    void update(double lr, double scale, bool skip_fused, Share share) {
        if (uniform_ && !(skip_fused && any_fused_)) {
            const int64_t begin = share.begin(flat_size_, 64), end = share.end(flat_size_, 64);
            if (begin < end) update_range(*rule_, begin, end, {lr, steps_taken_.empty() ? 0 : steps_taken_[0], scale});
            return;
        }
        for (size_t i = 0; i < shapes_.size(); ++i) {
            if (skip_fused && fused_[i]) continue;
            const int64_t begin = share.begin(size_[i], 64), end = share.end(size_[i], 64);
            const Optimizer<T>& rule = shapes_[i].n_in == 0 ? *bias_rule_ : *rule_;
            if (begin < end) update_range(rule, offset_[i] + begin, offset_[i] + end, {lr, steps_taken_[i], scale});
        }
    }

    // Rules that divide by √0 + 0 make NaN of the padding, and dot products run over padding.
    void clear_padding_if_spoiled() {
        if (!spoils_padding()) return;
        for (size_t i = 0; i < shapes_.size(); ++i) {
            std::memcpy(scratch_, values_ + offset_[i], size_t(size_[i]) * sizeof(T));
            std::memset(values_ + offset_[i], 0, size_t(size_[i]) * sizeof(T));
            each_number(i, [&](int64_t at) { values_[at] = scratch_[at - offset_[i]]; });
        }
    }

private:
    Matrix<T> matrix(T* data, size_t i) const {
        const ParameterShape& shape = shapes_[i];
        return shape.n_in == 0 ? Matrix<T>(data, 1, shape.n_out) : weight_matrix<T>(data, shape.n_in, shape.n_out);
    }

    // Calls f(place in the flat arrays) for every number of parameter i in Python's order.
    template <class F>
    void each_number(size_t i, F f) const {
        const ParameterShape& shape = shapes_[i];
        const int64_t offset = offset_[i];
        if (shape.n_in == 0) {
            for (int64_t o = 0; o < shape.n_out; ++o) f(offset + o);
            return;
        }
        const bool transposed = weight_is_transposed(shape.n_in, shape.n_out);
        const Matrix<T> m = matrix(nullptr, i);
        const int width = m.width();
        for (int64_t o = 0; o < shape.n_out; ++o)
            for (int64_t j = 0; j < shape.n_in; ++j) {
                const int64_t r = transposed ? j : o, c = transposed ? o : j;
                f(offset + (c / width) * m.pitch + r * width + c % width);
            }
    }

    bool spoils_padding() const { return rule_ && rule_->spoils_padding(); }

    // Are all parameters updated by the same rule at the same step? Then one pass over the flat arrays does it.
    void find_uniform() {
        uniform_ = decays_all_;
        all_fused_ = true, any_fused_ = false;
        for (size_t i = 0; i < shapes_.size(); ++i) {
            uniform_ = uniform_ && steps_taken_[i] == steps_taken_[0];
            all_fused_ = all_fused_ && fused_[i];
            any_fused_ = any_fused_ || fused_[i];
        }
    }

    void update_range(const Optimizer<T>& rule, int64_t begin, int64_t end, const UpdateStep& step) {
        T* states[8] = {};
        for (size_t k = 0; k < state_.size(); ++k) states[k] = state_[k] + begin;
        rule.update(step, values_ + begin, gradients_ + begin, states, end - begin);
    }

    std::vector<ParameterShape> shapes_;
    std::vector<int> uses_;  // by how many layers
    std::vector<bool> fused_;
    std::vector<int64_t> offset_, size_, steps_taken_;
    std::unique_ptr<Optimizer<T>> rule_, bias_rule_;
    bool decays_all_ = true, uniform_ = true, all_fused_ = true, any_fused_ = false;
    double clip_value_ = 0, clip_norm_ = 0;
    int64_t flat_size_ = 0, biggest_ = 0;
    T *values_ = nullptr, *gradients_ = nullptr, *best_ = nullptr, *scratch_ = nullptr;
    std::vector<T*> state_;
};

}  // namespace chainrule
