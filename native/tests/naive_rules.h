// The naive twin of an optimizer's step where parameters follow different rules, and some are frozen.
#pragma once

#include <limits>
#include <vector>

#include "naive_constraints.h"
#include "naive_optimizers.h"
#include "naive_plan.h"
#include "naive_wholes.h"

namespace naive {

struct Rules {
    const chainrule::Plan& plan;
    std::vector<std::vector<Parameter<double>>> numbers;  // what is remembered of each
    std::vector<Whole<double>> wholes;
    std::vector<V> slow;
    int64_t steps = 0;

    explicit Rules(const chainrule::Plan& plan) : plan(plan), wholes(plan.parameters.size()) {
        for (const auto& p : plan.parameters) numbers.emplace_back(size_t(p.n_out * (p.n_in ? p.n_in : 1)));
    }

    // lr: of each rule
    void step(Network& network, const double* lr) {
        if (steps++ == 0) slow = network.parameters;
        const double clip_norm = plan.rules[0].optimizer.number("clip_norm");
        double squares = 0;
        for (size_t p = 0; p < numbers.size(); ++p)
            for (double g : network.gradients[p])
                if (plan.is_trained(int(p))) squares += std::pow(cut(g, plan.rules[size_t(plan.rule(int(p)))].optimizer.number("clip_value")), 2);
        const double scale = clip_norm > 0 ? std::min(1.0, clip_norm / (std::sqrt(squares) + 1e-6)) : 1;
        for (size_t p = 0; p < numbers.size(); ++p) {
            if (!plan.is_trained(int(p))) continue;
            const size_t r = size_t(plan.rule(int(p)));
            const chainrule::Rule& rule = plan.rules[r];
            const double signed_scale = rule.optimizer.flag("maximize") ? -scale : scale;
            V& value = network.parameters[p];
            if (is_whole(rule.optimizer))
                update_whole<double>(rule.optimizer, plan.parameters[p], wholes[p], value, network.gradients[p], lr[r], signed_scale, std::numeric_limits<double>::epsilon());
            else
                update_numbers(rule.optimizer, numbers[p], value, network.gradients[p], lr[r], signed_scale);
            for (const chainrule::Settings& constraint : rule.constraints) constrain<double>(constraint, plan.parameters[p], lr[r], value);
            if (plan.lookahead.kind.empty() || steps % int64_t(plan.lookahead.number("k")) != 0) continue;
            for (size_t i = 0; i < value.size(); ++i) value[i] = slow[p][i] += plan.lookahead.number("alpha") * (value[i] - slow[p][i]);
        }
    }

private:
    static void update_numbers(const chainrule::Settings& settings, std::vector<Parameter<double>>& numbers, V& value, const V& gradient, double lr, double scale) {
        const Update<double> update = optimizer<double>(settings, scale);
        for (size_t i = 0; i < value.size(); ++i) {
            numbers[i].value = value[i];
            update(numbers[i], gradient[i], lr);
            value[i] = numbers[i].value;
        }
    }
    static double cut(double g, double bound) { return bound > 0 ? clamp(g, bound) : g; }
};

}  // namespace naive
