// Whole training runs against a naive loop in double; and the promises about bits: slices, threads, repetition.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <tuple>

#include "../src/engine.h"
#include "check.h"
#include "naive_plan.h"
#include "plans.h"
#include "problems.h"

using namespace chainrule;

namespace {

using V = std::vector<double>;

// Mean squared error, SGD: one step on rows first … first + rows - 1. Returns Σ errors².
double naive_step(naive::Network& network, const Problem<double>& problem, int64_t first, int64_t rows, double lr) {
    const auto part = [&](const V& all, int64_t columns) { return V(all.begin() + first * columns, all.begin() + (first + rows) * columns); };
    const auto columns = [&](int v) { return network.plan.values[size_t(v)].columns; };
    network.forward({part(problem.x[0], columns(network.plan.inputs[0]))}, rows);
    V dy = network.output(0);
    const V target = part(problem.target[0], columns(network.plan.outputs[0]));
    double sum = 0;
    for (size_t i = 0; i < dy.size(); ++i) {
        const double e = dy[i] - target[i];
        sum += e * e;
        dy[i] = 2 * e / double(dy.size());
    }
    network.zero_gradients();
    network.backward({dy});
    for (size_t i = 0; i < network.parameters.size(); ++i)
        for (size_t j = 0; j < network.parameters[i].size(); ++j) network.parameters[i][j] -= lr * network.gradients[i][j];
    return sum;
}

// The mean of these weights, written out, is the engine's.
void compare_average(const Engine& engine, const Plan& plan, const Settings& average, const std::vector<V>& taken) {
    V mean = taken[0];
    for (size_t n = 1; n < taken.size(); ++n) {
        const double share = average.kind == "EMA" ? 1 - average.number("decay") : 1 / double(n + 1);
        for (size_t i = 0; i < mean.size(); ++i) mean[i] = (1 - share) * mean[i] + share * taken[n][i];
    }
    CHECK(engine.averaged() == int64_t(taken.size()), "%d of %d are taken in", int(engine.averaged()), int(taken.size()));
    size_t first = 0;
    for (size_t i = 0; i < plan.parameters.size(); ++i) {
        const ParameterShape& shape = plan.parameters[i];
        V got(size_t(shape.n_out * std::max<int64_t>(shape.n_in, 1)));
        engine.read_average(int(i), got.data());
        double most = 0;
        for (size_t j = 0; j < got.size(); ++j) most = std::max(most, std::abs(got[j] - mean[first + j]));
        CHECK(most <= 1e-11, "parameter %d is %.3g off its mean", int(i), most);
        first += got.size();
    }
}

void train_and_compare(const Chain& chain, int batch, int samples, int threads = 1, int accumulate = 1, const Settings& average = {}) {
    const int n_out = chain.widths.back();
    Plan plan = plan_of(chain, batch, samples, DType::float64, threads);
    plan.accumulate = accumulate;
    plan.average = average;
    auto engine = chainrule_engine.create(plan);
    Problem<double> problem(plan, samples, batch);
    problem.write(*engine);
    const int epochs = samples > 500 ? 1 : 3;
    std::vector<double> lr{0.05, 0.03, 0.02}, losses(3);
    Training training;
    training.batch = batch;
    training.shuffle = false;
    training.lr = lr.data();
    training.end_epoch = epochs;
    training.losses = losses.data();
    Position at;
    CHECK(engine->run(problem.data, training, at) == Outcome::finished);
    naive::Network network(plan, problem.parameters);
    const int rows = batch * accumulate;  // of a step: the naive one makes it of one batch
    std::vector<V> taken;
    for (int e = 0; e < epochs; ++e) {
        double sum = 0;
        for (int first = 0; first < samples; first += rows) {
            sum += naive_step(network, problem, first, std::min(rows, samples - first), lr[size_t(e)]);
            if (average.kind != "EMA" && first + rows < samples) continue;
            taken.emplace_back();
            for (const auto& p : network.parameters) taken.back().insert(taken.back().end(), p.begin(), p.end());
        }
        const double loss = sum / (samples * n_out);
        CHECK(std::abs(loss - losses[size_t(e)]) <= 1e-11 * loss, "epoch %d: naive %.15g, engine %.15g; batch %d, width %d",
              e, loss, losses[size_t(e)], batch, chain.widths[1]);
    }
    V want;
    for (const auto& p : network.parameters) want.insert(want.end(), p.begin(), p.end());
    const V got = read_all<double>(*engine);
    if (!average.kind.empty()) compare_average(*engine, plan, average, taken);
    for (size_t i = 0; i < want.size(); ++i)
        if (!(std::abs(want[i] - got[i]) <= 1e-11)) {
            CHECK(std::abs(want[i] - got[i]) <= 1e-11, "number %d: naive %.15g, engine %.15g; batch %d, widths %d %d, shared %d",
                  int(i), want[i], got[i], batch, chain.widths[0], chain.widths[1], chain.shared);
            return;
        }
    CHECK(true);
}

const std::vector<std::vector<int>> networks = {
    {2, 25, 25, 25, 2}, {1, 1}, {3, 17, 33, 5}, {7, 50, 1}, {7, 1, 50, 3}, {4, 4, 4, 4}, {2, 8, 9, 8, 3},
    {30, 8, 40, 2}, {64, 64, 64, 64, 4}, {20, 10}, {8, 20, 8}, {40, 5, 5, 40},
    {1, 8, 1}, {2, 4, 1}, {8, 8, 8, 8}, {3, 2}, {6, 1, 5}};

TEST("training equals the naive loop, for every kind of shape") {
    for (const auto& widths : networks)
        for (int batch : {1, 2, 7, 16, 33, 100}) {
            train_and_compare({widths}, batch, 107);
            train_and_compare({widths, settings("Tanh")}, batch, 107);
            train_and_compare({widths, settings("ReLU"), true}, batch, 50);
            train_and_compare({widths, settings("ReLU"), false, false}, batch, 50);
        }
    train_and_compare({{5, 300, 270, 3}}, 20, 40);
    train_and_compare({{5, 300, 300, 300, 3}, settings("Tanh"), true}, 20, 40);
    train_and_compare({{20, 400, 400, 20}}, 300, 600);
    train_and_compare({{100, 1000, 1}}, 10, 20);
}

TEST("steps of several batches equal the naive loop's of one as large") {
    for (int accumulate : {2, 3, 5}) {
        for (int batch : {1, 2, 7, 16, 33}) {
            train_and_compare({{7, 50, 20, 3}}, batch, 107, 1, accumulate);
            train_and_compare({{2, 8, 9, 2}, settings("Tanh"), true}, batch, 107, 1, accumulate);
        }
        for (int batch : {20, 100}) train_and_compare({{9, 100, 100, 90, 5}, settings("Tanh"), true}, batch, 601, 3, accumulate);
        train_and_compare({{300, 300, 40}}, 257, 600, 4, accumulate);
        train_and_compare({{20, 400, 400, 20}}, 300, 700, 1, accumulate);
    }
}

TEST("a mean of the weights is the formula written out") {
    const Settings ema{"EMA", {{"decay", 0.9}}, {}, {}}, swa{"SWA", {{"start", 0}, {"every", 1}}, {{"unit", "epoch"}}, {}};
    for (const Settings& average : {ema, swa}) {
        train_and_compare({{2, 8, 1}}, 16, 107, 1, 1, average);
        train_and_compare({{7, 50, 20, 3}}, 7, 107, 1, 2, average);
        train_and_compare({{9, 100, 90, 5}}, 257, 600, 3, 1, average);
    }
}

TEST("training on three threads equals the naive loop") {
    for (int batch : {100, 257, 600}) {
        train_and_compare({{9, 100, 90, 5}}, batch, 600, 3);
        train_and_compare({{9, 100, 100, 90, 5}, settings("Tanh"), true}, batch, 600, 3);
        train_and_compare({{150, 8, 150, 7}}, batch, 600, 2);
        train_and_compare({{300, 300, 40}}, batch, 600, 4);
    }
}

TEST("training on several threads layer by layer equals the naive loop") {
    for (int batch : {2, 7, 20, 31}) {  // few rows
        train_and_compare({{20, 400, 270, 400, 20}}, batch, 40, 3);
        train_and_compare({{20, 400, 400, 400, 3}, settings("Tanh"), true}, batch, 40, 2);
        train_and_compare({{700, 8, 700, 7}}, batch, 40, 2);
        train_and_compare({{200, 264, 265, 9, 300}, settings("ReLU"), false, false}, batch, 40, 4);
    }
    train_and_compare({{30, 520, 505, 12}}, 100, 200, 3);  // a weight of more than a megabyte
}

template <class T>
void same_bits(const Chain& chain, int batch, int samples, int threads) {
    auto train = [&](int n_threads, int64_t slice, std::vector<double>& losses) {
        const Plan plan = plan_of(chain, batch, samples, sizeof(T) == 4 ? DType::float32 : DType::float64, n_threads);
        auto engine = chainrule_engine.create(plan);
        Problem<T> problem(plan, samples, 5);
        problem.write(*engine);
        std::vector<double> lr(4, 0.05);
        losses.assign(4, 0);
        Training training;
        training.batch = batch;
        training.seed = 3;
        training.lr = lr.data();
        training.end_epoch = 4;
        training.losses = losses.data();
        training.max_steps = slice;
        Position at;
        while (engine->run(problem.data, training, at) == Outcome::interrupted) {}
        return read_all<T>(*engine);
    };
    std::vector<double> losses, other;
    const auto whole = train(1, -1, losses);
    auto equal = [&](const std::vector<T>& a) {
        return a.size() == whole.size() && std::memcmp(a.data(), whole.data(), a.size() * sizeof(T)) == 0 &&
               std::memcmp(losses.data(), other.data(), losses.size() * sizeof(double)) == 0;
    };
    CHECK(equal(train(1, -1, other)), "repeated, batch %d", batch);
    CHECK(equal(train(1, 1, other)), "slices of one step, batch %d", batch);
    CHECK(equal(train(1, 3, other)), "slices of three steps, batch %d", batch);
    CHECK(equal(train(threads, -1, other)), "%d threads, batch %d", threads, batch);
    CHECK(equal(train(threads + 1, 2, other)), "%d threads, slices of two, batch %d", threads + 1, batch);
    // What the other instruction sets must print as well (compared by a script): FNV-1a of losses and parameters.
    uint64_t hash = 1469598103934665603u;
    auto mix = [&](const void* p, size_t n) {
        for (size_t i = 0; i < n; ++i) hash = (hash ^ static_cast<const unsigned char*>(p)[i]) * 1099511628211u;
    };
    mix(whole.data(), whole.size() * sizeof(T));
    mix(losses.data(), losses.size() * sizeof(double));
    std::printf("      bits %016llx  %d-%d, batch %d, %s\n", static_cast<unsigned long long>(hash), chain.widths[0],
                chain.widths[1], batch, sizeof(T) == 4 ? "float32" : "float64");
}

TEST("the same bits for slices, threads and repeated runs") {
    for (int batch : {1, 10, 100, 160, 300}) {
        same_bits<float>({{2, 25, 25, 25, 2}}, batch, 600, 2);
        same_bits<double>({{2, 25, 25, 25, 2}}, batch, 600, 2);
        same_bits<float>({{9, 100, 90, 5}}, batch, 600, 2);
        same_bits<double>({{9, 100, 90, 5}}, batch, 600, 2);
        same_bits<float>({{40, 150, 8, 70, 11}, settings("Tanh")}, batch, 600, 3);
        same_bits<double>({{40, 150, 8, 70, 11}, settings("Tanh")}, batch, 600, 3);
        same_bits<float>({{4, 4, 4, 4}}, batch, 600, 3);
    }
    for (int batch : {2, 20, 300}) {
        same_bits<float>({{70, 600, 500, 3}}, batch, 600, 2);
        same_bits<double>({{30, 264, 300, 9, 200, 4}, settings("Tanh")}, batch, 600, 3);
    }
}

TEST("predict and forward give the same as the naive loop, and backward's dx too") {
    for (const auto& widths : networks)
        for (int rows : {1, 3, 50, 300}) {
            const Plan plan = plan_of({widths}, rows, 0, DType::float64);
            auto engine = chainrule_engine.create(plan);
            Problem<double> problem(plan, rows, 4);
            problem.write(*engine);
            Arrays<double> y(plan, plan.outputs, rows), y2(plan, plan.outputs, rows), dx(plan, plan.inputs, rows);
            engine->predict(problem.data.x.data(), rows, y.to());
            engine->forward(problem.data.x.data(), rows, y2.to(), true);
            engine->backward(problem.data.targets.data(), rows, dx.to());
            naive::Network network(plan, problem.parameters);
            network.forward(problem.x, rows);
            network.backward(problem.target);
            double difference = 0, other = 0, slope = 0;
            for (size_t i = 0; i < y[0].size(); ++i) {
                difference = std::max(difference, std::abs(y[0][i] - network.output(0)[i]));
                other = std::max(other, std::abs(y2[0][i] - network.output(0)[i]));
            }
            for (size_t i = 0; i < dx[0].size(); ++i) slope = std::max(slope, std::abs(dx[0][i] - network.dinput(0)[i]));
            CHECK(difference <= 1e-12 && other <= 1e-12 && slope <= 1e-12, "%g %g %g, rows %d, %d-%d", difference, other, slope, rows, widths[0], widths[1]);
        }
}

TEST("the naive gradients are those of the naive functions") {
    const Plan plan = plan_of({{3, 7, 5, 4}, settings("Tanh")}, 2, 0, DType::float64);
    Problem<double> problem(plan, 2, 4);
    naive::Network network(plan, problem.parameters);
    const auto loss = [&] {  // Σ dy · y
        network.forward(problem.x, 2);
        double sum = 0;
        for (size_t i = 0; i < problem.target[0].size(); ++i) sum += problem.target[0][i] * network.output(0)[i];
        return sum;
    };
    loss();
    network.backward(problem.target);
    const double h = 1e-6;
    const auto compare = [&](double& number, double gradient) {
        const double before = number;
        number = before + h;
        const double up = loss();
        number = before - h;
        const double down = loss();
        number = before;
        CHECK(std::abs((up - down) / (2 * h) - gradient) < 1e-8, "%g, not %g", gradient, (up - down) / (2 * h));
    };
    const V dx = network.dinput(0);
    for (size_t i = 0; i < dx.size(); ++i) compare(problem.x[0][i], dx[i]);
    for (size_t p = 0; p < network.parameters.size(); ++p)
        for (size_t i = 0; i < network.parameters[p].size(); ++i) compare(network.parameters[p][i], network.gradients[p][i]);
}

// What run does in one go, done again in pieces: forward, the loss written out here, backward, update.
TEST("a run equals forward, loss, backward and update one by one, for every optimizer and for clipping") {
    const std::vector<Settings> optimizers{
        optimizer_settings("SGD", {{"momentum", 0.9}}),
        optimizer_settings("SGD", {{"weight_decay", 0.01}}),
        optimizer_settings("SGD", {{"momentum", 0.8}, {"nesterov", 1}, {"weight_decay", 0.02}}),
        optimizer_settings("Adam"),
        optimizer_settings("AdamW", {{"amsgrad", 1}, {"weight_decay", 0.1}}),
        optimizer_settings("RMSprop", {{"centered", 1}, {"momentum", 0.5}}),
        optimizer_settings("Adagrad"),
        optimizer_settings("SGD"),
        optimizer_settings("Adam", {{"eps", 0}}),
        optimizer_settings("NAdam", {{"weight_decay", 0.1}, {"decoupled_weight_decay", 1}}),
        optimizer_settings("RAdam", {{"beta2", 0.8}}),
        optimizer_settings("Adamax"),
        optimizer_settings("Adadelta", {{"weight_decay", 0.1}}),
        optimizer_settings("Rprop"),
        optimizer_settings("ASGD", {{"lambd", 0.1}, {"t0", 1}}),
        optimizer_settings("Adafactor", {{"eps1", 1e-3}, {"weight_decay", 0.1}}),
        optimizer_settings("Muon", {{"weight_decay", 0.1}, {"adamw_eps", 1e-3}}),
    };
    for (size_t o = 0; o < optimizers.size(); ++o)
        for (int clipping = 0; clipping < 4; ++clipping)
            for (int batch : {1, 9, 40})
                for (int loss = 0; loss < 2; ++loss)
                    for (const auto& widths : {std::vector<int>{3, 25, 25, 5}, {4, 12, 12, 40}, {2, 6, 6, 3}}) {
                        const int samples = 43, n_out = widths.back();
                        Plan plan = plan_of({widths, settings("Tanh"), o % 2 == 0}, batch, samples, DType::float64);
                        plan.rules = {{optimizers[o], {}}};
                        std::map<std::string, double>& options = plan.rules[0].optimizer.numbers;
                        if (clipping % 2 == 1) options["clip_norm"] = clipping == 1 ? 0.3 : 0.1;
                        if (clipping >= 2) options["clip_value"] = 0.02;
                        if (loss == 1) plan.heads[0] = {settings("CrossEntropyLoss"), 1, true};
                        auto whole = chainrule_engine.create(plan), pieces = chainrule_engine.create(plan);
                        Problem<double> problem(plan, samples, 7);
                        const std::vector<int64_t>& indices = problem.classes[0];
                        V weight(size_t(samples), 1.0);
                        for (int r = 0; r < samples; ++r) weight[size_t(r)] = 0.5 + r % 3;
                        problem.weigh(weight);
                        problem.write(*whole);
                        problem.write(*pieces);
                        const double lr = 0.01;
                        double epoch_loss = 0;
                        Training training;
                        training.batch = batch;
                        training.shuffle = false;
                        training.lr = &lr;
                        training.losses = &epoch_loss;
                        Position at;
                        CHECK(whole->run(problem.data, training, at) == Outcome::finished);
                        double sum = 0, denominators = 0;
                        for (int first = 0; first < samples; first += batch) {
                            const int rows = std::min(batch, samples - first);
                            Arrays<double> outputs(plan, plan.outputs, rows), dys(plan, plan.outputs, rows);
                            const V& y = outputs[0];
                            V& dy = dys[0];
                            pieces->forward(problem.from(plan, first, rows).x.data(), rows, outputs.to(), true);
                            double denominator = 0;
                            for (int r = 0; r < rows; ++r) denominator += weight[size_t(first + r)] * (loss == 1 ? 1 : n_out);
                            for (int r = 0; r < rows; ++r) {
                                const double w = weight[size_t(first + r)];
                                double total = 0;
                                for (int c = 0; c < n_out; ++c) total += std::exp(y[size_t(r * n_out + c)]);
                                for (int c = 0; c < n_out; ++c) {
                                    const size_t i = size_t(r * n_out + c);
                                    if (loss == 1) {
                                        const bool hit = indices[size_t(first + r)] == c;
                                        const double p = std::exp(y[i]) / total;
                                        dy[i] = w * (p - hit) / denominator;
                                        sum -= hit ? w * std::log(p) : 0;
                                    } else {
                                        const double e = y[i] - problem.target[0][size_t(first * n_out) + i];
                                        dy[i] = 2 * w * e / denominator;
                                        sum += w * e * e;
                                    }
                                }
                            }
                            denominators += denominator;
                            pieces->zero_gradients();
                            pieces->backward(dys.from(), rows, nullptr);
                            pieces->update(lr);
                        }
                        CHECK(std::abs(sum / denominators - epoch_loss) < 1e-12 * epoch_loss, "loss %.15g, pieces %.15g", epoch_loss, sum / denominators);
                        const auto a = read_all<double>(*whole), b = read_all<double>(*pieces);
                        double difference = 0;
                        for (size_t i = 0; i < a.size(); ++i) difference = std::max(difference, std::abs(a[i] - b[i]));
                        // Adaptive rules divide by a root that may be tiny: rounding in a gradient near 0 moves them most.
                        CHECK(difference < (o == 8 ? 1e-6 : 1e-9), "optimizer %d, clipping %d, batch %d, loss %d, width %d: off by %g",
                              int(o), clipping, batch, loss, widths[1], difference);
                    }
}

// Denormal options: while a step runs the processor takes them for 0, while memory is counted it does not. They must count
// the same for both, and as more than 0. (Under AddressSanitizer this is also a test of what is written where.)
template <class T>
void denormal_options(DType dtype) {
    const double least = std::numeric_limits<T>::min();
    for (double tiny : {least, least / 2, double(std::numeric_limits<T>::denorm_min()), std::numeric_limits<double>::denorm_min(), 1e-310, 0.0})
        for (const std::string kind : {"SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "NAdam", "RAdam", "Adamax", "Adadelta", "Rprop", "ASGD"})
            for (const std::string option : {"eps", "momentum", "weight_decay", "initial_accumulator_value", "clip_value", "clip_norm"}) {
                if (kind == "Adadelta" && option == "eps") continue;  // its steps are of that size
                Plan plan = plan_of({{3, 9, 17, 5}}, 7, 20, dtype);
                plan.rules = {{optimizer_settings(kind, {{"lambd", 0}, {option, tiny}}), {}}};
                Problem<T> problem(plan, 20, 11);
                std::fill(problem.parameters[1].begin(), problem.parameters[1].end(), T(-9));  // no unit of the first layer is alive
                auto engine = chainrule_engine.create(plan);
                problem.write(*engine);
                const double lr = 1e-3;
                for (int step = 0; step < 3; ++step) engine->step(problem.from(plan, 0, 7), lr);
                bool finite = true, moved = false;
                const std::vector<T> after = read_all<T>(*engine);
                size_t at = 0;
                for (const std::vector<T>& parameter : problem.parameters)
                    for (T before : parameter) {
                        moved = moved || after[at] != before;
                        finite = finite && std::isfinite(after[at++]);
                    }
                const bool sign_remains = kind == "Rprop" && option == "clip_value";
                const bool clipped = tiny > 0 && option.starts_with("clip_") && !sign_remains;  // down to nothing
                const bool divides_by_zero = tiny == 0 && option == "eps" && kind != "SGD";  // of a dead unit: 0 / 0
                if (!divides_by_zero) CHECK(finite, "%s, %s of %g", kind.c_str(), option.c_str(), tiny);
                CHECK(moved != clipped, "%s, %s of %g", kind.c_str(), option.c_str(), tiny);
            }
}

TEST("denormal options of an optimizer count as the smallest number that is more than 0") {
    denormal_options<float>(DType::float32);
    denormal_options<double>(DType::float64);
}

TEST("parameters that were ruined can be written anew") {  // their padding is ruined too
    Plan plan = plan_of({{3, 9, 2}, settings("Tanh")}, 4, 4, DType::float32);
    plan.rules[0].optimizer.numbers["clip_norm"] = 1;
    Problem<float> problem(plan, 4, 3);
    auto engine = chainrule_engine.create(plan), fresh = chainrule_engine.create(plan);
    problem.write(*engine), problem.write(*fresh);
    const std::vector<float> strange(12, NAN);
    Dataset data = problem.data;
    data.x[0] = strange.data();
    engine->step(data, 0.1);
    for (float v : read_all<float>(*engine)) CHECK(std::isnan(v));  // as in PyTorch: a norm of NaN scales by NaN
    problem.write(*engine);
    for (auto* e : {engine.get(), fresh.get()}) e->step(problem.data, 0.1);
    CHECK(read_all<float>(*engine) == read_all<float>(*fresh));
}

TEST("evaluate gives the loss of the whole data set, and dropout is quiet in it") {
    Builder net(DType::float64);
    net.head(net.linear(net.add("ReLU", {net.linear(net.dropout(net.add("ReLU", {net.linear(net.input(3), 40)}), 0.5), 40)}), 2));
    net.optimizer("SGD");
    net.plan.batch = 32;
    const Plan& plan = net.plan;
    auto engine = chainrule_engine.create(plan);
    Problem<double> problem(plan, 500, 3);
    problem.write(*engine);
    Arrays<double> y(plan, plan.outputs, 500), y2(plan, plan.outputs, 500), y3(plan, plan.outputs, 500);
    LossSum loss;
    engine->evaluate(problem.data, &loss, y.to());
    engine->predict(problem.data.x.data(), 500, y2.to());
    CHECK(y[0] == y2[0]);
    double sum = 0;
    for (size_t i = 0; i < y[0].size(); ++i) sum += (y[0][i] - problem.target[0][i]) * (y[0][i] - problem.target[0][i]);
    CHECK(std::abs(loss.sum - sum) < 1e-12 * sum && loss.denominator == 1000);
    engine->forward(problem.data.x.data(), 32, y3.to(), false);
    CHECK(std::equal(y3[0].begin(), y3[0].begin() + 64, y[0].begin()));
    // In training the same rows come out otherwise, and differently from pass to pass.
    engine->forward(problem.data.x.data(), 32, y3.to(), true);
    engine->forward(problem.data.x.data(), 32, y2.to(), true);
    CHECK(y3[0][0] != y[0][0] && y2[0][0] != y3[0][0]);
}

// The numbers of Python's layout are all there is: nothing that lies in the padding may reach a result.
TEST("an engine that takes over another's parameters goes on with the same bits, for every activation") {
    auto compare_plans = [](auto type, Plan plan, int batch, const std::string& name) {
        using T = decltype(type);
        plan.batch = plan.samples = batch, plan.dtype = sizeof(T) == 4 ? DType::float32 : DType::float64;
        auto first = chainrule_engine.create(plan), second = chainrule_engine.create(plan);
        Problem<T> problem(plan, batch, 6);
        problem.write(*first);
        for (int step = 0; step < 4; ++step) first->step(problem.data, 0.001);
        for (size_t i = 0; i < plan.parameters.size(); ++i) {
            std::vector<T> v(problem.parameters[i].size());
            first->read_parameter(int(i), v.data());
            second->write_parameter(int(i), v.data());
        }
        Arrays<T> y(plan, plan.outputs, batch), y2(plan, plan.outputs, batch), dx(plan, plan.inputs, batch), dx2(plan, plan.inputs, batch);
        for (auto [engine, to, dx_to] : {std::tuple{first.get(), &y, &dx}, {second.get(), &y2, &dx2}}) {
            engine->predict(problem.data.x.data(), batch, to->to());
            const double loss = engine->step(problem.data, 0.001);
            CHECK(std::isfinite(loss));
            engine->forward(problem.data.x.data(), batch, to->to(), true);
            engine->backward(problem.data.targets.data(), batch, dx_to->to());
        }
        CHECK(y.values == y2.values && dx.values == dx2.values && read_all<T>(*first) == read_all<T>(*second), "%s, batch %d", name.c_str(), batch);
    };
    auto compare = [&](auto type, const Settings& activation, const std::vector<int>& widths, int batch, int threads) {
        compare_plans(type, plan_of({widths, activation}, batch, batch, DType::float32, threads), batch,
                      activation.kind + ", " + std::to_string(widths[0]) + "-" + std::to_string(widths[1]) + ", " + std::to_string(threads) + " threads");
    };
    std::vector<std::string> kinds = elementwise_kinds;
    kinds.insert(kinds.end(), {"Softmax", "LogSoftmax"});
    for (const std::string& kind : kinds)
        for (const auto& widths : {std::vector<int>{2, 25, 25, 2}, {3, 5, 3}, {9, 33, 17, 40}, {20, 9, 1}, {4, 6, 30, 4}})
            for (int batch : {1, 10}) {
                compare(float(), settings(kind), widths, batch, 1);
                compare(double(), settings(kind), widths, batch, 1);
            }
    compare(float(), settings("Sigmoid"), {9, 100, 90, 5}, 600, 3);
    for (int channels : {1, 5, 9, 18, 33})  // padding of images: what a sigmoid leaves there, what a sum has elsewhere
        for (int batch : {1, 10, 40}) {
            Builder net;
            const int x = net.channels_last(net.input(6 * channels), 6), h = net.add("Sigmoid", {net.convolution(x, channels, {{3, 2}, {2}})});
            const int around = net.positions(h, padded({{2, 1, 1, 1, 1}, {2}}, Around::nothing), 0.5), y = net.transposed(net.convolution(around, channels, {{4, 3}, {2, 2}}), 5, {{4, 3}});
            net.head(net.linear(net.channels_first(net.add("Softplus", {net.max_pool(net.depthwise({net.transposed(net.add("Sigmoid", {y}), channels, {{8, 2, 2}})}, {{8, 3}}), seen({{6, 2, 2}}))})), 3));
            net.optimizer("SGD");
            // And a narrow Linear before, whose products run over the padding of dy and of its weight.
            const int narrow = net.linear(net.channels_last(net.input(4 * 5), 4), channels);
            net.head(net.linear(net.channels_first(net.transposed(net.add("Sigmoid", {narrow}), 3, {{6, 3}})), 2));
            compare_plans(float(), net.plan, batch, "images of " + std::to_string(channels) + " channels");
            compare_plans(double(), net.plan, batch, "images of " + std::to_string(channels) + " channels");
        }
}

TEST("what is not finite ends the run, and is never the best") {
    Plan plan = plan_of({{2, 20, 2}, settings("Tanh")}, 10, 20, DType::float32);
    Problem<float> problem(plan, 20, 1), held_out(plan, 20, 1);
    std::vector<double> losses(3), validation(3), seconds(3), lr(3, 0.01);
    Training training;
    training.batch = 10;
    training.lr = lr.data();
    training.end_epoch = 3;
    training.losses = losses.data();
    training.validation = &held_out.data;
    training.validation_losses = validation.data();
    training.seconds = seconds.data();
    training.keep_best = true;
    auto run = [&](Engine& engine) {
        Position at;
        problem.write(engine);
        engine.set_best({});
        return engine.run(problem.data, training, at);
    };
    auto engine = chainrule_engine.create(plan);
    CHECK(run(*engine) == Outcome::finished && engine->best().epoch >= 0);
    CHECK(0 < seconds[0] && seconds[0] < seconds[1] && seconds[1] < seconds[2]);
    held_out.x[0][7] = std::numeric_limits<float>::quiet_NaN();
    CHECK(run(*engine) == Outcome::not_finite && engine->best().epoch == -1);
    held_out.x[0][7] = 0;
    held_out.target[0][3] = -std::numeric_limits<float>::infinity();
    CHECK(run(*engine) == Outcome::not_finite && engine->best().epoch == -1);
    held_out.target[0][3] = 0;
    problem.x[0][3] = std::numeric_limits<float>::infinity();
    CHECK(run(*engine) == Outcome::not_finite && engine->best().epoch == -1);
    problem.x[0][3] = 0;
    // tanh hides weights that are infinite, and no loss of this epoch shows what its last update does
    lr[0] = 1e38;
    for (float& w : problem.parameters[2]) w = 0;
    training.batch = 10;
    plan.batch = 20;
    engine = chainrule_engine.create(plan);
    training.batch = 20;
    training.validation = nullptr;
    problem.target[0][0] = 1e3f;
    CHECK(run(*engine) == Outcome::not_finite && engine->best().epoch == -1 && std::isfinite(losses[0]), "loss %g", losses[0]);
}

TEST("what does not fit is refused with a message, before anything runs") {
    auto refused = [](auto f) {
        try {
            f();
        } catch (const std::exception& e) {
            return e.what()[0] != 0;
        }
        return false;
    };
    Plan plan = plan_of({{2, 5, 3}}, 8, 20, DType::float32);
    CHECK(refused([&] { Plan p = plan; p.batch = int64_t(1) << 62; chainrule_engine.create(p); }));
    CHECK(refused([&] { Plan p = plan; p.batch = int64_t(1) << 40; p.limit_bytes = int64_t(1) << 30; chainrule_engine.create(p); }));
    CHECK(refused([&] { Plan p = plan; p.samples = int64_t(1) << 61; chainrule_engine.create(p); }));
    plan.heads[0] = {settings("CrossEntropyLoss"), 1, true};
    auto engine = chainrule_engine.create(plan);
    Problem<float> problem(plan, 9, 1);
    std::vector<int64_t>& indices = problem.classes[0];
    indices = {0, 1, 2, 0, 1, 2, 0, 3, 0};
    Dataset data = problem.from(plan, 0, 8);
    CHECK(refused([&] { engine->step(data, 0.1); }));
    indices[7] = -1;
    CHECK(refused([&] { engine->step(data, 0.1); }));
    indices[7] = -100;
    CHECK(!refused([&] { engine->step(data, 0.1); }));
    CHECK(refused([&] { engine->step(problem.data, 0.1); }));  // nine rows
    for (auto spoil : {+[](Dataset& d) { d.x.clear(); }, +[](Dataset& d) { d.x[0] = nullptr; }, +[](Dataset& d) { d.targets.clear(); },
                       +[](Dataset& d) { d.targets[0] = nullptr; }, +[](Dataset& d) { d.targets.push_back(d.targets[0]); }, +[](Dataset& d) { d.rows = 0; }}) {
        Dataset spoilt = data;
        spoil(spoilt);
        CHECK(refused([&] { engine->step(spoilt, 0.1); }));
    }
    Arrays<float> y(plan, plan.outputs, 8);
    CHECK(refused([&] { engine->backward(y.from(), 8, nullptr); }));
    engine->forward(data.x.data(), 4, y.to(), true);
    CHECK(refused([&] { engine->backward(y.from(), 8, nullptr); }));
    CHECK(refused([&] { engine->forward(data.x.data(), 9, y.to(), true); }));
    CHECK(refused([&] { engine->read_parameter(99, y[0].data()); }));
    CHECK(refused([&] { engine->read_state(0, 0, y[0].data()); }));
}

}  // namespace

TEST_MAIN
