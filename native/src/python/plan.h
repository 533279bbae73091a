// A plan from plain values of Python's: numbers, words, lists of numbers (engine/native.py, `described`, makes them).
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <string>
#include <vector>

#include "../plan.h"

namespace chainrule {

namespace nb = nanobind;

// {"kind": …} and the options that travel, each told by its type.
inline Settings settings_of(nb::handle described) {
    Settings settings;
    for (const auto& [key, value] : nb::cast<nb::dict>(described)) {
        const std::string name = nb::cast<std::string>(key);
        if (name == "kind") settings.kind = nb::cast<std::string>(value);
        else if (nb::isinstance<nb::str>(value)) settings.words[name] = nb::cast<std::string>(value);
        else if (nb::isinstance<nb::list>(value)) settings.arrays[name] = nb::cast<std::vector<double>>(value);
        else settings.numbers[name] = nb::cast<double>(nb::float_(nb::borrow(value)));
    }
    return settings;
}

inline Op op_of(nb::handle described) {
    Op op;
    op.settings = settings_of(described[0]);
    op.inputs = nb::cast<std::vector<int>>(described[1]);
    op.output = nb::cast<int>(described[2]);
    op.parameters = nb::cast<std::vector<int>>(described[3]);
    return op;
}

inline Head head_of(nb::handle described) {
    return {settings_of(described[0]), nb::cast<double>(described[1]), nb::cast<bool>(described[2])};
}

inline Rule rule_of(nb::handle described) {
    Rule rule;
    rule.optimizer = settings_of(described[0]);
    for (nb::handle constraint : described[1]) rule.constraints.push_back(settings_of(constraint));
    return rule;
}

inline Plan plan_of(const nb::dict& described) {
    Plan plan;
    plan.dtype = nb::cast<std::string>(described["dtype"]) == "float32" ? DType::float32 : DType::float64;
    for (nb::handle value : described["values"])
        plan.values.push_back({nb::cast<int64_t>(value[0]), nb::cast<int64_t>(value[1])});
    for (nb::handle parameter : described["parameters"])
        plan.parameters.push_back({nb::cast<int64_t>(parameter[0]), nb::cast<int64_t>(parameter[1]), nb::cast<int64_t>(parameter[2]), nb::cast<std::vector<int64_t>>(parameter[3])});
    plan.inputs = nb::cast<std::vector<int>>(described["inputs"]);
    plan.outputs = nb::cast<std::vector<int>>(described["outputs"]);
    for (nb::handle op : described["ops"]) plan.ops.push_back(op_of(op));
    for (nb::handle head : described["heads"]) plan.heads.push_back(head_of(head));
    for (nb::handle rule : described["rules"]) plan.rules.push_back(rule_of(rule));
    plan.rule_of = nb::cast<std::vector<int>>(described["rule_of"]);
    plan.statistics = nb::cast<int>(described["statistics"]);
    if (!described["lookahead"].is_none()) plan.lookahead = settings_of(described["lookahead"]);
    plan.batch = nb::cast<int64_t>(described["batch"]);
    plan.accumulate = nb::cast<int64_t>(described["accumulate"]);
    if (!described["average"].is_none()) plan.average = settings_of(described["average"]);
    plan.samples = nb::cast<int64_t>(described["samples"]);
    plan.seed = nb::cast<uint64_t>(described["seed"]);
    plan.threads = nb::cast<int>(described["threads"]);
    plan.limit_bytes = nb::cast<int64_t>(described["limit_bytes"]);
    return plan;
}

}  // namespace chainrule
