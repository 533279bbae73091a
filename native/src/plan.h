// What to run, as plain data: values, the ops between them, parameters, losses, the optimizer's rules, sizes. Python's
// engine.lower makes one; it knows nothing of memory, vectors or threads, and of ops, losses and optimizers no more than
// their names and settings.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "settings.h"

namespace chainrule {

enum class DType { float32, float64 };

// A matrix: samples × positions rows (pixels, steps; a vector has one), a column for each channel.
struct ValueShape {
    int64_t columns = 0;
    int64_t positions = 1;
    int64_t size() const { return columns * positions; }  // numbers of a sample, in Python's order: position by position
};

struct ParameterShape {
    int64_t n_out = 0;
    int64_t n_in = 0;  // 0: a vector of n_out numbers; otherwise a matrix (n_out, n_in)
    int64_t taps = 0;  // of a convolution's kernel, (n_out, n_in / taps, …): the product of its last axes
    std::vector<int64_t> axes = {};  // of Python's array; none: these
    int64_t size() const { return n_out * (n_in > 0 ? n_in : 1); }
    template <class Length>
    bool has_axes(int count, const Length* lengths) const {
        if (!axes.empty()) return count == int(axes.size()) && std::equal(axes.begin(), axes.end(), lengths);
        return n_in > 0 ? count == 2 && lengths[0] == n_out && lengths[1] == n_in : count == 1 && lengths[0] == n_out;
    }
};

// Reads values, writes one. `settings.kind` is the name of its class in Python, or of the op that its class amounts to.
struct Op {
    Settings settings;
    std::vector<int> inputs;
    int output = -1;
    std::vector<int> parameters;  // of Linear: weight, and bias if there is one. Two ops may name the same ones.
};

// How the optimizer treats some of the parameters: its options for them, and what holds them within bounds after each
// update, in this order.
struct Rule {
    Settings optimizer;  // clip_norm, which is of all parameters, is that of the first rule
    std::vector<Settings> constraints;
};

// A loss on an output. The loss of a batch is Σ weight · loss over the heads.
struct Head {
    Settings loss;
    double weight = 1;
    bool class_targets = false;  // targets are class indices (int64), not numbers
};

struct Plan {
    DType dtype = DType::float32;
    std::vector<ValueShape> values;
    std::vector<ParameterShape> parameters;
    std::vector<int> inputs;   // values that come from outside
    std::vector<int> outputs;  // values that are asked for, of one position; the same one may come twice, or be an input
    std::vector<Op> ops;       // in an order in which every value is written, once, before it is read
    std::vector<Head> heads;   // one for each output; empty for a network that only predicts
    std::vector<Rule> rules;   // of the optimizer; empty: there is none
    std::vector<int> rule_of;  // of each parameter the number of its rule, -1 for one that is frozen; empty: 0 for all
    int statistics = 0;        // so many of the parameters, the last ones: layers write them in training, no rule does
    Settings lookahead;        // what goes around the rules; no kind: nothing
    int64_t batch = 1;    // rows of the largest batch (and of forward/backward)
    int64_t accumulate = 1;  // batches of a step of `run`, whose gradients add up
    Settings average;     // of the parameters, by which `run` evaluates; no kind: none
    int64_t samples = 0;  // rows of the largest training set, for the order of samples; 0: not shuffled
    uint64_t seed = 0;    // of dropout
    int threads = 1;      // at most
    int64_t limit_bytes = int64_t(1) << 40;

    bool has_optimizer() const { return !rules.empty(); }
    int rule(int parameter) const { return rule_of.empty() ? 0 : rule_of[size_t(parameter)]; }
    bool is_trained(int parameter) const { return rule(parameter) >= 0; }
};

}  // namespace chainrule
