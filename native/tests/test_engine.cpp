// Whole training runs against a naive loop in double; and the promises about bits: slices, threads, repetition.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <tuple>

#include "../src/engine.h"
#include "check.h"
#include "naive_linear.h"
#include "optimizer_settings.h"

using namespace chainrule;

namespace {

struct Shape {
    std::vector<int> widths;
    ActivationKind activation = ActivationKind::ReLU;
    bool shared = false;  // the two middle layers share weights and biases
    bool bias = true;
};

Plan plan_of(const Shape& shape, int batch, int samples, DType dtype, int threads = 1) {
    Plan plan;
    plan.dtype = dtype;
    plan.n_in = shape.widths[0];
    int shared_weight = -1;
    for (size_t i = 1; i < shape.widths.size(); ++i) {
        Op op;
        if (shape.shared && shape.widths[i] == shape.widths[i - 1] && shared_weight >= 0) {
            op.weight = shared_weight;
            op.bias = shape.bias ? shared_weight + 1 : -1;
        } else {
            op.weight = int(plan.parameters.size());
            plan.parameters.push_back({shape.widths[i], shape.widths[i - 1]});
            if (shape.bias) {
                op.bias = op.weight + 1;
                plan.parameters.push_back({shape.widths[i], 0});
            }
            if (shape.shared && shape.widths[i] == shape.widths[i - 1]) shared_weight = op.weight;
        }
        plan.ops.push_back(op);
        if (i + 1 == shape.widths.size()) continue;
        Op activation;
        activation.kind = OpKind::activation;
        activation.activation.kind = shape.activation;
        plan.ops.push_back(activation);
    }
    plan.has_loss = plan.has_optimizer = true;
    plan.optimizer = optimizer_settings("SGD");
    plan.batch = batch;
    plan.samples = samples;
    plan.threads = threads;
    return plan;
}

template <class T>
struct Problem {
    std::vector<T> x, target;
    std::vector<std::vector<T>> parameters;
    Dataset data;

    Problem(const Plan& plan, int n_out, int samples, int seed) {
        std::mt19937 rng{unsigned(seed)};
        std::uniform_real_distribution<double> d(-1, 1);
        x.resize(size_t(samples * plan.n_in));
        target.resize(size_t(samples * n_out));
        for (T& v : x) v = T(d(rng));
        for (T& v : target) v = T(d(rng));
        for (const ParameterShape& p : plan.parameters) {
            parameters.emplace_back(size_t(p.n_out * (p.n_in ? p.n_in : 1)));
            for (T& v : parameters.back()) v = T(d(rng) / std::sqrt(double(p.n_in ? p.n_in : 10)));
        }
        data = {samples, x.data(), target.data(), nullptr, nullptr};
    }

    void write(Engine& engine) const {
        for (size_t i = 0; i < parameters.size(); ++i) engine.write_parameter(int(i), parameters[i].data());
    }
};

template <class T>
std::vector<T> read_all(const Engine& engine) {
    std::vector<T> all;
    for (size_t i = 0; i < engine.plan().parameters.size(); ++i) {
        const ParameterShape& p = engine.plan().parameters[i];
        std::vector<T> v(size_t(p.n_out * (p.n_in ? p.n_in : 1)));
        engine.read_parameter(int(i), v.data());
        all.insert(all.end(), v.begin(), v.end());
    }
    return all;
}

// ReLU or Tanh, mean squared error, SGD: one step on rows first … first + rows - 1. Returns Σ errors².
double naive_step(const Plan& plan, std::vector<std::vector<double>>& parameters, const std::vector<double>& data_x,
                  const std::vector<double>& data_target, int64_t first, int64_t rows, double lr) {
    using V = std::vector<double>;
    std::vector<V> values{V(data_x.begin() + first * plan.n_in, data_x.begin() + (first + rows) * plan.n_in)};
    std::vector<int64_t> widths{plan.n_in};
    for (const Op& op : plan.ops) {
        const V& x = values.back();
        if (op.kind == OpKind::linear) {
            const ParameterShape& w = plan.parameters[size_t(op.weight)];
            values.push_back(naive::linear_forward(x, parameters[size_t(op.weight)],
                                                   op.bias >= 0 ? parameters[size_t(op.bias)] : V{}, rows, w.n_in, w.n_out));
            widths.push_back(w.n_out);
        } else {
            V y = x;
            for (double& v : y) v = op.activation.kind == ActivationKind::ReLU ? (v > 0 ? v : 0) : std::tanh(v);
            values.push_back(y);
            widths.push_back(widths.back());
        }
    }
    const int64_t n_out = widths.back();
    V dy = values.back();
    double sum = 0;
    for (size_t i = 0; i < dy.size(); ++i) {
        const double e = dy[i] - data_target[size_t(first * n_out) + i];
        sum += e * e;
        dy[i] = 2 * e / double(rows * n_out);
    }
    std::vector<V> gradients;
    for (const V& p : parameters) gradients.emplace_back(p.size(), 0.0);
    for (size_t i = plan.ops.size(); i-- > 0;) {
        const Op& op = plan.ops[i];
        if (op.kind == OpKind::linear) {
            const ParameterShape& w = plan.parameters[size_t(op.weight)];
            const V dw = naive::linear_dw(values[i], dy, rows, w.n_in, w.n_out), db = naive::linear_db(dy, rows, w.n_out);
            for (size_t j = 0; j < dw.size(); ++j) gradients[size_t(op.weight)][j] += dw[j];
            if (op.bias >= 0)
                for (size_t j = 0; j < db.size(); ++j) gradients[size_t(op.bias)][j] += db[j];
            dy = naive::linear_dx(dy, parameters[size_t(op.weight)], rows, w.n_in, w.n_out);
        } else {
            const V& y = values[i + 1];
            for (size_t j = 0; j < dy.size(); ++j)
                dy[j] *= op.activation.kind == ActivationKind::ReLU ? (y[j] > 0 ? 1 : 0) : 1 - y[j] * y[j];
        }
    }
    for (size_t i = 0; i < parameters.size(); ++i)
        for (size_t j = 0; j < parameters[i].size(); ++j) parameters[i][j] -= lr * gradients[i][j];
    return sum;
}

void train_and_compare(const Shape& shape, int batch, int samples, int threads = 1) {
    const int n_out = shape.widths.back();
    const Plan plan = plan_of(shape, batch, samples, DType::float64, threads);
    auto engine = chainrule_engine.create(plan);
    Problem<double> problem(plan, n_out, samples, batch);
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
    auto parameters = problem.parameters;
    for (int e = 0; e < epochs; ++e) {
        double sum = 0;
        for (int first = 0; first < samples; first += batch)
            sum += naive_step(plan, parameters, problem.x, problem.target, first, std::min(batch, samples - first), lr[size_t(e)]);
        const double loss = sum / (samples * n_out);
        CHECK(std::abs(loss - losses[size_t(e)]) <= 1e-11 * loss, "epoch %d: naive %.15g, engine %.15g; batch %d, width %d",
              e, loss, losses[size_t(e)], batch, shape.widths[1]);
    }
    std::vector<double> want;
    for (const auto& p : parameters) want.insert(want.end(), p.begin(), p.end());
    const std::vector<double> got = read_all<double>(*engine);
    for (size_t i = 0; i < want.size(); ++i)
        if (!(std::abs(want[i] - got[i]) <= 1e-11)) {
            CHECK(std::abs(want[i] - got[i]) <= 1e-11, "number %d: naive %.15g, engine %.15g; batch %d, widths %d %d, shared %d",
                  int(i), want[i], got[i], batch, shape.widths[0], shape.widths[1], shape.shared);
            return;
        }
    CHECK(true);
}

const std::vector<std::vector<int>> networks = {
    {2, 25, 25, 25, 2}, {1, 1}, {3, 17, 33, 5}, {7, 50, 1}, {7, 1, 50, 3}, {4, 4, 4, 4}, {2, 8, 9, 8, 3},
    {30, 8, 40, 2}, {64, 64, 64, 64, 4}, {20, 10}, {8, 20, 8}, {40, 5, 5, 40}};

TEST("training equals the naive loop, for every kind of shape") {
    for (const auto& widths : networks)
        for (int batch : {1, 2, 7, 16, 33, 100}) {
            train_and_compare({widths}, batch, 107);
            train_and_compare({widths, ActivationKind::Tanh}, batch, 107);
            train_and_compare({widths, ActivationKind::ReLU, true}, batch, 50);
            train_and_compare({widths, ActivationKind::ReLU, false, false}, batch, 50);
        }
    train_and_compare({{5, 300, 270, 3}}, 20, 40);
    train_and_compare({{5, 300, 300, 300, 3}, ActivationKind::Tanh, true}, 20, 40);
    train_and_compare({{20, 400, 400, 20}}, 300, 600);
    train_and_compare({{100, 1000, 1}}, 10, 20);
}

TEST("training on three threads equals the naive loop") {
    for (int batch : {100, 257, 600}) {
        train_and_compare({{9, 100, 90, 5}}, batch, 600, 3);
        train_and_compare({{9, 100, 100, 90, 5}, ActivationKind::Tanh, true}, batch, 600, 3);
        train_and_compare({{150, 8, 150, 7}}, batch, 600, 2);
        train_and_compare({{300, 300, 40}}, batch, 600, 4);
    }
}

TEST("training on several threads layer by layer equals the naive loop") {
    for (int batch : {2, 7, 20, 31}) {  // few rows
        train_and_compare({{20, 400, 270, 400, 20}}, batch, 40, 3);
        train_and_compare({{20, 400, 400, 400, 3}, ActivationKind::Tanh, true}, batch, 40, 2);
        train_and_compare({{700, 8, 700, 7}}, batch, 40, 2);
        train_and_compare({{200, 264, 265, 9, 300}, ActivationKind::ReLU, false, false}, batch, 40, 4);
    }
    train_and_compare({{30, 520, 505, 12}}, 100, 200, 3);  // a weight of more than a megabyte
}

template <class T>
void same_bits(const Shape& shape, int batch, int samples, int threads) {
    auto train = [&](int n_threads, int64_t slice, std::vector<double>& losses) {
        const Plan plan = plan_of(shape, batch, samples, sizeof(T) == 4 ? DType::float32 : DType::float64, n_threads);
        auto engine = chainrule_engine.create(plan);
        Problem<T> problem(plan, shape.widths.back(), samples, 5);
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
    std::printf("      bits %016llx  %d-%d, batch %d, %s\n", static_cast<unsigned long long>(hash), shape.widths[0],
                shape.widths[1], batch, sizeof(T) == 4 ? "float32" : "float64");
}

TEST("the same bits for slices, threads and repeated runs") {
    for (int batch : {1, 10, 100, 160, 300}) {
        same_bits<float>({{2, 25, 25, 25, 2}}, batch, 600, 2);
        same_bits<double>({{2, 25, 25, 25, 2}}, batch, 600, 2);
        same_bits<float>({{9, 100, 90, 5}}, batch, 600, 2);
        same_bits<double>({{9, 100, 90, 5}}, batch, 600, 2);
        same_bits<float>({{40, 150, 8, 70, 11}, ActivationKind::Tanh}, batch, 600, 3);
        same_bits<double>({{40, 150, 8, 70, 11}, ActivationKind::Tanh}, batch, 600, 3);
        same_bits<float>({{4, 4, 4, 4}}, batch, 600, 3);
    }
    for (int batch : {2, 20, 300}) {
        same_bits<float>({{70, 600, 500, 3}}, batch, 600, 2);
        same_bits<double>({{30, 264, 300, 9, 200, 4}, ActivationKind::Tanh}, batch, 600, 3);
    }
}

TEST("predict and forward give the same as the naive loop, and backward's dx too") {
    for (const auto& widths : networks)
        for (int rows : {1, 3, 50, 300}) {
            const Plan plan = plan_of({widths}, rows, 0, DType::float64);
            auto engine = chainrule_engine.create(plan);
            Problem<double> problem(plan, widths.back(), rows, 4);
            problem.write(*engine);
            std::vector<double> y(size_t(rows * widths.back())), y2 = y, dx(size_t(rows * widths[0]));
            engine->predict(problem.x.data(), rows, y.data());
            engine->forward(problem.x.data(), rows, y2.data(), true);
            // Central differences of Σ dy · y along one direction, and the gradient in that direction.
            engine->backward(problem.target.data(), rows, dx.data());
            std::vector<double> value = problem.x;
            for (const Op& op : plan.ops)
                if (op.kind == OpKind::linear) {
                    const ParameterShape& w = plan.parameters[size_t(op.weight)];
                    value = naive::linear_forward(value, problem.parameters[size_t(op.weight)],
                                                  problem.parameters[size_t(op.bias)], rows, w.n_in, w.n_out);
                } else {
                    for (double& v : value) v = v > 0 ? v : 0;
                }
            double difference = 0, other = 0;
            for (size_t i = 0; i < y.size(); ++i) {
                difference = std::max(difference, std::abs(y[i] - value[i]));
                other = std::max(other, std::abs(y2[i] - value[i]));
            }
            CHECK(difference <= 1e-12 && other <= 1e-12, "%g %g rows %d, %d-%d", difference, other, rows, widths[0], widths[1]);
            const double h = 1e-7;
            std::vector<double> up = problem.x, down = problem.x, yu = y, yd = y;
            double along = 0, norm = 0;
            for (size_t i = 0; i < up.size(); ++i) {
                const double direction = std::sin(double(i) + 1);
                up[i] += h * direction;
                down[i] -= h * direction;
                along += direction * dx[i];
                norm += std::abs(dx[i]);
            }
            engine->predict(up.data(), rows, yu.data());
            engine->predict(down.data(), rows, yd.data());
            double slope = 0;
            for (size_t i = 0; i < y.size(); ++i) slope += problem.target[i] * (yu[i] - yd[i]) / (2 * h);
            CHECK(std::abs(slope - along) <= 1e-5 * (norm + 1), "slope %g, along dx %g; rows %d, %d-%d", slope, along, rows,
                  widths[0], widths[1]);
        }
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
    };
    for (size_t o = 0; o < optimizers.size(); ++o)
        for (int clipping = 0; clipping < 4; ++clipping)
            for (int batch : {1, 9, 40})
                for (int loss = 0; loss < 2; ++loss)
                    for (const auto& widths : {std::vector<int>{3, 25, 25, 5}, {4, 12, 12, 40}, {2, 6, 6, 3}}) {
                        const int samples = 43, n_out = widths.back();
                        Plan plan = plan_of({widths, ActivationKind::Tanh, o % 2 == 0}, batch, samples, DType::float64);
                        plan.optimizer = optimizers[o];
                        if (clipping % 2 == 1) plan.optimizer.numbers["clip_norm"] = clipping == 1 ? 0.3 : 0.1;
                        if (clipping >= 2) plan.optimizer.numbers["clip_value"] = 0.02;
                        plan.class_targets = loss == 1;
                        plan.sample_weights = true;
                        if (loss == 1) plan.loss.kind = LossKind::CrossEntropyLoss;
                        auto whole = chainrule_engine.create(plan), pieces = chainrule_engine.create(plan);
                        Problem<double> problem(plan, n_out, samples, 7);
                        std::vector<int64_t> indices(size_t(samples), 0);
                        std::vector<double> weight(size_t(samples), 1.0);
                        for (int r = 0; r < samples; ++r) {
                            indices[size_t(r)] = r % n_out;
                            weight[size_t(r)] = 0.5 + r % 3;
                        }
                        problem.data.indices = indices.data();
                        problem.data.sample_weight = weight.data();
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
                            std::vector<double> y(size_t(rows * n_out)), dy = y;
                            pieces->forward(problem.x.data() + first * widths[0], rows, y.data(), true);
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
                                        const double e = y[i] - problem.target[size_t(first * n_out) + i];
                                        dy[i] = 2 * w * e / denominator;
                                        sum += w * e * e;
                                    }
                                }
                            }
                            denominators += denominator;
                            pieces->zero_gradients();
                            pieces->backward(dy.data(), rows, nullptr);
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
        for (const std::string kind : {"SGD", "Adam", "AdamW", "RMSprop", "Adagrad"})
            for (const std::string option : {"eps", "momentum", "weight_decay", "initial_accumulator_value", "clip_value", "clip_norm"}) {
                Plan plan = plan_of({{3, 9, 17, 5}, ActivationKind::ReLU}, 7, 20, dtype);
                plan.optimizer = optimizer_settings(kind, {{option, tiny}});
                Problem<T> problem(plan, 5, 20, 11);
                std::fill(problem.parameters[1].begin(), problem.parameters[1].end(), T(-9));  // no unit of the first layer is alive
                auto engine = chainrule_engine.create(plan);
                problem.write(*engine);
                const double lr = 1e-3;
                for (int step = 0; step < 3; ++step) engine->step({7, problem.x.data(), problem.target.data(), nullptr, nullptr}, lr);
                bool finite = true, moved = false;
                const std::vector<T> after = read_all<T>(*engine);
                size_t at = 0;
                for (const std::vector<T>& parameter : problem.parameters)
                    for (T before : parameter) {
                        moved = moved || after[at] != before;
                        finite = finite && std::isfinite(after[at++]);
                    }
                const bool clipped = tiny > 0 && option.starts_with("clip_");  // down to nothing
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
    Plan plan = plan_of({{3, 9, 2}, ActivationKind::Tanh}, 4, 4, DType::float32);
    plan.optimizer.numbers["clip_norm"] = 1;
    Problem<float> problem(plan, 2, 4, 3);
    auto engine = chainrule_engine.create(plan), fresh = chainrule_engine.create(plan);
    problem.write(*engine), problem.write(*fresh);
    std::vector<float> strange(12, NAN);
    engine->step({4, strange.data(), problem.target.data(), nullptr, nullptr}, 0.1);
    for (float v : read_all<float>(*engine)) CHECK(std::isnan(v));  // as in PyTorch: a norm of NaN scales by NaN
    problem.write(*engine);
    for (auto* e : {engine.get(), fresh.get()}) e->step(problem.data, 0.1);
    CHECK(read_all<float>(*engine) == read_all<float>(*fresh));
}

TEST("evaluate gives the loss of the whole data set, and dropout is quiet in it") {
    Plan plan = plan_of({{3, 40, 40, 2}}, 32, 500, DType::float64);
    Op dropout;
    dropout.kind = OpKind::dropout;
    dropout.p = 0.5;
    plan.ops.insert(plan.ops.begin() + 2, dropout);
    auto engine = chainrule_engine.create(plan);
    Problem<double> problem(plan, 2, 500, 3);
    problem.write(*engine);
    std::vector<double> y(1000), y2(1000), y3(1000);
    const LossSum loss = engine->evaluate(problem.data, y.data());
    engine->predict(problem.x.data(), 500, y2.data());
    CHECK(y == y2);
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i) sum += (y[i] - problem.target[i]) * (y[i] - problem.target[i]);
    CHECK(std::abs(loss.sum - sum) < 1e-12 * sum && loss.denominator == 1000);
    engine->forward(problem.x.data(), 32, y3.data(), false);
    CHECK(std::memcmp(y3.data(), y.data(), 64 * sizeof(double)) == 0 || std::abs(y3[0] - y[0]) < 1e-14);
    // In training the same rows come out otherwise, and differently from pass to pass.
    engine->forward(problem.x.data(), 32, y3.data(), true);
    engine->forward(problem.x.data(), 32, y2.data(), true);
    CHECK(y3[0] != y[0] && y2[0] != y3[0]);
}

// The numbers of Python's layout are all there is: nothing that lies in the padding may reach a result.
TEST("an engine that takes over another's parameters goes on with the same bits, for every activation") {
    auto compare = [](auto type, ActivationKind kind, const std::vector<int>& widths, int batch, int threads) {
        using T = decltype(type);
        const int n_out = widths.back();
        const Plan plan = plan_of({widths, kind}, batch, batch, sizeof(T) == 4 ? DType::float32 : DType::float64, threads);
        auto first = chainrule_engine.create(plan), second = chainrule_engine.create(plan);
        Problem<T> problem(plan, n_out, batch, 6);
        problem.write(*first);
        for (int step = 0; step < 4; ++step) first->step(problem.data, 0.001);
        for (size_t i = 0; i < plan.parameters.size(); ++i) {
            std::vector<T> v(problem.parameters[i].size());
            first->read_parameter(int(i), v.data());
            second->write_parameter(int(i), v.data());
        }
        std::vector<T> y(size_t(batch * n_out)), y2 = y, dx(problem.x.size()), dx2 = dx;
        for (auto [engine, to, dx_to] : {std::tuple{first.get(), &y, &dx}, {second.get(), &y2, &dx2}}) {
            engine->predict(problem.x.data(), batch, to->data());
            const double loss = engine->step(problem.data, 0.001);
            CHECK(std::isfinite(loss));
            engine->forward(problem.x.data(), batch, to->data(), true);
            engine->backward(problem.target.data(), batch, dx_to->data());
        }
        CHECK(std::memcmp(y.data(), y2.data(), y.size() * sizeof(T)) == 0 && std::memcmp(dx.data(), dx2.data(), dx.size() * sizeof(T)) == 0 &&
                  read_all<T>(*first) == read_all<T>(*second),
              "activation %d, batch %d, %d-%d, %d threads", int(kind), batch, widths[0], widths[1], threads);
    };
    for (int kind = 0; kind <= int(ActivationKind::LogSoftmax); ++kind)
        for (const auto& widths : {std::vector<int>{2, 25, 25, 2}, {3, 5, 3}, {9, 33, 17, 40}, {20, 9, 1}, {4, 6, 30, 4}})
            for (int batch : {1, 10}) {
                compare(float(), ActivationKind(kind), widths, batch, 1);
                compare(double(), ActivationKind(kind), widths, batch, 1);
            }
    compare(float(), ActivationKind::Sigmoid, {9, 100, 90, 5}, 600, 3);
}

TEST("what is not finite ends the run, and is never the best") {
    Plan plan = plan_of({{2, 20, 2}, ActivationKind::Tanh}, 10, 20, DType::float32);
    Problem<float> problem(plan, 2, 20, 1);
    Problem<float> held_out = problem;
    held_out.data = {20, held_out.x.data(), held_out.target.data(), nullptr, nullptr};
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
    held_out.x[7] = std::numeric_limits<float>::quiet_NaN();
    CHECK(run(*engine) == Outcome::not_finite && engine->best().epoch == -1);
    held_out.x[7] = 0;
    held_out.target[3] = -std::numeric_limits<float>::infinity();
    CHECK(run(*engine) == Outcome::not_finite && engine->best().epoch == -1);
    held_out.target[3] = 0;
    problem.x[3] = std::numeric_limits<float>::infinity();
    CHECK(run(*engine) == Outcome::not_finite && engine->best().epoch == -1);
    problem.x[3] = 0;
    // tanh hides weights that are infinite, and no loss of this epoch shows what its last update does
    lr[0] = 1e38;
    for (float& w : problem.parameters[2]) w = 0;
    training.batch = 10;
    plan.batch = 20;
    engine = chainrule_engine.create(plan);
    training.batch = 20;
    training.validation = nullptr;
    problem.target[0] = 1e3f;
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
    CHECK(refused([&] { Plan p = plan; p.n_in = 3; chainrule_engine.create(p); }));
    CHECK(refused([&] { Plan p = plan; p.ops[0].weight = 17; chainrule_engine.create(p); }));
    CHECK(refused([&] { Plan p = plan; p.ops[0].bias = 0; chainrule_engine.create(p); }));
    CHECK(refused([&] { Plan p = plan; p.batch = int64_t(1) << 62; chainrule_engine.create(p); }));
    CHECK(refused([&] { Plan p = plan; p.batch = int64_t(1) << 40; p.limit_bytes = int64_t(1) << 30; chainrule_engine.create(p); }));
    CHECK(refused([&] { Plan p = plan; p.samples = int64_t(1) << 61; chainrule_engine.create(p); }));
    plan.class_targets = true;
    plan.loss.kind = LossKind::CrossEntropyLoss;
    auto engine = chainrule_engine.create(plan);
    Problem<float> problem(plan, 3, 8, 1);
    std::vector<int64_t> indices{0, 1, 2, 0, 1, 2, 0, 3};
    Dataset data{8, problem.x.data(), nullptr, indices.data(), nullptr};
    CHECK(refused([&] { engine->step(data, 0.1); }));
    indices[7] = -1;
    CHECK(refused([&] { engine->step(data, 0.1); }));
    indices[7] = -100;
    CHECK(!refused([&] { engine->step(data, 0.1); }));
    data.rows = 9;
    CHECK(refused([&] { engine->step(data, 0.1); }));
    float dy[24] = {}, y[24];
    CHECK(refused([&] { engine->backward(dy, 8, nullptr); }));
    engine->forward(problem.x.data(), 4, y, true);
    CHECK(refused([&] { engine->backward(dy, 8, nullptr); }));
    CHECK(refused([&] { engine->read_parameter(99, y); }));
}

}  // namespace

TEST_MAIN
