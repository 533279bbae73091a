// The naive twins of losses/: the definitions, on rows as they are, in the type R.
#pragma once

#include "../src/losses/loss.h"
#include "naive_activations.h"

namespace naive {

// A loss with its options as Python has them.
template <class R>
struct LossOptions {
    std::string kind;
    bool mean = true;
    R beta = 1, delta = 1, label_smoothing = 0, quantile = R(0.5), eps = R(1e-8);
    bool log_input = true;
    int64_t ignore_index = -100;
    std::vector<R> weight = {}, pos_weight = {};  // empty: 1
    bool ignores_missing = false;

    bool of_classes() const { return kind == "CrossEntropyLoss" || kind == "NLLLoss"; }

    // What the engine is told: all that any loss asks for.
    chainrule::Settings settings() const {
        const auto doubles = [](const std::vector<R>& values) { return std::vector<double>(values.begin(), values.end()); };
        return {kind,
                {{"mean", mean}, {"beta", double(beta)}, {"delta", double(delta)}, {"quantile", double(quantile)},
                 {"log_input", log_input}, {"eps", double(eps)}, {"ignore_index", double(ignore_index)},
                 {"label_smoothing", double(label_smoothing)}},
                ignores_missing ? std::map<std::string, std::string>{{"missing", "ignore"}} : std::map<std::string, std::string>{},
                {{"weight", doubles(weight)}, {"pos_weight", doubles(pos_weight)}}};
    }
};

template <class R>
struct Batch {
    std::vector<std::vector<R>> y, values;  // [row][column]
    std::vector<int64_t> indices;           // instead of values, where not empty
    std::vector<R> sample_weight;           // empty: 1
};

template <class R>
R pick(const std::vector<R>& values, size_t i) {
    return values.empty() ? R(1) : values[values.size() == 1 ? 0 : i];
}

// How much of a row is there: elements, or of a distribution all or nothing.
template <class R>
R there(const LossOptions<R>& o, const Batch<R>& batch, size_t i) {
    if (!batch.indices.empty()) return batch.indices[i] == o.ignore_index ? 0 : 1;
    R missing = 0;
    for (R t : batch.values[i]) missing += o.ignores_missing && std::isnan(t);
    return o.of_classes() ? R(missing == 0) : R(batch.values[i].size()) - missing;
}

// The loss of one row, undivided and without its sample weight; its slope goes to dy.
template <class R>
R row_loss(const LossOptions<R>& o, const Batch<R>& batch, size_t i, std::vector<R>& dy) {
    const std::vector<R>& y = batch.y[i];
    const size_t columns = y.size();
    dy.assign(columns, R(0));
    R sum = 0;
    if (o.kind == "NLLLoss") {
        if (batch.indices[i] == o.ignore_index) return 0;
        const size_t target = size_t(batch.indices[i]);
        dy[target] = -pick(o.weight, target);
        return -pick(o.weight, target) * y[target];
    }
    if (o.kind == "CrossEntropyLoss") {
        if (there(o, batch, i) == 0) return 0;
        const std::vector<R> p = softmax(y), log_p = log_softmax(y);
        std::vector<R> q;
        R mass = 0;
        for (size_t c = 0; c < columns; ++c) {
            const R t = batch.indices.empty() ? batch.values[i][c] : R(size_t(batch.indices[i]) == c);
            q.push_back(pick(o.weight, c) * ((1 - o.label_smoothing) * t + o.label_smoothing / R(columns)));
            mass += q[c];
            sum -= q[c] * log_p[c];
        }
        for (size_t c = 0; c < columns; ++c) dy[c] = p[c] * mass - q[c];
        return sum;
    }
    for (size_t c = 0; c < columns; ++c) {
        const R t = batch.values[i][c];
        if (o.ignores_missing && std::isnan(t)) continue;
        const R e = y[c] - t, a = std::fabs(e), sign = R((e > 0) - (e < 0));
        R value = 0, slope = 0;
        if (o.kind == "MSELoss") value = e * e, slope = 2 * e;
        if (o.kind == "L1Loss") value = a, slope = sign;
        if (o.kind == "SmoothL1Loss") {
            if (a < o.beta) value = e * e / (2 * o.beta), slope = e / o.beta;
            else value = a - o.beta / 2, slope = sign;
        }
        if (o.kind == "HuberLoss") {
            if (a < o.delta) value = e * e / 2, slope = e;
            else value = o.delta * (a - o.delta / 2), slope = o.delta * sign;
        }
        if (o.kind == "QuantileLoss") {
            value = e < 0 ? -o.quantile * e : (1 - o.quantile) * e;
            slope = e < 0 ? -o.quantile : e > 0 ? 1 - o.quantile : 0;
        }
        if (o.kind == "PoissonNLLLoss") {
            if (o.log_input) value = std::exp(y[c]) - t * y[c], slope = std::exp(y[c]) - t;
            else value = y[c] - t * std::log(y[c] + o.eps), slope = 1 - t / (y[c] + o.eps);
        }
        if (o.kind == "SoftMarginLoss") value = std::log1p(std::exp(-t * y[c])), slope = -t / (1 + std::exp(t * y[c]));
        if (o.kind == "BCEWithLogitsLoss") {
            const R w = pick(o.weight, c), positive = pick(o.pos_weight, c), p = 1 / (1 + std::exp(-y[c]));
            // -log(1 / (1 + e^-y)) = log(1 + e^-y)
            value = w * (positive * t * std::log1p(std::exp(-y[c])) + (1 - t) * std::log1p(std::exp(y[c])));
            slope = w * ((1 - t) * p - positive * t * (1 / (1 + std::exp(y[c]))));
        }
        sum += value;
        dy[c] = slope;
    }
    return sum;
}

template <class R>
R denominator(const LossOptions<R>& o, const Batch<R>& batch) {
    if (!o.mean) return 1;
    R sum = 0;
    for (size_t i = 0; i < batch.y.size(); ++i) {
        R w = pick(batch.sample_weight, i) * there(o, batch, i);
        if (w != 0 && !batch.indices.empty()) w *= pick(o.weight, size_t(batch.indices[i]));
        sum += w;
    }
    return sum;
}

// The value of the batch, and dy.
template <class R>
R loss(const LossOptions<R>& o, const Batch<R>& batch, std::vector<std::vector<R>>& dy) {
    const R d = denominator(o, batch);
    R sum = 0;
    dy.resize(batch.y.size());
    for (size_t i = 0; i < batch.y.size(); ++i) {
        const R w = pick(batch.sample_weight, i);
        sum += w * row_loss(o, batch, i, dy[i]);
        for (R& v : dy[i]) v = d == 0 ? R(0) : w * v / d;
    }
    return d == 0 ? R(0) : sum / d;
}

}  // namespace naive
