// Rules drawn from a seed for the parameters of a plan: up to three, some parameters frozen, constraints.
#pragma once

#include <random>

#include "optimizer_settings.h"
#include "plans.h"

inline chainrule::Settings constraint_settings(const std::string& kind, const Numbers& numbers = {}) {
    chainrule::Settings settings;
    settings.kind = kind, settings.numbers = numbers;
    return settings;
}

// Of one optimizer, as in Python; plain: SGD that does nothing else.
inline void draw_rules(chainrule::Plan& plan, uint64_t seed, const std::string& kind, bool plain = false) {
    std::mt19937_64 rng(seed);
    const auto one_in = [&](size_t n) { return rng() % n == 0; };
    const size_t count = 1 + rng() % 3;
    plan.rules.clear();
    for (size_t r = 0; r < count; ++r) {
        Numbers changes;
        if (!plain) {
            if (one_in(2)) changes["weight_decay"] = 0.05;
            if (one_in(2)) changes["momentum"] = 0.5;
            if (one_in(3)) changes["amsgrad"] = changes["centered"] = 1;
            if (one_in(3)) changes["clip_value"] = 0.01;
            if (one_in(4)) changes["maximize"] = 1;
            changes["eps"] = 1e-3;
            if (kind == "Adafactor") changes["eps1"] = 1e-2, changes["d"] = one_in(2) ? 1 : 2;
            if (kind == "Muon") changes["nesterov"] = one_in(2), changes["adjust_lr_fn"] = one_in(3), changes["ns_steps"] = double(rng() % 4), changes["adamw_eps"] = 1e-3;
        }
        chainrule::Rule rule{optimizer_settings(kind, changes), {}};
        if (one_in(plain ? 4 : 2)) {
            const chainrule::Settings all[] = {constraint_settings("L1", {{"strength", 0.1}}), constraint_settings("L2", {{"strength", 0.5}}),
                                               constraint_settings("NonNegative"), constraint_settings("MaxNorm", {{"max_norm", 0.4}}),
                                               constraint_settings("UnitNorm")};
            for (size_t n = 1 + rng() % 2; n > 0; --n) rule.constraints.push_back(all[rng() % 5]);
        }
        plan.rules.push_back(rule);
    }
    if (!plain && one_in(2)) plan.rules[0].optimizer.numbers["clip_norm"] = 0.2;
    plan.rule_of.clear();
    for (size_t p = 0; p < plan.parameters.size(); ++p) plan.rule_of.push_back(one_in(3) ? -1 : int(rng() % count));
    plan.lookahead = {};
    if (!plain && rng() % 3 == 0) plan.lookahead.kind = "Lookahead", plan.lookahead.numbers = {{"k", double(1 + rng() % 3)}, {"alpha", 0.4}};
}
