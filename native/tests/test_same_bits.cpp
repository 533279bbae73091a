// The same bits on every instruction set that has fused multiply-adds, and in every version: hashes of what the
// activations, losses, optimizers and dropout make of fixed inputs, and of whole trainings. The baseline without FMA is held
// to those of the optimizers and of dropout, which use none.
#include "../src/constraints/constraint.h"
#include "../src/masks.h"
#include "../src/losses/loss.h"
#include "../src/optimizers/optimizer.h"

#include "activation_kernels.h"
#include "check.h"
#include "matrices.h"
#include "naive_losses.h"
#include "plans.h"
#include "problems.h"
#include "random_rules.h"

using namespace chainrule;

namespace {

// FNV-1a over the bytes of numbers
struct Hash {
    uint64_t state = 0xcbf29ce484222325;
    template <class Number>
    void add(Number v) {
        unsigned char bytes[sizeof v];
        std::memcpy(bytes, &v, sizeof v);
        for (unsigned char b : bytes) state = (state ^ b) * 0x100000001b3;
    }
    template <class T>
    void add_matrix(const Matrix<T>& m) {
        for (int64_t r = 0; r < m.rows; ++r)
            for (int64_t c = 0; c < m.columns; ++c) add(m.at(r, c));
    }
};

// Numbers between -4 and 4 from a counter, exact in every type
double number(int64_t i) { return double(int64_t(uint64_t(i + 1) * 0x9E3779B97F4A7C15 >> 44) - (1 << 19)) / (1 << 17); }

template <class T>
void expect(const char* name, const Hash& hash, uint64_t expected, bool everywhere = false) {
    std::printf("  %-6s %-16s 0x%016llx\n", sizeof(T) == 4 ? "float" : "double", name, static_cast<unsigned long long>(hash.state));
    if (HAS_FMA || everywhere) CHECK(hash.state == expected, "%s", name);
}

template <class T>
Hash activations() {
    Hash hash;
    std::vector<std::string> kinds = elementwise_kinds;
    kinds.insert(kinds.end(), {"Softmax", "LogSoftmax"});
    for (int64_t columns : {1, 7, 8, 10, 25, 64, 100})
        for (const std::string& kind : kinds)
            for (const char* approximate : {"none", "tanh"}) {
                Settings a = settings(kind);
                a.words["approximate"] = approximate;
                Storage<T> x(33, columns), y(33, columns), dy(33, columns, T(0));
                x.fill([&](int64_t r, int64_t c) { return number(r * columns + c) * 3; });
                dy.fill([&](int64_t r, int64_t c) { return number(r * columns + c + 12345); });
                activation_forward(a, x.matrix, y.matrix);
                hash.add_matrix(y.matrix);
                activation_backward(a, dy.matrix, (saves_output<T>(a) ? y : x).matrix, dy.matrix);
                hash.add_matrix(dy.matrix);
            }
    return hash;
}

template <class T>
Hash losses() {
    Hash hash;
    const int64_t rows = 37;
    for (int64_t columns : {1, 2, 7, 8, 10, 25, 64, 100})
        for (const char* kind : {"MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "QuantileLoss", "PoissonNLLLoss",
                                 "BCEWithLogitsLoss", "CrossEntropyLoss", "NLLLoss", "SoftMarginLoss"})
            for (double smoothing : {0.0, 0.1}) {
                const naive::LossOptions<double> options{.kind = kind, .label_smoothing = smoothing};
                const auto loss = make_loss<T>(options.settings(), columns);
                std::vector<int64_t> indices;
                std::vector<T> weights;
                for (int64_t r = 0; r < rows; ++r) indices.push_back(r * 7919 % columns), weights.push_back(T(r % 5) / 4);
                Storage<T> y(rows, columns), values(rows, columns), dy(rows, columns);
                y.fill([&](int64_t r, int64_t c) { return number(r * columns + c); });
                values.fill([&](int64_t r, int64_t c) { return number(r * columns + c + 54321) / 8 + 0.5; });
                Target<T> target{values.matrix, options.of_classes() ? indices.data() : nullptr, weights.data()};
                double partial[3];
                const double denominator = loss->denominator(target, rows, columns);
                loss->rows(y.matrix, target, dy.matrix, denominator, partial);
                hash.add(denominator);
                for (double p : partial) hash.add(p);
                hash.add_matrix(dy.matrix);
            }
    return hash;
}

template <class T>
Hash optimizers(std::initializer_list<std::string> kinds) {
    Hash hash;
    const int64_t n = 48;
    for (const std::string& kind : kinds)
        for (double momentum : {0.0, 0.9}) {
            const double further = momentum > 0, decoupled = kind != "Adam" && further;
            const auto optimizer = make_optimizer<T>(optimizer_settings(
                kind, {{"momentum", momentum}, {"amsgrad", further}, {"centered", further}, {"eps", 1e-8}, {"weight_decay", 0.01}, {"clip_value", 0.75}, {"decoupled_weight_decay", decoupled}}));
            std::vector<T> value(static_cast<size_t>(n)), gradient(static_cast<size_t>(n)), states[3];
            T* pointers[3];
            for (int k = 0; k < 3; ++k) states[k].assign(size_t(n), T(0)), pointers[k] = states[k].data();
            for (int64_t step = 1; step <= 10; ++step) {
                for (int64_t i = 0; i < n; ++i) gradient[size_t(i)] = T(number(step * n + i));
                double squares = 0;
                for (T g : gradient) squares += double(g) * double(g);
                const double scale = clip_scale(5, squares);
                optimizer->update({0.01, step, scale}, value.data(), gradient.data(), pointers, n);
            }
            for (T v : value) hash.add(v);
        }
    return hash;
}

// What is updated whole: where the weight lies in each way, and is turned before its products.
template <class T>
Hash wholes(const char* kind) {
    Hash hash;
    for (const ParameterShape& shape : {ParameterShape{100, 0}, {3, 2}, {7, 1}, {1, 9}, {5, 40}, {40, 5}, {17, 33}, {70, 90}, {300, 20}})
        for (double further : {0, 1}) {
            const auto optimizer = make_optimizer<T>(optimizer_settings(kind, {{"weight_decay", 0.01}, {"clip_value", 2}, {"d", 1 + further}, {"nesterov", further}}));
            const auto update = optimizer->of_whole(shape);
            const size_t size = size_t(parameter_size<T>(shape));
            std::vector<T> value(size), gradient(size), states[2] = {value, value}, scratch(size_t(update->scratch()));
            T* pointers[] = {states[0].data(), states[1].data()};
            for (int64_t step = 1; step <= 5; ++step) {
                int64_t i = 0;
                each_place<T>(shape, [&](int64_t at) { gradient[size_t(at)] = T(number(step * 7919 + i++)); });
                update->update({0.01, step, 0.37}, value.data(), gradient.data(), pointers, scratch.data());
            }
            each_place<T>(shape, [&](int64_t at) { hash.add(value[size_t(at)]); });
        }
    return hash;
}

template <class T>
Hash bounds() {
    Hash hash;
    for (const ParameterShape& shape : {ParameterShape{20, 0}, {3, 7}, {5, 100}, {40, 33}})
        for (const char* kind : {"L1", "L2", "NonNegative", "MaxNorm", "UnitNorm"}) {
            const auto one = make_constraint<T>(constraint_settings(kind, {{"strength", 20}, {"max_norm", 2}}), shape);
            if (!one) continue;
            const Matrix<T> m = parameter_matrix<T>(shape, nullptr);
            std::vector<T> memory(size_t(round_up(m.rows * round_up(m.columns, m.width()), 64)));
            int64_t i = 0;
            each_place<T>(shape, [&](int64_t at) { memory[size_t(at)] = T(number(i++)); });
            one->apply(0.01, memory.data(), 0, int64_t(memory.size()));
            each_place<T>(shape, [&](int64_t at) { hash.add(memory[size_t(at)]); });
        }
    return hash;
}

template <class T>
Hash dropouts() {
    Hash hash;
    for (int64_t columns : {1, 8, 10, 25, 100}) {
        Storage<T> x(33, columns);
        x.fill([&](int64_t r, int64_t c) { return number(r * columns + c); });
        Halfwords drawn(42, 1);
        dropout(drawn, 2, Kept<T>(0.3), x.matrix, x.matrix, 0);
        hash.add_matrix(x.matrix);
    }
    return hash;
}

// Three epochs by every batch size, what the network then says of its data, and its parameters.
template <class T>
Hash training(Plan plan) {
    Hash hash;
    for (int64_t batch : {1, 10, 100, 300}) {
        plan.batch = batch, plan.samples = 300, plan.seed = 5;
        Problem<T> problem(plan, 300, 0);
        const auto fill = [](std::vector<T>& v, int64_t first, double divisor) {
            for (size_t i = 0; i < v.size(); ++i) v[i] = T(number(int64_t(i) + first) / divisor);
        };
        for (std::vector<T>& x : problem.x) fill(x, 0, 4);
        for (std::vector<T>& target : problem.target) fill(target, 777, 4);
        for (size_t i = 0; i < plan.parameters.size(); ++i) {
            const int64_t n_in = plan.parameters[i].n_in;
            fill(problem.parameters[i], int64_t(1000 * i), 4 * std::sqrt(double(n_in ? n_in : 16)));
        }
        const auto engine = chainrule_engine.create(plan);
        problem.write(*engine);
        std::vector<double> lr;
        for (double rate : {0.01, 0.02, 0.01})
            for (size_t r = 0; r < plan.rules.size(); ++r) lr.push_back(rate);
        double losses[3];
        Training training;
        training.batch = batch, training.seed = 3, training.lr = lr.data(), training.end_epoch = 3, training.losses = losses;
        Position at;
        CHECK(engine->run(problem.data, training, at) == Outcome::finished);
        Arrays<T> y(plan, plan.outputs, 300);
        engine->predict(problem.data.x.data(), 300, y.to());
        for (double loss : losses) hash.add(loss);
        for (const std::vector<T>& all : y.values)
            for (T v : all) hash.add(v);
        for (T v : read_all<T>(*engine)) hash.add(v);
    }
    return hash;
}

struct Trained {
    std::vector<int64_t> widths;
    const char *activation, *loss, *optimizer;
    double p;  // of Dropout behind each activation; 0: none
    uint64_t in_float, in_double;
};

template <class T>
void train(const Trained& t) {
    Builder net(sizeof(T) == 4 ? DType::float32 : DType::float64);
    int y = net.input(t.widths[0]);
    std::string name = std::to_string(t.widths[0]);
    for (size_t i = 1; i < t.widths.size(); ++i) {
        if (i > 1) y = net.add(t.activation, {y});
        if (i > 1 && t.p > 0) y = net.dropout(y, t.p);
        y = net.linear(y, t.widths[i]);
        (name += "-") += std::to_string(t.widths[i]);
    }
    net.head(y, t.loss);
    net.optimizer(t.optimizer);
    expect<T>(name.c_str(), training<T>(net.plan), sizeof(T) == 4 ? t.in_float : t.in_double);
}

TEST("activations give the same bits") {
    expect<float>("activations", activations<float>(), 0xf7afe8fd9952640e);
    expect<double>("activations", activations<double>(), 0x242faacf475f4d00);
}
TEST("losses give the same bits") {
    expect<float>("losses", losses<float>(), 0xa9b369fee0e1d19b);
    expect<double>("losses", losses<double>(), 0xf0461ffd9b8d29a1);
}
TEST("optimizers give the same bits") {
    const std::initializer_list<std::string> first{"SGD", "Adam", "AdamW", "RMSprop", "Adagrad"};
    expect<float>("optimizers", optimizers<float>(first), 0x56999bd94ae89fc4, true);
    expect<double>("optimizers", optimizers<double>(first), 0x0945f3ecddbd25b1, true);
    const std::initializer_list<std::string> others{"NAdam", "RAdam", "Adamax", "Adadelta", "Rprop", "ASGD"};
    expect<float>("other optimizers", optimizers<float>(others), 0x79f883cac244b853, true);
    expect<double>("other optimizers", optimizers<double>(others), 0x4168636f9a9ddc2a, true);
}
TEST("optimizers of whole parameters give the same bits") {
    expect<float>("Adafactor", wholes<float>("Adafactor"), 0xe2d3549ff7ac6ee5);
    expect<double>("Adafactor", wholes<double>("Adafactor"), 0xc533b38477523ac3);
    expect<float>("Muon", wholes<float>("Muon"), 0xae9e697cf135753b);
    expect<double>("Muon", wholes<double>("Muon"), 0xd8bccb2f78fe7565);
}
TEST("constraints give the same bits") {
    expect<float>("constraints", bounds<float>(), 0xe9c1bfbc6e5076de, true);
    expect<double>("constraints", bounds<double>(), 0xa4304aaf9ad55ac4, true);
}
TEST("dropout gives the same bits") {
    expect<float>("dropout", dropouts<float>(), 0x0ebd8798cf418a2f, true);
    expect<double>("dropout", dropouts<double>(), 0xf6ccaed3888c04ff, true);
}
// These are the bits of the engine of stages that came before the engine of values and ops.
TEST("chains train to the same bits") {
    const Trained all[] = {
        {{2, 25, 25, 25, 2}, "ReLU", "MSELoss", "SGD", 0, 0x186df7a68f089896, 0x6069311452b4f1f7},
        {{9, 100, 90, 5}, "ReLU", "CrossEntropyLoss", "Adam", 0, 0xdaeaef452509ced8, 0x1b8c471b6d041307},
        {{40, 150, 8, 70, 11}, "Tanh", "CrossEntropyLoss", "SGD", 0, 0xf085745b95120e6f, 0x6ccf6cd977cc72fe},
        {{30, 264, 300, 9, 4}, "GELU", "MSELoss", "SGD", 0, 0xf58188f3e800a6d1, 0x2e2503024ce81c8b},
        {{7, 33, 1, 50, 3}, "SiLU", "MSELoss", "RMSprop", 0, 0xffdca9bd86a46c80, 0x8abfca58d2948cb7},
        {{20, 64, 64, 10}, "ReLU", "CrossEntropyLoss", "SGD", 0.25, 0x55b6d42298cd5ab4, 0xe15512edb937655c},
        {{5, 20, 20, 2}, "Sigmoid", "MSELoss", "Adam", 0.5, 0xf1406c80a26e8e9c, 0xd28d99712fcc1370},
        {{70, 600, 500, 3}, "ReLU", "MSELoss", "SGD", 0, 0x5d80e85bef0c654f, 0x100ed1276f3753ed},
    };
    for (const Trained& t : all) {
        train<float>(t);
        train<double>(t);
    }
}

TEST("chains of which parts are frozen, under rules and constraints, train to the same bits") {
    const auto expect_bits = [](auto type, const char* kind, uint64_t expected) {
        using T = decltype(type);
        Builder net(sizeof(T) == 4 ? DType::float32 : DType::float64);
        int y = net.input(9);
        for (int width : {40, 8, 33, 70}) y = net.add("ReLU", {net.linear(y, width)});
        net.head(net.linear(y, 4));
        net.plan.rules = {
            {optimizer_settings(kind), {}},
            {optimizer_settings(kind, {{"maximize", 1}}), {constraint_settings("MaxNorm", {{"max_norm", 0.5}}), constraint_settings("L1", {{"strength", 0.1}})}},
        };
        net.plan.rule_of = {-1, -1, 0, 0, -1, 1, 1, -1, 0, 1};
        expect<T>(kind, training<T>(net.plan), expected);
    };
    expect_bits(float(), "SGD", 0xb4e67197620bb91c);
    expect_bits(double(), "SGD", 0xe2361908f6640b20);
    expect_bits(float(), "Adam", 0x09b19be148f71a9d);
    expect_bits(double(), "Adam", 0x8b7de81c3a22d5f0);
    expect_bits(float(), "Adafactor", 0xad507e4fde8bbd05);
    expect_bits(double(), "Adafactor", 0x2cf11c505b9a46b9);
    expect_bits(float(), "Muon", 0x05815718817539af);
    expect_bits(double(), "Muon", 0xaa11fe22775d8f75);
}

// Kernels of every kind: windows that overlap, lie apart, see all of an image; more channels than a panel has; pools; a skip.
template <class T>
Plan images(const char* optimizer) {
    Builder net(sizeof(T) == 4 ? DType::float32 : DType::float64);
    const Axes around{{10, 1, 1, 1, 1}, {9, 1, 1, 1, 1}};
    const int x = net.channels_last(net.input(3 * 90), 90), h = net.convolution(net.positions(x, padded(around, Around::circle)), 6, {{12, 3}, {11, 3}});
    const int r = net.add("ReLU", {h}), t = net.add("Tanh", {net.convolution(net.positions(r, padded(around, Around::nothing)), 6, {{12, 3}, {11, 3}}, false)});
    Table mean = seen({{10, 2, 2}, {9, 3, 3}});
    for (double& weight : mean.weights) weight = 1.0 / 6;
    const int pooled = net.max_pool(net.add("Sum", {r, t}), seen({{10, 2, 2}, {9, 3, 3}})), means = net.positions(r, mean);
    const int deep = net.add("ReLU", {net.convolution(net.concat({pooled, means}), 40, {{5, 2, 1, 2}, {3, 2}})});
    net.head(net.linear(net.channels_first(net.convolution(deep, 33, {{3, 3}, {2, 2}})), 4), "CrossEntropyLoss");
    net.head(net.linear(net.reshape(net.max_pool(net.linear(deep, 5), seen({{6, 6}})), 1), 2));
    net.optimizer(optimizer);
    return net.plan;
}

// Of few channels and of many, back to larger images, and groups.
template <class T>
Plan larger_images(const char* optimizer) {
    Builder net(sizeof(T) == 4 ? DType::float32 : DType::float64);
    const int x = net.channels_last(net.input(5 * 6), 6), h = net.add("Sigmoid", {net.transposed(x, 20, {{6, 2, 2}, {4, 3}})});
    const int d = net.add("ReLU", {net.depthwise({h}, {{6, 3}, {4, 3}})}), t = net.add("Tanh", {net.transposed(d, 3, {{9, 3, 2}, {3, 2}}, false)});
    const int groups = net.depthwise({net.columns(t, {0, 0, 1, 2}), net.columns(t, {1, 2, 2, 1})}, {{9, 2}, {3, 2}});
    net.head(net.linear(net.channels_first(groups), 3));
    net.optimizer(optimizer);
    return net.plan;
}

TEST("networks of images train to the same bits") {
    expect<float>("larger images, SGD", training<float>(larger_images<float>("SGD")), 0x477555117cb2fd18);
    expect<double>("larger images, SGD", training<double>(larger_images<double>("SGD")), 0x3ad5ab89421a4e3c);
    expect<float>("larger images, Adam", training<float>(larger_images<float>("Adam")), 0x319e8a7be46cc72a);
    expect<double>("larger images, Adam", training<double>(larger_images<double>("Adam")), 0x37de22aa4235c81f);
    expect<float>("images, SGD", training<float>(images<float>("SGD")), 0x68849b15fd19689d);
    expect<double>("images, SGD", training<double>(images<double>("SGD")), 0x37f063396a4c8d72);
    expect<float>("images, Adam", training<float>(images<float>("Adam")), 0x2b887adf3aa264a1);
    expect<double>("images, Adam", training<double>(images<double>("Adam")), 0x74ebd91071a590fe);
}

// Whose steps on many samples have sums in an order of their own (tiny.h).
TEST("tiny networks train to the same bits") {
    const Trained all[] = {
        {{4, 4, 4, 4}, "ReLU", "MSELoss", "SGD", 0, 0x841454e20a9719e5, 0x71e2dccea5c3cb4f},
        {{1, 8, 1}, "Tanh", "MSELoss", "SGD", 0, 0x1e392eca51c29708, 0x226fffc4a28a4ff5},
    };
    for (const Trained& t : all) {
        train<float>(t);
        train<double>(t);
    }
}

}  // namespace

TEST_MAIN
