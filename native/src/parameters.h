// The parameters of a network: values, gradients, the optimizer's state, the best values so far and their mean, each array
// flat, with every parameter at the same offset in all of them, so that one pass updates all that follow the same rule.
// Which these are is found out before the run, not in it.
#pragma once

#include <algorithm>
#include <vector>

#include "arena.h"
#include "constraints/constraint.h"
#include "lookahead.h"
#include "optimizers/optimizer.h"
#include "rates.h"
#include "share.h"

namespace chainrule {

template <class T>
class Parameters {
public:
    explicit Parameters(const Plan& plan) : shapes_(plan.parameters), first_statistic_(shapes_.size() - size_t(plan.statistics)), lookahead_(plan.lookahead) {
        for (const ParameterShape& p : shapes_) {
            if (p.n_out < 1 || p.n_in < 0 || p.n_out > (int64_t(1) << 31) || p.n_in > (int64_t(1) << 31))
                throw std::invalid_argument("plan: a parameter's shape is empty or huge");
            if (p.taps < 0 || (p.taps > 0 && (p.n_in == 0 || p.n_in % p.taps != 0)))
                throw std::invalid_argument("plan: the taps of a kernel must divide its numbers");
        }
        const size_t n = shapes_.size();
        uses_.assign(n, 0);
        fused_.assign(n, false);
        steps_before_.assign(n, 0);
        steps_ahead_.assign(n, 0);
        constraints_.resize(n);
        wholes_.resize(n);
        for (size_t i = 0; i < n; ++i) rule_of_.push_back(plan.rule(int(i)));
        has_average_ = !plan.average.kind.empty();
        if (plan.has_optimizer()) clip_norm_ = with_normal_options<T>(plan.rules[0].optimizer).number("clip_norm");
        for (const Rule& rule : plan.rules) rules_.push_back(made(rule));
        for (const Made& rule : rules_) spoils_padding_ = spoils_padding_ || rule.optimizer->spoils_padding();
        for (size_t i = 0; i < n; ++i) {
            if (!rule_for(i)) continue;
            constrain(i, plan.rules[size_t(rule_of_[i])].constraints);
            wholes_[i].update = rule_for(i)->optimizer->of_whole(shapes_[i]);
            if (wholes_[i].update) operations_of_wholes_ += wholes_[i].update->operations();
        }
        does_more_ = bounds_rows_ || spoils_padding_ || operations_of_wholes_ > 0 || lookahead_.is_there();
    }

    // Is it not frozen? Then it has a rule, if there is an optimizer.
    bool is_trained(int i) const { return rule_of_[size_t(i)] >= 0; }
    int rule(int i) const { return rule_of_[size_t(i)]; }

    // ---- what the layers say, before memory is counted

    void use(int i) { ++uses_[size_t(i)]; }
    bool has_shared() const {  // by several layers
        return std::any_of(uses_.begin(), uses_.end(), [](int n) { return n > 1; });
    }
    // Does the optimizer do nothing but value -= lr · gradient to this one, which one layer alone uses?
    bool may_fuse_update(int i) const { return is_plain(i) && uses_[size_t(i)] == 1; }
    bool is_plain(int i) const { return !rules_.empty() && is_trained(i) && rules_[size_t(rule(i))].is_plain; }
    // That layer will, in the pass that makes the gradient.
    void fuse_update(int i) { fused_[size_t(i)] = true; }

    // ---- memory; in three parts, for a step touches it in this order; runs twice (arena.h)

    void lay_out_values(Arena& arena) {
        offset_.resize(shapes_.size());
        size_.resize(shapes_.size());
        int64_t flat = 0, biggest = 0;
        for (size_t i = 0; i < shapes_.size(); ++i) {
            offset_[i] = flat;
            size_[i] = parameter_size<T>(shapes_[i]);
            biggest = size_[i] > biggest ? size_[i] : biggest;
            flat += size_[i];
            if (i < first_statistic_) own_size_ = flat;
            checked_product(flat, 1);
        }
        flat_size_ = flat;
        biggest_ = biggest;
        values_ = arena.take<T>(flat);
    }
    void lay_out_gradients(Arena& arena, int threads) {
        gradients_ = arena.take<T>(flat_size_);
        state_.resize(size_t(flat_states()));
        for (T*& s : state_) s = arena.take<T>(flat_size_);
        int64_t scratch = 0;
        for (size_t i = 0; i < wholes_.size(); ++i) {
            if (!wholes_[i].update) continue;
            wholes_[i].kept.clear();
            for (const KeptArray& kept : wholes_[i].update->kept())
                wholes_[i].kept.push_back({kept, arena.take<T>(kept.lies_as_value ? size_[i] : round_up(number_of(kept.shape), 64))});
            scratch = std::max(scratch, wholes_[i].update->scratch());
        }
        scratch_of_threads_.resize(scratch > 0 ? size_t(threads) : 0);
        for (T*& s : scratch_of_threads_) s = arena.take<T>(scratch);
        if (lookahead_.is_there()) slow_ = arena.take<T>(flat_size_);
    }
    void lay_out_best(Arena& arena) {
        best_ = arena.take<T>(flat_size_);
        average_ = arena.take<T>(has_average_ ? flat_size_ : 0);
        scratch_ = arena.take<T>(spoils_padding_ ? biggest_ : 0);
    }
    // Once the memory is there.
    void start() {
        for (int k = 0; k < flat_states(); ++k) {
            for (size_t i = 0; i < shapes_.size(); ++i) {
                const Made* rule = rule_for(i);
                const T initial = rule && k < rule->optimizer->states() ? T(rule->optimizer->initial_state(k)) : T(0);
                if (initial != 0) each_number(i, [&](int64_t at) { state_[size_t(k)][at] = initial; });
            }
        }
        find_ranges();
    }

    // ---- what Python sees

    // The most arrays of state that a parameter has: those of its rule, and Lookahead's slow weights behind them.
    int states() const {
        size_t most = size_t(flat_states());
        for (const Whole& whole : wholes_) most = std::max(most, whole.kept.size());
        return int(most) + lookahead_.is_there();
    }
    ParameterShape state_shape(size_t i, int k) const {
        const Whole& whole = wholes_[i];
        return size_t(k) < whole.kept.size() ? whole.kept[size_t(k)].kept.shape : shapes_[i];
    }
    void read_state(size_t i, int k, T* to) const {
        const State state = state_of(i, k);
        if (state.lies_as_value) read(state.flat, i, to);
        else std::memcpy(to, state.at, size_t(number_of(state_shape(i, k))) * sizeof(T));
    }
    void write_state(size_t i, int k, const T* from) {
        const State state = state_of(i, k);
        if (state.lies_as_value) write(state.flat, i, from);
        else std::memcpy(state.at, from, size_t(number_of(state_shape(i, k))) * sizeof(T));
    }
    T* values() const { return values_; }
    T* gradients() const { return gradients_; }
    T* best() const { return best_; }
    T* average() const { return average_; }
    T* value(int i) const { return values_ + offset_[size_t(i)]; }
    T* gradient(int i) const { return gradients_ + offset_[size_t(i)]; }
    size_t count() const { return shapes_.size(); }
    const ParameterShape& shape(int i) const { return shapes_[size_t(i)]; }
    int64_t steps_taken(size_t i) const { return steps_before_[i] + steps_; }
    void set_steps_taken(size_t i, int64_t steps) {
        steps_before_[i] = steps - steps_;
        find_ranges();
    }
    // Since Lookahead knows them.
    const std::vector<int64_t>& steps_ahead() const { return steps_ahead_; }
    void set_steps_ahead(size_t i, int64_t steps) { steps_ahead_[i] = steps; }

    void read(const T* flat, size_t i, T* to) const {
        each_number(i, [&](int64_t at) { *to++ = flat[at]; });
    }
    void write(T* flat, size_t i, const T* from) {
        std::memset(flat + offset_[i], 0, size_t(size_[i]) * sizeof(T));  // a scale or a rate of NaN ruins the padding too
        each_number(i, [&](int64_t at) { flat[at] = *from++; });
    }

    void zero_gradients() { std::memset(gradients_, 0, size_t(flat_size_) * sizeof(T)); }
    void keep_best() { std::memcpy(best_, values_, size_t(flat_size_) * sizeof(T)); }

    // ---- their mean

    // Of what rules may train: statistics stay those of the newest values.

    // mean += part · (value - mean), for this thread's share of the numbers; the whole of the first values.
    void average_in(double part, bool first, Share share) {
        const int64_t begin = share.begin(own_size_, 64), end = share.end(own_size_, 64);
        if (begin == end) return;
        if (first) {
            std::memcpy(average_ + begin, values_ + begin, size_t(end - begin) * sizeof(T));
            return;
        }
        const Vec<T> factor = broadcast<T>(T(part));
        for (int64_t i = begin; i < end; i += lanes<T>) {
            const Vec<T> mean = load_unaligned(average_ + i);
            store_unaligned(average_ + i, mean + factor * (load_unaligned(values_ + i) - mean));
        }
    }
    // Puts the mean in the place of the values, and back.
    void swap_average() { std::swap_ranges(values_, values_ + own_size_, average_); }

    // Neither infinite nor NaN, every one of them but the statistics.
    bool are_finite() const {
        Lanes16<T> sums[4];  // of v - v, which is 0, or NaN once and for all
        for (Lanes16<T>& sum : sums) sum = Lanes16<T>::zeros();
        for (int64_t i = 0; i < own_size_; i += 4 * virtual_lanes)  // parameters are padded to 64 numbers
            for (int q = 0; q < 4; ++q) {
                Lanes16<T> v = Lanes16<T>::load(values_ + i + q * virtual_lanes);
                for (int j = 0; j < Lanes16<T>::vectors; ++j) sums[q].v[j] += v.v[j] - v.v[j];
            }
        for (int q = 1; q < 4; ++q) sums[0].add(sums[q]);
        return sums[0].sum() == 0;
    }

    // ---- the optimizer's step

    void count_step() { ++steps_; }
    bool all_fused() const { return all_fused_; }  // of those that are trained
    double operations_of_wholes() const { return operations_of_wholes_; }  // of an update; about, and 0 for most rules

    // All of it, on the gradients as they are, but for what a fused pass has updated. divided(f) runs f for every share of the
    // numbers, and comes back when all are done.
    template <class Divided>
    void step(const Rates& rates, bool skip_fused, const Divided& divided) {
        if (does_more_) return step_with_more(rates, skip_fused, divided);
        const double scale = clipping_scale();
        divided([&](Share share) { update(rates, scale, skip_fused, share); });
    }

private:
    // Where there is more than numbers that are updated one by one.
    template <class Divided>
    NO_INLINE void step_with_more(const Rates& rates, bool skip_fused, const Divided& divided) {
        if (lookahead_.is_there()) begin_lookahead();
        const double scale = clipping_scale();
        divided([&](Share share) {
            update(rates, scale, skip_fused, share);
            update_wholes(rates, scale, share);
        });
        if (bounds_rows_) divided([&](Share share) { bound_rows(rates, share); });
        clear_padding_if_spoiled();
        if (lookahead_.is_there()) look_back(divided);
    }

    // The factor by which clip_norm scales all gradients, after clip_value has cut them.
    double clipping_scale() const {
        if (!(clip_norm_ > 0)) return 1;
        double squares = 0;
        for (size_t i = 0; i < shapes_.size(); ++i)
            if (const Made* rule = rule_for(i)) squares += sum_of_squares(matrix(gradients_ + offset_[i], i), rule->clip_value);
        return clip_scale(clip_norm_, squares);
    }

    // For this thread's share of the numbers; constraints follow that need no more than these.
    void update(const Rates& rates, double scale, bool skip_fused, Share share) {
        for (const Range& range : skip_fused ? unfused_ : ranges_) {
            const int64_t begin = share.begin(range.end - range.begin, 64), end = share.end(range.end - range.begin, 64);
            if (begin == end) continue;
            const UpdateStep step = step_of(range, rates, scale);
            update_range(*rules_[size_t(range.rule)].optimizer, range.begin + begin, range.begin + end, step);
            if (range.is_bounded) bound(range, step.lr, begin, end);
        }
    }

    // Each parameter that is updated whole by one thread: that in whose share of the operations the middle of its own lies.
    void update_wholes(const Rates& rates, double scale, Share share) {
        double before = 0;
        for (size_t i = 0; i < wholes_.size(); ++i) {
            const Whole& whole = wholes_[i];
            if (!whole.update) continue;
            const double mine = whole.update->operations(), middle = (before + mine / 2) / operations_of_wholes_;
            before += mine;
            if (std::min(int(middle * share.count), share.count - 1) != share.index) continue;
            const Range range{offset_[i], offset_[i] + size_[i], rule_of_[i], i, !constraints_[i].empty()};
            const UpdateStep step = step_of(range, rates, scale);
            T* states[8] = {};
            for (size_t k = 0; k < whole.kept.size(); ++k) states[k] = whole.kept[k].at;
            T* const scratch = scratch_of_threads_.empty() ? nullptr : scratch_of_threads_[size_t(share.index)];
            whole.update->update(step, values_ + range.begin, gradients_ + range.begin, states, scratch);
            if (range.is_bounded) bound(range, step.lr, 0, size_[i]);
        }
    }

    // Slow weights begin as the weights before the first update.
    void begin_lookahead() {
        for (size_t i = 0; i < shapes_.size(); ++i)
            if (rule_for(i) && steps_ahead_[i] == 0) std::memcpy(slow_ + offset_[i], values_ + offset_[i], size_t(size_[i]) * sizeof(T));
    }
    // After each so many updates of a parameter its slow weights follow, and the fast ones go back there.
    template <class Divided>
    void look_back(const Divided& divided) {
        bool any = false;
        for (size_t i = 0; i < shapes_.size(); ++i)
            if (rule_for(i)) any = lookahead_.is_due(++steps_ahead_[i]) || any;
        if (!any) return;
        divided([&](Share share) {
            for (size_t i = 0; i < shapes_.size(); ++i) {
                if (!rule_for(i) || !lookahead_.is_due(steps_ahead_[i])) continue;
                const int64_t begin = share.begin(size_[i], 64), end = share.end(size_[i], 64);
                if (begin < end) lookahead_.follow(slow_ + offset_[i] + begin, values_ + offset_[i] + begin, end - begin);
            }
        });
    }

    // And those that look at whole rows, with all that come behind them: once every number is updated.
    void bound_rows(const Rates& rates, Share share) {
        for (size_t i = 0; i < shapes_.size(); ++i) {
            bool comes = false;
            for (const auto& constraint : constraints_[i]) {
                comes = comes || constraint->takes_rows();
                if (!comes) continue;
                const int64_t unit = rows_unit<T>(shapes_[i], size_[i]), begin = share.begin(size_[i], unit), end = share.end(size_[i], unit);
                if (begin < end) constraint->apply(rates.lr[rule_of_[i]], values_ + offset_[i], begin, end);
            }
        }
    }

    // Rules that divide by √0 + 0 make NaN of the padding, and dot products run over padding.
    void clear_padding_if_spoiled() {
        if (!spoils_padding_) return;
        for (size_t i = 0; i < shapes_.size(); ++i) {
            std::memcpy(scratch_, values_ + offset_[i], size_t(size_[i]) * sizeof(T));
            std::memset(values_ + offset_[i], 0, size_t(size_[i]) * sizeof(T));
            each_number(i, [&](int64_t at) { values_[at] = scratch_[at - offset_[i]]; });
        }
    }

    // A rule of the plan.
    struct Made {
        std::unique_ptr<Optimizer<T>> optimizer;
        double sign, clip_value;  // of the gradients: -1 if it maximizes
        bool is_plain;            // value -= lr · gradient, and nothing before or after
    };
    // What one pass of one rule updates: a parameter, or several that lie side by side.
    struct Range {
        int64_t begin, end;
        int rule;
        size_t parameter;  // the first of them
        bool is_bounded;   // it has constraints
    };
    // How one is updated whole, if it is, and what is kept of it.
    struct Whole {
        struct Array {
            KeptArray kept;
            T* at;
        };
        std::unique_ptr<WholeUpdate<T>> update;
        std::vector<Array> kept;
    };
    // Where an array of state is: at the parameter's offset in a flat one, or on its own.
    struct State {
        T *flat, *at;
        bool lies_as_value;
    };

    UpdateStep step_of(const Range& range, const Rates& rates, double scale) const {
        return {rates.lr[range.rule], steps_taken(range.parameter), scale * rules_[size_t(range.rule)].sign,
                rates.momentum ? rates.momentum[range.rule] : -1};
    }
    static int64_t number_of(const ParameterShape& shape) { return shape.n_out * std::max<int64_t>(shape.n_in, 1); }
    int flat_states() const {  // of the rule with the most
        int most = 0;
        for (const Made& rule : rules_) most = std::max(most, rule.optimizer->states());
        return most;
    }
    State state_of(size_t i, int k) const {
        const Made* rule = rule_for(i);
        const Whole& whole = wholes_[i];
        const int own = whole.update ? int(whole.kept.size()) : rule ? rule->optimizer->states() : 0;
        if (lookahead_.is_there() && k == own) return {slow_, nullptr, true};
        if (whole.update && k < own) {
            const auto& [kept, at] = whole.kept[size_t(k)];
            return {at - offset_[i], at, kept.lies_as_value};
        }
        if (size_t(k) >= state_.size()) throw std::out_of_range("parameter " + std::to_string(i) + " has no state " + std::to_string(k));
        return {state_[size_t(k)], nullptr, true};
    }

    Made made(const Rule& rule) const {
        const Settings settings = with_normal_options<T>(rule.optimizer);
        const bool maximizes = settings.flag("maximize");
        Made made{make_optimizer<T>(settings), maximizes ? -1.0 : 1.0, settings.number("clip_value"), false};
        made.is_plain = made.optimizer->is_plain() && !maximizes && !(clip_norm_ > 0) && rule.constraints.empty() && !lookahead_.is_there();
        return made;
    }
    void constrain(size_t i, const std::vector<Settings>& constraints) {
        for (const Settings& settings : constraints) {
            auto one = make_constraint<T>(settings, shapes_[i]);
            if (!one) continue;
            bounds_rows_ = bounds_rows_ || one->takes_rows();
            constraints_[i].push_back(std::move(one));
        }
    }
    const Made* rule_for(size_t i) const { return rules_.empty() || rule_of_[i] < 0 ? nullptr : &rules_[size_t(rule_of_[i])]; }

    Matrix<T> matrix(T* data, size_t i) const { return parameter_matrix<T>(shapes_[i], data); }

    // Calls f(place in the flat arrays) for every number of parameter i in Python's order.
    template <class F>
    void each_number(size_t i, F f) const {
        each_place<T>(shapes_[i], [&, offset = offset_[i]](int64_t at) { f(offset + at); });
    }

    void bound(const Range& range, double lr, int64_t begin, int64_t end) {
        for (const auto& constraint : constraints_[range.parameter]) {
            if (constraint->takes_rows()) break;
            constraint->apply(lr, values_ + range.begin, begin, end);
        }
    }

    // Neighbours that follow the same rule at the same step are one range: mostly that is all there is.
    void find_ranges() {
        all_fused_ = true;
        ranges_.clear(), unfused_.clear();
        for (size_t i = 0; i < shapes_.size() && !rules_.empty(); ++i) {
            if (!is_trained(int(i))) continue;
            all_fused_ = all_fused_ && fused_[i];
            if (wholes_[i].update) continue;
            add(i, ranges_);
            if (!fused_[i]) add(i, unfused_);
        }
    }
    void add(size_t i, std::vector<Range>& to) const {
        const Range mine{offset_[i], offset_[i] + size_[i], rule_of_[i], i, !constraints_[i].empty()};
        Range* const last = to.empty() ? nullptr : &to.back();
        const bool goes_on = last && last->end == mine.begin && last->rule == mine.rule && !mine.is_bounded && !last->is_bounded &&
                             steps_before_[last->parameter] == steps_before_[i];
        if (goes_on) last->end = mine.end;
        else to.push_back(mine);
    }

    void update_range(const Optimizer<T>& optimizer, int64_t begin, int64_t end, const UpdateStep& step) {
        T* states[8] = {};
        for (size_t k = 0; k < state_.size(); ++k) states[k] = state_[k] + begin;
        optimizer.update(step, values_ + begin, gradients_ + begin, states, end - begin);
    }

    std::vector<ParameterShape> shapes_;
    size_t first_statistic_;  // their number, if there are none
    std::vector<int> uses_;  // by how many layers
    std::vector<bool> fused_;
    std::vector<int64_t> offset_, size_, steps_ahead_;
    std::vector<int64_t> steps_before_;  // of each parameter, before those counted here,
    int64_t steps_ = 0;                  // which all have taken
    std::vector<Made> rules_;
    std::vector<int> rule_of_;  // of each parameter; -1: frozen
    std::vector<std::vector<std::unique_ptr<Constraint<T>>>> constraints_;  // of each parameter
    std::vector<Range> ranges_, unfused_;  // of all that are trained; of those that no fused pass has updated
    std::vector<Whole> wholes_;            // of each parameter; without an update it is in a range
    Lookahead<T> lookahead_;
    bool all_fused_ = true, bounds_rows_ = false, spoils_padding_ = false, has_average_ = false;
    bool does_more_ = false;  // an update than each number by itself
    double clip_norm_ = 0, operations_of_wholes_ = 0;
    int64_t flat_size_ = 0, own_size_ = 0, biggest_ = 0;  // own_size_: without the statistics
    T *values_ = nullptr, *gradients_ = nullptr, *best_ = nullptr, *average_ = nullptr, *scratch_ = nullptr, *slow_ = nullptr;
    std::vector<T*> state_, scratch_of_threads_;
};

}  // namespace chainrule
