// What to run, as plain data: the parameters, the layers in order, the loss, the optimizer, the sizes. Python's
// engine.lower makes one; it knows nothing of memory, vectors or threads.
#pragma once

#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "layers/activations.h"
#include "optimizers.h"
#include "settings.h"

namespace chainrule {

enum class DType { float32, float64 };

struct ParameterShape {
    int64_t n_out = 0;
    int64_t n_in = 0;      // 0: a bias of n_out numbers; otherwise a weight (n_out, n_in)
    bool trainable = true;
};

enum class OpKind { linear, activation, dropout };

struct Op {
    OpKind kind = OpKind::linear;
    int weight = -1, bias = -1;  // linear: indices of parameters; bias -1: none. Two ops may name the same one.
    Activation activation{};     // activation
    double p = 0;                // dropout: the probability of 0
    uint32_t dropout_layer = 0;  // dropout: which stream of random numbers (0, 1, … in the network)
};

struct Plan {
    DType dtype = DType::float32;
    int64_t n_in = 0;
    std::vector<ParameterShape> parameters;
    std::vector<Op> ops;
    bool has_loss = false;
    Settings loss{"MSELoss", {{"mean", 1}}, {}, {}};
    bool class_targets = false;   // targets are class indices (int64), not numbers
    bool sample_weights = false;  // some call will bring weights per sample
    bool has_optimizer = false;
    Optimizer optimizer{};
    double clip_value = 0;  // 0: no clipping
    double clip_norm = 0;
    int64_t batch = 1;           // rows of the largest training step (and of forward/backward)
    int64_t samples = 0;         // rows of the largest training set, for the order of samples
    uint64_t seed = 0;           // of dropout
    int threads = 1;             // at most
    int64_t limit_bytes = int64_t(1) << 40;
};

// The same plan with options of the optimizer that are normal numbers in T. While the engine runs, the processor takes
// denormal ones for 0 (FlushDenormals), but not while memory is counted: a count that asks `eps > 0` would differ from its
// use. So what is denormal becomes the smallest normal number of its sign, and is more than 0 for everybody.
template <class T>
Plan with_normal_options(Plan plan) {
    auto settle = [](double& option) {
        constexpr double least = std::numeric_limits<T>::min();
        if (option > 0 && option < least) option = least;
        if (option < 0 && option > -least) option = -least;
    };
    Optimizer& o = plan.optimizer;
    for (double* option : {&o.weight_decay, &o.momentum, &o.dampening, &o.beta1, &o.beta2, &o.eps, &o.alpha, &o.lr_decay,
                           &o.initial_accumulator_value, &plan.clip_value, &plan.clip_norm})
        settle(*option);
    return plan;
}

// The columns of the matrix after each op; refuses what does not fit together.
inline std::vector<int64_t> output_columns(const Plan& plan) {
    auto refuse = [](size_t op, const std::string& why) {
        throw std::invalid_argument("plan, op " + std::to_string(op) + ": " + why);
    };
    if (plan.n_in < 1) throw std::invalid_argument("plan: n_in must be at least 1, got " + std::to_string(plan.n_in));
    if (plan.batch < 1) throw std::invalid_argument("plan: batch must be at least 1, got " + std::to_string(plan.batch));
    if (plan.threads < 1) throw std::invalid_argument("plan: threads must be at least 1");
    for (const ParameterShape& p : plan.parameters)
        if (p.n_out < 1 || p.n_in < 0 || p.n_out > (int64_t(1) << 31) || p.n_in > (int64_t(1) << 31))
            throw std::invalid_argument("plan: a parameter's shape is empty or huge");
    std::vector<int64_t> columns;
    int64_t width = plan.n_in;
    for (size_t i = 0; i < plan.ops.size(); ++i) {
        const Op& op = plan.ops[i];
        if (op.kind == OpKind::linear) {
            auto exists = [&](int index) { return index >= 0 && size_t(index) < plan.parameters.size(); };
            if (!exists(op.weight)) refuse(i, "no parameter " + std::to_string(op.weight));
            const ParameterShape& weight = plan.parameters[size_t(op.weight)];
            if (weight.n_in != width)
                refuse(i, "weight takes " + std::to_string(weight.n_in) + " columns, got " + std::to_string(width));
            if (op.bias != -1) {
                if (!exists(op.bias)) refuse(i, "no parameter " + std::to_string(op.bias));
                const ParameterShape& bias = plan.parameters[size_t(op.bias)];
                if (bias.n_in != 0 || bias.n_out != weight.n_out) refuse(i, "the bias does not fit the weight");
            }
            width = weight.n_out;
        } else if (op.kind == OpKind::dropout) {
            if (!(op.p >= 0 && op.p <= 1)) refuse(i, "p must lie in [0, 1]");
        }
        columns.push_back(width);
    }
    return columns;
}

}  // namespace chainrule
