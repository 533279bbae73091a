// The naive twin of an optimizer's step where parameters follow different rules, and some are frozen.
#pragma once

#include <vector>

#include "naive_constraints.h"
#include "naive_optimizers.h"
#include "naive_plan.h"

namespace naive {

struct Rules {
    const chainrule::Plan& plan;
    std::vector<std::vector<Parameter<double>>> numbers;  // what is remembered of each

    explicit Rules(const chainrule::Plan& plan) : plan(plan) {
        for (const auto& p : plan.parameters) numbers.emplace_back(size_t(p.n_out * (p.n_in ? p.n_in : 1)));
    }

    // lr: of each rule
    void step(Network& network, const double* lr) {
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
            const Update<double> update = optimizer<double>(rule.optimizer, rule.optimizer.flag("maximize") ? -scale : scale);
            V& value = network.parameters[p];
            for (size_t i = 0; i < value.size(); ++i) {
                numbers[p][i].value = value[i];
                update(numbers[p][i], network.gradients[p][i], lr[r]);
                value[i] = numbers[p][i].value;
            }
            for (const chainrule::Settings& constraint : rule.constraints) constrain<double>(constraint, plan.parameters[p], lr[r], value);
        }
    }

private:
    static double cut(double g, double bound) { return bound > 0 ? clamp(g, bound) : g; }
};

}  // namespace naive
