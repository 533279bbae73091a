// Settings of an optimizer as Python sends them: the defaults of its class, and what is to differ.
#pragma once

#include <map>
#include <string>

#include "../src/settings.h"

inline chainrule::Settings optimizer_settings(const std::string& kind, const std::map<std::string, double>& changes = {}) {
    using Numbers = std::map<std::string, double>;
    static const Numbers of_adam{{"beta1", 0.9}, {"beta2", 0.999}, {"eps", 1e-8}, {"amsgrad", 0}};
    static const Numbers decoupling{{"beta1", 0.9}, {"beta2", 0.999}, {"eps", 1e-8}, {"amsgrad", 0}, {"decoupled_weight_decay", 0}};
    static const std::map<std::string, Numbers> defaults{
        {"SGD", {{"momentum", 0}, {"dampening", 0}, {"nesterov", 0}}},
        {"Adam", decoupling},
        {"AdamW", of_adam},
        {"RMSprop", {{"alpha", 0.99}, {"eps", 1e-8}, {"momentum", 0}, {"centered", 0}}},
        {"NAdam", {{"beta1", 0.9}, {"beta2", 0.999}, {"eps", 1e-8}, {"momentum_decay", 4e-3}, {"decoupled_weight_decay", 0}}},
        {"RAdam", {{"beta1", 0.9}, {"beta2", 0.999}, {"eps", 1e-8}, {"decoupled_weight_decay", 0}}},
        {"Adamax", {{"beta1", 0.9}, {"beta2", 0.999}, {"eps", 1e-8}}},
        {"Adadelta", {{"rho", 0.9}, {"eps", 1e-6}}},
        {"Rprop", {{"eta1", 0.5}, {"eta2", 1.2}, {"step_size1", 1e-6}, {"step_size2", 50}}},
        {"ASGD", {{"lambd", 1e-4}, {"alpha", 0.75}, {"t0", 1e6}}},
        {"Adafactor", {{"beta2_decay", -0.8}, {"eps1", -1}, {"eps2", 1e-3}, {"d", 1}}},
        {"Muon", {{"momentum", 0.95}, {"nesterov", 1}, {"ns_coefficient1", 3.4445}, {"ns_coefficient2", -4.775}, {"ns_coefficient3", 2.0315},
                  {"eps", 1e-7}, {"ns_steps", 5}, {"adjust_lr_fn", 0}, {"adamw_lr_ratio", 1}, {"adamw_beta1", 0.9}, {"adamw_beta2", 0.999},
                  {"adamw_eps", 1e-8}}},
        {"Adagrad", {{"lr_decay", 0}, {"initial_accumulator_value", 0}, {"eps", 1e-10}}},
    };
    chainrule::Settings settings;
    settings.kind = kind;
    settings.numbers = {{"weight_decay", 0}, {"clip_value", 0}, {"clip_norm", 0}, {"maximize", 0}};
    for (const Numbers* some : {&defaults.at(kind), &changes})
        for (const auto& [name, value] : *some) settings.numbers[name] = value;
    if (settings.numbers.count("momentum")) settings.numbers.emplace("keeps_momentum", settings.number("momentum") > 0);
    return settings;
}
