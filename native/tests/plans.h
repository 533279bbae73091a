// Plans in few words, for tests and benchmarks. Values are what the plan calls them, numbers:
//
//     Builder net(DType::float64);
//     const int x = net.input(3), h = net.add("Tanh", {net.linear(x, 25)});
//     net.head(net.linear(net.add("Sum", {h, net.linear(x, 25)}), 2), "MSELoss");
//     net.optimizer("Adam", {{"amsgrad", 1}});
//     chainrule_engine.create(net.plan);
#pragma once

#include <algorithm>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "../src/plan.h"
#include "geometry.h"
#include "optimizer_settings.h"

using Numbers = std::map<std::string, double>;

// The activations that work element by element, as `settings` calls them: what stands here all tests have.
inline const std::vector<std::string> elementwise_kinds{"ReLU", "LeakyReLU", "ELU", "Tanh", "Sigmoid", "SiLU", "GELU", "Softplus", "Mish", "Softsign"};

// Settings of a layer or a loss as Python sends them: the defaults of its class, and what is to differ.
inline chainrule::Settings settings(const std::string& kind, const Numbers& changes = {}) {
    chainrule::Settings s;
    s.kind = kind;
    if (kind == "LeakyReLU") s.numbers = {{"negative_slope", 0.01}};
    if (kind == "ELU") s.numbers = {{"alpha", 1}};
    if (kind == "GELU") s.words = {{"approximate", "none"}};
    if (kind == "Softplus") s.numbers = {{"beta", 1}, {"threshold", 20}};
    if (kind.ends_with("Loss")) s.numbers = {{"mean", 1}};
    if (kind == "SmoothL1Loss") s.numbers["beta"] = 1;
    if (kind == "HuberLoss") s.numbers["delta"] = 1;
    if (kind == "QuantileLoss") s.numbers["quantile"] = 0.5;
    if (kind == "PoissonNLLLoss") s.numbers["log_input"] = 1, s.numbers["eps"] = 1e-8;
    if (kind == "BCEWithLogitsLoss") s.arrays = {{"weight", {}}, {"pos_weight", {}}};
    if (kind == "CrossEntropyLoss" || kind == "NLLLoss") s.numbers["ignore_index"] = -100, s.arrays = {{"weight", {}}};
    if (kind == "CrossEntropyLoss") s.numbers["label_smoothing"] = 0;
    for (const auto& [name, value] : changes) s.numbers[name] = value;
    return s;
}
inline chainrule::Settings gelu_tanh() {
    chainrule::Settings s = settings("GELU");
    s.words["approximate"] = "tanh";
    return s;
}

struct Builder {
    chainrule::Plan plan;

    explicit Builder(chainrule::DType dtype = chainrule::DType::float32) { plan.dtype = dtype; }

    int input(int64_t columns) {
        plan.inputs.push_back(value({columns}));
        return plan.inputs.back();
    }

    int linear(int x, int64_t n_out, bool bias = true) {
        std::vector<int> parameters{parameter({n_out, shape(x).columns})};
        if (bias) parameters.push_back(parameter({n_out, 0}));
        return linear_with(x, parameters);
    }
    // Another op with the parameters of the one that wrote y.
    int linear_again(int x, int y) { return linear_with(x, writer(y).parameters); }
    int linear_with(int x, const std::vector<int>& parameters) {
        const int64_t n_out = plan.parameters[size_t(parameters[0])].n_out;
        return op(settings("Linear"), {x}, {n_out, shape(x).positions}, parameters);
    }

    // Ops whose output is like their first input: activations, Softmax, Sum, Multiply.
    int add(const chainrule::Settings& layer, const std::vector<int>& x) { return op(layer, x, shape(x[0])); }
    int add(const std::string& kind, const std::vector<int>& x) { return add(settings(kind), x); }

    int concat(const std::vector<int>& x) {
        int64_t columns = 0;
        for (int v : x) columns += shape(v).columns;
        return op(settings("Concat"), x, {columns, shape(x[0]).positions});
    }
    int glu(int x) { return op(settings("GLU"), {x}, {shape(x).columns / 2, shape(x).positions}); }
    // The same numbers in the same order, over so many positions.
    int reshape(int x, int64_t positions) { return op(settings("Reshape"), {x}, {shape(x).size() / positions, positions}); }
    // y[c] = x[columns[c]], of values with one position.
    int permute(int x, const std::vector<int>& columns) {
        chainrule::Settings s = settings("Permute");
        s.arrays["columns"].assign(columns.begin(), columns.end());
        return op(s, {x}, shape(x));
    }
    // An image from channel by channel, as an input is, to a row for each of so many positions; and back.
    int channels_last(int x, int64_t positions) { return op(settings("ChannelsLast"), {x}, {shape(x).size() / positions, positions}); }
    int channels_first(int x) { return op(settings("ChannelsFirst"), {x}, {shape(x).size(), 1}); }
    int convolution(int x, int64_t n_out, const Axes& axes, bool bias = true) {
        const int64_t taps = int64_t(taps_of(axes).size());
        std::vector<int> parameters{parameter({n_out, shape(x).columns * taps, taps})};
        if (bias) parameters.push_back(parameter({n_out, 0}));
        return convolution_with(x, axes, parameters);
    }
    int convolution_again(int x, const Axes& axes, int y) { return convolution_with(x, axes, writer(y).parameters); }
    int convolution_with(int x, const Axes& axes, const std::vector<int>& parameters) {
        const chainrule::Settings s = sliding("Convolution", axes);
        return op(s, {x}, {plan.parameters[size_t(parameters[0])].n_out, int64_t(s.array("windows").size())}, parameters);
    }
    // The windows are y's, of which each is made of a position of x: as many as these axes have.
    int transposed(int x, int64_t n_out, const Axes& axes, bool bias = true) {
        int64_t positions = 1;
        for (const Axis& axis : axes) positions *= axis.length;
        const chainrule::Settings s = sliding("ConvolutionTransposed", axes);
        const int64_t taps = int64_t(s.array("taps").size());
        std::vector<int> parameters{parameter({shape(x).columns, n_out * taps, taps})};
        if (bias) parameters.push_back(parameter({n_out, 0}));
        return op(s, {x}, {n_out, positions}, parameters);
    }
    // Each column by itself, of one value or of several next to each other; and the columns of a value in another order.
    int depthwise(const std::vector<int>& x, const Axes& axes, bool bias = true) {
        const chainrule::Settings s = sliding("Depthwise", axes);
        const int64_t taps = int64_t(s.array("taps").size()), columns = shape(x[0]).columns;
        std::vector<int> parameters{parameter({columns, int64_t(x.size()) * taps, taps})};
        if (bias) parameters.push_back(parameter({columns, 0}));
        return op(s, x, {columns, int64_t(s.array("windows").size())}, parameters);
    }
    int columns(int x, const std::vector<int>& sources) {
        chainrule::Settings s = settings("Columns");
        s.arrays["sources"].assign(sources.begin(), sources.end());
        return op(s, {x}, {int64_t(sources.size()), shape(x).positions});
    }
    // LayerNorm or RMSNorm of each row; GroupNorm of so many columns, over all positions.
    int normalization(const std::string& kind, int x, bool weight = true, bool bias = true, int64_t of_group = 1) {
        std::vector<int> parameters;
        for (bool has : {weight, bias})
            if (has) parameters.push_back(parameter({shape(x).columns, 0}));
        return op(settings(kind, {{"eps", 1e-3}, {"weight", weight}, {"bias", bias}, {"of_group", double(of_group)}}), {x}, shape(x), parameters);
    }
    // Each position a weighted sum of some of x's, or `elsewhere` where there is none; or the greatest of them.
    int positions(int x, const Table& table, double elsewhere = 0) {
        chainrule::Settings s = settings("Positions", {{"elsewhere", elsewhere}});
        s.arrays = {{"begins", table.begins}, {"sources", table.sources}, {"weights", table.weights}};
        return op(s, {x}, {shape(x).columns, table.targets()});
    }
    int max_pool(int x, const Table& table) {
        chainrule::Settings s = settings("MaxPool");
        s.arrays = {{"begins", table.begins}, {"sources", table.sources}};
        return op(s, {x}, {shape(x).columns, table.targets()});
    }
    // With a weight, and a bias if wanted; whose statistics come behind all parameters once the plan is closed.
    int batch_norm(int x, double momentum, bool bias = true) {
        std::vector<int> parameters{parameter({shape(x).columns, 0})};
        if (bias) parameters.push_back(parameter({shape(x).columns, 0}));
        const Numbers told{{"eps", 0.1}, {"momentum", momentum}, {"follows", 1}, {"weight", 1}, {"bias", bias}};
        return op(settings("BatchNorm", told), {x}, shape(x), parameters);
    }
    void close() {
        for (chainrule::Op& op : plan.ops) {
            if (op.settings.kind != "BatchNorm") continue;
            for (const int64_t n : {shape(op.output).columns, shape(op.output).columns, int64_t(2)}) op.parameters.push_back(parameter({n, 0}));
            plan.statistics += 3;
        }
        if (plan.statistics == 0) return;
        plan.rule_of.assign(plan.parameters.size(), 0);
        std::fill(plan.rule_of.end() - plan.statistics, plan.rule_of.end(), -1);
    }
    int dropout(int x, double p, bool of_channels = false) {
        return add(settings(of_channels ? "DropoutOfChannels" : "Dropout", {{"p", p}, {"stream", double(dropouts_++)}}), {x});
    }
    int local_response(int x, int64_t size) { return add(settings("LocalResponseNorm", {{"size", double(size)}, {"alpha", 0.5}, {"beta", 0.75}, {"k", 1.5}}), {x}); }

    void output(int y) { plan.outputs.push_back(y); }
    void head(int y, const chainrule::Settings& loss, double weight = 1) {
        output(y);
        plan.heads.push_back({loss, weight, loss.kind == "CrossEntropyLoss" || loss.kind == "NLLLoss"});
    }
    void head(int y, const std::string& loss = "MSELoss", double weight = 1) { head(y, settings(loss), weight); }
    void optimizer(const std::string& kind, const Numbers& changes = {}) {
        plan.rules = {{optimizer_settings(kind, changes), {}}};
    }

    const chainrule::ValueShape& shape(int v) const { return plan.values[size_t(v)]; }

private:
    static chainrule::Settings sliding(const std::string& kind, const Axes& axes) {
        chainrule::Settings s = settings(kind);
        s.arrays = {{"windows", begins_of(axes)}, {"taps", taps_of(axes)}};
        return s;
    }
    int value(chainrule::ValueShape shape) {
        plan.values.push_back(shape);
        return int(plan.values.size()) - 1;
    }
    int parameter(chainrule::ParameterShape shape) {
        plan.parameters.push_back(shape);
        return int(plan.parameters.size()) - 1;
    }
    int op(const chainrule::Settings& layer, const std::vector<int>& x, chainrule::ValueShape y, const std::vector<int>& parameters = {}) {
        const int output = value(y);
        plan.ops.push_back({layer, x, output, parameters});
        return output;
    }
    const chainrule::Op& writer(int v) const {
        for (const chainrule::Op& op : plan.ops)
            if (op.output == v) return op;
        throw std::invalid_argument("nobody writes value " + std::to_string(v));
    }

    int dropouts_ = 0;
};

// Linears of these widths with an activation between any two of them, mean squared error, SGD.
struct Chain {
    std::vector<int> widths;
    chainrule::Settings activation = settings("ReLU");
    bool shared = false;  // those that map a width to itself share weights and biases
    bool bias = true;
};

inline chainrule::Plan plan_of(const Chain& chain, int64_t batch, int64_t samples, chainrule::DType dtype, int threads = 1) {
    Builder net(dtype);
    int y = net.input(chain.widths[0]), first_square = -1;
    for (size_t i = 1; i < chain.widths.size(); ++i) {
        if (i > 1) y = net.add(chain.activation, {y});
        const bool square = chain.widths[i] == chain.widths[i - 1];
        y = chain.shared && square && first_square >= 0 ? net.linear_again(y, first_square) : net.linear(y, chain.widths[i], chain.bias);
        if (square && first_square < 0) first_square = y;
    }
    net.head(y);
    net.optimizer("SGD");
    net.plan.batch = batch;
    net.plan.samples = samples;
    net.plan.threads = threads;
    return net.plan;
}
