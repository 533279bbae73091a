// The naive twin of the engine: a plan's values and ops, one after the other, in double. What is read twice adds up.
//
// A value is rows · positions · columns numbers, as Python has them.
#pragma once

#include <map>
#include <stdexcept>
#include <vector>

#include "../src/plan.h"
#include "naive_activations.h"
#include "naive_batch_norm.h"
#include "naive_convolution.h"
#include "naive_local_response.h"
#include "naive_linear.h"
#include "naive_normalization.h"
#include "naive_random.h"

namespace naive {

using V = std::vector<double>;

struct Network {
    const chainrule::Plan& plan;
    std::vector<V> parameters;
    std::vector<V> gradients;  // of the parameters: backward adds to them
    std::vector<V> values, dvalues;

    Network(const chainrule::Plan& plan, std::vector<V> parameters) : plan(plan), parameters(std::move(parameters)), lives_(plan.values.size()) {
        zero_gradients();
        for (int v : plan.outputs) lives_[size_t(v)] = true;
        for (size_t i = plan.ops.size(); i-- > 0;)
            for (int v : plan.ops[i].inputs) lives_[size_t(v)] = lives_[size_t(v)] || lives_[size_t(plan.ops[i].output)];
    }

    void zero_gradients() {
        gradients.clear();
        for (const V& p : parameters) gradients.emplace_back(p.size(), 0.0);
    }
    V& output(size_t k) { return values[size_t(plan.outputs[k])]; }
    V& dinput(size_t i) { return dvalues[size_t(plan.inputs[i])]; }

    // pass: of training, for Dropout; -1 in evaluation mode
    void forward(const std::vector<V>& x, int64_t rows, int64_t pass = -1) {
        rows_ = rows, pass_ = pass;
        values.assign(plan.values.size(), {});
        for (size_t i = 0; i < x.size(); ++i) values[size_t(plan.inputs[i])] = x[i];
        for (const chainrule::Op& op : plan.ops) {
            std::vector<const V*> inputs;
            for (int v : op.inputs) inputs.push_back(&values[size_t(v)]);
            values[size_t(op.output)] = apply(op, inputs);
            if (op.settings.kind == "BatchNorm" && pass >= 0 && lives_[size_t(op.output)]) follow(op);
        }
    }
    void backward(const std::vector<V>& dy) {
        dvalues.clear();
        for (const V& v : values) dvalues.emplace_back(v.size(), 0.0);
        for (size_t k = 0; k < dy.size(); ++k) add(dy[k], dvalues[size_t(plan.outputs[k])]);
        for (size_t i = plan.ops.size(); i-- > 0;) go_back(plan.ops[i]);
    }

private:
    static void add(const V& from, V& to) {
        for (size_t i = 0; i < to.size(); ++i) to[i] += from[i];
    }
    static bool is_softmax(const chainrule::Op& op) { return op.settings.kind == "Softmax" || op.settings.kind == "LogSoftmax"; }
    int64_t rows_of(int v) const { return rows_ * plan.values[size_t(v)].positions; }
    int64_t columns_of(int v) const { return plan.values[size_t(v)].columns; }
    const V& bias_of(const chainrule::Op& op) const {
        static const V none;
        return op.parameters.size() > 1 ? parameters[size_t(op.parameters[1])] : none;
    }
    // By the rows that it reads, in training; and what it follows then.
    BatchNorm norm_of(const chainrule::Op& op) const {
        const size_t running = op.parameters.size() - 3;
        const double eps = op.settings.number("eps");
        if (pass_ >= 0) return {values[size_t(op.inputs[0])], size_t(columns_of(op.output)), eps};
        return {parameters[size_t(op.parameters[running])], parameters[size_t(op.parameters[running + 1])], eps};
    }
    void follow(const chainrule::Op& op) {
        V* running[3];
        for (size_t i = 0; i < 3; ++i) running[i] = &parameters[size_t(op.parameters[op.parameters.size() - 3 + i])];
        norm_of(op).follow(op.settings.number("momentum"), double(rows_of(op.output)), *running[0], *running[1], *running[2]);
    }
    double mask(const chainrule::Op& op, size_t i) const {
        if (pass_ < 0) return 1;
        const int64_t columns = columns_of(op.output), positions = op.settings.kind == "Dropout" ? 1 : plan.values[size_t(op.output)].positions;
        return dropout_factor(plan.seed, uint32_t(op.settings.number("stream")), uint64_t(pass_), op.settings.number("p"), columns,
                              int64_t(i) / columns / positions, int64_t(i) % columns);
    }

    Windows windows_of(const chainrule::Op& op, bool transposed = false) const {
        const int image = transposed ? op.output : op.inputs[0], other = transposed ? op.inputs[0] : op.output;
        return {op.settings.array("windows"), op.settings.array("taps"), rows_, plan.values[size_t(image)].positions, columns_of(image), columns_of(other)};
    }
    // f(place in input j, place in y, place in the weight), for every product that a convolution of groups adds up.
    template <class F>
    void each_of_groups(const chainrule::Op& op, F f) const {
        const Windows windows = windows_of(op);
        const int64_t columns = windows.n_out;
        windows.each([&](int64_t from, int64_t to, int64_t t) {
            for (size_t j = 0; j < op.inputs.size(); ++j)
                for (int64_t o = 0; o < columns; ++o)
                    f(j, size_t(from * columns + o), size_t(to * columns + o), size_t((o * int64_t(op.inputs.size()) + int64_t(j)) * int64_t(windows.taps.size()) + t));
        });
    }
    Sources sources_of(const chainrule::Op& op) const {
        return {op.settings.array("begins"), op.settings.array("sources"), rows_, plan.values[size_t(op.inputs[0])].positions};
    }

    V apply(const chainrule::Op& op, const std::vector<const V*>& inputs) const {
        const std::string& kind = op.settings.kind;
        const V& x = *inputs[0];
        const int64_t rows = rows_of(op.output), columns = columns_of(op.output);
        if (kind == "Linear") return linear_forward(x, parameters[size_t(op.parameters[0])], bias_of(op), rows, columns_of(op.inputs[0]), columns);
        if (kind == "Convolution") return convolution_forward(windows_of(op), x, parameters[size_t(op.parameters[0])], bias_of(op));
        if (kind == "ConvolutionTransposed") {
            V y = convolution_dx(windows_of(op, true), x, parameters[size_t(op.parameters[0])]);
            for (size_t i = 0; i < y.size() && !bias_of(op).empty(); ++i) y[i] += bias_of(op)[i % size_t(columns)];
            return y;
        }
        if (kind == "Reshape") return x;
        if (kind == "BatchNorm") {
            const BatchNorm by = norm_of(op);
            V y = x;
            for (size_t i = 0; i < y.size(); ++i) {
                y[i] = by.x_hat(x, i) * parameters[size_t(op.parameters[0])][i % by.columns];
                if (op.settings.flag("bias")) y[i] += bias_of(op)[i % by.columns];
            }
            return y;
        }
        V y = x;
        if (kind == "Sum" || kind == "Multiply") {
            for (size_t k = 1; k < inputs.size(); ++k)
                for (size_t i = 0; i < y.size(); ++i) y[i] = kind == "Sum" ? y[i] + (*inputs[k])[i] : y[i] * (*inputs[k])[i];
        } else if (kind == "Concat") {
            y.clear();
            for (int64_t r = 0; r < rows; ++r)
                for (size_t k = 0; k < inputs.size(); ++k) {
                    const int64_t n = columns_of(op.inputs[k]);
                    y.insert(y.end(), inputs[k]->begin() + r * n, inputs[k]->begin() + (r + 1) * n);
                }
        } else if (kind == "Depthwise") {
            y.assign(size_t(rows * columns), 0);
            for (size_t i = 0; i < y.size() && !bias_of(op).empty(); ++i) y[i] = bias_of(op)[i % size_t(columns)];
            const V& weight = parameters[size_t(op.parameters[0])];
            each_of_groups(op, [&](size_t j, size_t from, size_t to, size_t w) { y[to] += (*inputs[j])[from] * weight[w]; });
        } else if (is_normalization(op.settings)) {
            each_set(op.settings, rows_, plan.values[size_t(op.output)], [&](const std::vector<size_t>& set) { standardize(op.settings, x, set, y); });
            const int w = of_each_column(op, "weight"), b = of_each_column(op, "bias");
            for (size_t i = 0; i < y.size(); ++i) {
                if (w >= 0) y[i] *= parameters[size_t(w)][i % size_t(columns)];
                if (b >= 0) y[i] += parameters[size_t(b)][i % size_t(columns)];
            }
        } else if (kind == "LocalResponseNorm") {
            y = local_response(op.settings, x, columns);
        } else if (kind == "Columns") {
            y.resize(size_t(rows * columns));
            for (size_t i = 0; i < y.size(); ++i) y[i] = x[picked(op, i)];
        } else if (kind == "Positions") {
            const Sources from = sources_of(op);
            y.assign(size_t(rows * columns), 0);
            for (int64_t i = 0; i < rows * columns; ++i) {
                const size_t target = size_t(i / columns % from.targets());
                if (from.begins[target] == from.begins[target + 1]) y[size_t(i)] = op.settings.number("elsewhere");
            }
            const V& weights = op.settings.array("weights");
            from.each([&](int64_t source, int64_t target, size_t e) {
                for (int64_t c = 0; c < columns; ++c) y[size_t(target * columns + c)] += weights[e] * x[size_t(source * columns + c)];
            });
        } else if (kind == "MaxPool") {
            y.resize(size_t(rows * columns));
            for (int64_t c = 0; c < columns; ++c) {
                const std::vector<int64_t> which = sources_of(op).greatest(x, columns, c);
                for (int64_t r = 0; r < rows; ++r) y[size_t(r * columns + c)] = x[size_t(which[size_t(r)] * columns + c)];
            }
        } else if (is_layout(op)) {
            for (size_t i = 0; i < y.size(); ++i) y[i] = x[layout(op, i)];
        } else if (kind == "GLU") {
            y.clear();
            for (int64_t i = 0; i < rows * columns; ++i) y.push_back(x[gated(columns, i)] / (1 + std::exp(-x[gate(columns, i)])));
        } else if (kind == "Permute") {
            for (size_t i = 0; i < y.size(); ++i) y[i] = x[size_t(source(op, int64_t(i)))];
        } else if (kind == "Dropout" || kind == "DropoutOfChannels") {
            for (size_t i = 0; i < y.size(); ++i) y[i] *= mask(op, i);
        } else if (is_softmax(op)) {
            for (int64_t r = 0; r < rows; ++r) {
                const V row(x.begin() + r * columns, x.begin() + (r + 1) * columns);
                const V result = kind == "Softmax" ? softmax(row) : log_softmax(row);
                std::copy(result.begin(), result.end(), y.begin() + r * columns);
            }
        } else {
            for (double& v : y) v = activation<double>(op.settings, v);
        }
        return y;
    }

    void go_back(const chainrule::Op& op) {
        const std::string& kind = op.settings.kind;
        const V& dy = dvalues[size_t(op.output)];
        const V &x = values[size_t(op.inputs[0])], &y = values[size_t(op.output)];
        V& dx = dvalues[size_t(op.inputs[0])];
        const int64_t rows = rows_of(op.output), columns = columns_of(op.output), n_in = columns_of(op.inputs[0]);
        if (kind == "Linear") {
            add(linear_dw(x, dy, rows, n_in, columns), gradients[size_t(op.parameters[0])]);
            if (op.parameters.size() > 1) add(linear_db(dy, rows, columns), gradients[size_t(op.parameters[1])]);
            add(linear_dx(dy, parameters[size_t(op.parameters[0])], rows, n_in, columns), dx);
        } else if (kind == "Convolution") {
            add(convolution_dw(windows_of(op), x, dy), gradients[size_t(op.parameters[0])]);
            if (op.parameters.size() > 1) add(linear_db(dy, rows, columns), gradients[size_t(op.parameters[1])]);
            add(convolution_dx(windows_of(op), dy, parameters[size_t(op.parameters[0])]), dx);
        } else if (kind == "ConvolutionTransposed") {
            add(convolution_dw(windows_of(op, true), dy, x), gradients[size_t(op.parameters[0])]);
            if (op.parameters.size() > 1) add(linear_db(dy, rows, columns), gradients[size_t(op.parameters[1])]);
            add(convolution_forward(windows_of(op, true), dy, parameters[size_t(op.parameters[0])], {}), dx);
        } else if (kind == "Depthwise") {
            if (op.parameters.size() > 1) add(linear_db(dy, rows, columns), gradients[size_t(op.parameters[1])]);
            const V& weight = parameters[size_t(op.parameters[0])];
            each_of_groups(op, [&](size_t j, size_t from, size_t to, size_t w) {
                gradients[size_t(op.parameters[0])][w] += values[size_t(op.inputs[j])][from] * dy[to];
                dvalues[size_t(op.inputs[j])][from] += weight[w] * dy[to];
            });
        } else if (is_normalization(op.settings)) {
            const int w = of_each_column(op, "weight"), b = of_each_column(op, "bias");
            V x_hat = x, dx_hat = dy;
            const auto each = [&](const auto& f) { each_set(op.settings, rows_, plan.values[size_t(op.output)], f); };
            each([&](const std::vector<size_t>& set) { standardize(op.settings, x, set, x_hat); });
            for (size_t i = 0; i < dy.size(); ++i) {
                const size_t c = i % size_t(columns);
                if (w >= 0) gradients[size_t(w)][c] += dy[i] * x_hat[i], dx_hat[i] *= parameters[size_t(w)][c];
                if (b >= 0) gradients[size_t(b)][c] += dy[i];
            }
            each([&](const std::vector<size_t>& set) {
                const double scale = standardize(op.settings, x, set, x_hat);
                double mean = 0, by_x_hat = 0;
                for (size_t i : set) mean += kind == "RMSNorm" ? 0 : dx_hat[i] / double(set.size()), by_x_hat += dx_hat[i] * x_hat[i] / double(set.size());
                for (size_t i : set) dx[i] += scale * (dx_hat[i] - mean - x_hat[i] * by_x_hat);
            });
        } else if (kind == "LocalResponseNorm") {
            add(local_response_dx(op.settings, x, dy, columns), dx);
        } else if (kind == "Columns") {
            for (size_t i = 0; i < dy.size(); ++i) dx[picked(op, i)] += dy[i];
        } else if (kind == "Positions") {
            const V& weights = op.settings.array("weights");
            sources_of(op).each([&](int64_t source, int64_t target, size_t e) {
                for (int64_t c = 0; c < columns; ++c) dx[size_t(source * columns + c)] += weights[e] * dy[size_t(target * columns + c)];
            });
        } else if (kind == "MaxPool") {
            for (int64_t c = 0; c < columns; ++c) {
                const std::vector<int64_t> which = sources_of(op).greatest(x, columns, c);
                for (int64_t r = 0; r < rows; ++r) dx[size_t(which[size_t(r)] * columns + c)] += dy[size_t(r * columns + c)];
            }
        } else if (is_layout(op)) {
            for (size_t i = 0; i < dy.size(); ++i) dx[layout(op, i)] += dy[i];
        } else if (kind == "Reshape") {
            add(dy, dx);
        } else if (kind == "Sum" || kind == "Multiply") {
            for (size_t k = 0; k < op.inputs.size(); ++k) {
                V mine = dy;
                for (size_t j = 0; j < op.inputs.size() && kind == "Multiply"; ++j)
                    for (size_t i = 0; i < mine.size() && j != k; ++i) mine[i] *= values[size_t(op.inputs[j])][i];
                add(mine, dvalues[size_t(op.inputs[k])]);
            }
        } else if (kind == "Concat") {
            size_t at = 0;
            for (int64_t r = 0; r < rows; ++r)
                for (int v : op.inputs)
                    for (int64_t c = 0; c < columns_of(v); ++c) dvalues[size_t(v)][size_t(r * columns_of(v) + c)] += dy[at++];
        } else if (kind == "BatchNorm") {
            V* const dbias = op.settings.flag("bias") ? &gradients[size_t(op.parameters[1])] : nullptr;
            norm_of(op).backward(x, dy, parameters[size_t(op.parameters[0])], dx, gradients[size_t(op.parameters[0])], dbias);
        } else if (kind == "GLU") {
            for (size_t i = 0; i < dy.size(); ++i) {
                const size_t a = gated(columns, int64_t(i)), b = gate(columns, int64_t(i));
                const double s = 1 / (1 + std::exp(-x[b]));
                dx[a] += dy[i] * s, dx[b] += dy[i] * x[a] * s * (1 - s);
            }
        } else if (kind == "Permute") {
            for (size_t i = 0; i < dy.size(); ++i) dx[size_t(source(op, int64_t(i)))] += dy[i];
        } else if (kind == "Dropout" || kind == "DropoutOfChannels") {
            for (size_t i = 0; i < dy.size(); ++i) dx[i] += dy[i] * mask(op, i);
        } else if (is_softmax(op)) {
            for (int64_t r = 0; r < rows; ++r) {
                const auto row = [&](const V& v) { return V(v.begin() + r * columns, v.begin() + (r + 1) * columns); };
                const V mine = softmax_backward(row(dy), row(y), kind == "LogSoftmax");
                for (int64_t c = 0; c < columns; ++c) dx[size_t(r * columns + c)] += mine[size_t(c)];
            }
        } else {
            for (size_t i = 0; i < dy.size(); ++i) dx[i] += dy[i] * activation_derivative<double>(op.settings, x[i]);
        }
    }

    // Where number i of y lies in x: channel by channel in a row, position by position in an image.
    static bool is_layout(const chainrule::Op& op) { return op.settings.kind == "ChannelsLast" || op.settings.kind == "ChannelsFirst"; }
    size_t layout(const chainrule::Op& op, size_t i) const {
        const bool last = op.settings.kind == "ChannelsLast";
        const chainrule::ValueShape& image = plan.values[size_t(last ? op.output : op.inputs[0])];
        const size_t n = size_t(image.size()), faster = size_t(last ? image.columns : image.positions);
        return i / n * n + i % n % faster * (n / faster) + i % n / faster;
    }

    // The parameter that a normalization has under this name; -1: it has none.
    static int of_each_column(const chainrule::Op& op, const char* name) {
        if (!op.settings.flag(name)) return -1;
        return op.parameters[name == std::string("bias") && op.settings.flag("weight") ? 1 : 0];
    }
    size_t picked(const chainrule::Op& op, size_t i) const {
        const size_t columns = size_t(columns_of(op.output));
        return i / columns * size_t(columns_of(op.inputs[0])) + size_t(op.settings.array("sources")[i % columns]);
    }

    // Where the two numbers lie that make number i of a GLU.
    static size_t gated(int64_t columns, int64_t i) { return size_t(i / columns * 2 * columns + i % columns); }
    static size_t gate(int64_t columns, int64_t i) { return gated(columns, i) + size_t(columns); }

    // Where number i of a permuted value comes from.
    int64_t source(const chainrule::Op& op, int64_t i) const {
        const int64_t columns = columns_of(op.output);
        return i / columns * columns + int64_t(op.settings.array("columns")[size_t(i % columns)]);
    }

    std::vector<bool> lives_;  // which values lead to an output: of others the engine knows nothing
    int64_t rows_ = 0, pass_ = -1;
};

}  // namespace naive
