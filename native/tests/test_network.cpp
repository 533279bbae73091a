// Networks with branches: whole engines on plans drawn from seeds, against the naive network, and against themselves for any
// number of threads and for slices; and plans that are broken.
#include <cmath>
#include <functional>
#include <limits>

#include "../src/network.h"
#include "../src/share.h"
#include "check.h"
#include "naive_losses.h"
#include "naive_plan.h"
#include "naive_rules.h"
#include "problems.h"
#include "random_plans.h"
#include "random_rules.h"

using namespace chainrule;

namespace {

using V = std::vector<double>;

std::string text_of(const Plan& plan) {
    std::string text = "\n      inputs";
    const auto shape = [&](int v) {
        const ValueShape& s = plan.values[size_t(v)];
        std::string all = " ";
        return all.append(std::to_string(v)).append(" [").append(std::to_string(s.columns)).append(" x ").append(std::to_string(s.positions)).append("]");
    };
    for (int v : plan.inputs) text += shape(v);
    for (const Op& op : plan.ops) {
        text += "\n      " + op.settings.kind + " (";
        for (int v : op.inputs) (text += " ") += std::to_string(v);
        text += " ) ->" + shape(op.output);
        for (int p : op.parameters) (text += " p") += std::to_string(p);
    }
    text += "\n      outputs";
    for (size_t k = 0; k < plan.outputs.size(); ++k) text += shape(plan.outputs[k]) + " " + (k < plan.heads.size() ? plan.heads[k].loss.kind : "");
    return text;
}

// The largest difference, beside the largest number.
double difference(const V& want, const V& got) {
    double most = 0, size = 1;
    for (size_t i = 0; i < want.size(); ++i) most = std::max(most, std::abs(want[i] - got[i])), size = std::max(size, std::abs(want[i]));
    bool numbers = true;
    for (double v : got) numbers = numbers && std::isfinite(v);
    return numbers && want.size() == got.size() ? most / size : std::numeric_limits<double>::infinity();
}

// Rows first … first + rows - 1 of each array.
std::vector<V> part(const Plan& plan, const std::vector<int>& of, const std::vector<V>& all, int64_t first, int64_t rows) {
    std::vector<V> parts;
    for (size_t i = 0; i < all.size(); ++i) {
        const int64_t n = plan.values[size_t(of[i])].size();
        parts.emplace_back(all[i].begin() + first * n, all[i].begin() + (first + rows) * n);
    }
    return parts;
}

// What the heads make of these rows: sums and denominators are added to theirs, gradients of Σ weight · loss returned.
std::vector<V> naive_heads(naive::Network& network, const Problem<double>& problem, int64_t first, int64_t rows, std::vector<LossSum>& losses) {
    const Plan& plan = network.plan;
    const std::vector<V> targets = part(plan, plan.outputs, problem.target, first, rows);
    std::vector<V> dys;
    for (size_t k = 0; k < plan.heads.size(); ++k) {
        const size_t columns = size_t(plan.values[size_t(plan.outputs[k])].columns);
        const naive::LossOptions<double> options{.kind = plan.heads[k].loss.kind};
        naive::Batch<double> batch;
        const auto row_of = [&](const V& all, size_t r) { return V(all.begin() + long(r * columns), all.begin() + long((r + 1) * columns)); };
        for (size_t r = 0; r < size_t(rows); ++r) {
            batch.y.push_back(row_of(network.output(k), r));
            if (plan.heads[k].class_targets) batch.indices.push_back(problem.classes[k][size_t(first) + r]);
            else batch.values.push_back(row_of(targets[k], r));
            if (!problem.sample_weight.empty()) batch.sample_weight.push_back(problem.sample_weight[size_t(first) + r]);
        }
        std::vector<V> dy;
        const double denominator = naive::denominator(options, batch);
        losses[k].sum += naive::loss(options, batch, dy) * denominator;
        losses[k].denominator += denominator;
        V flat;
        for (const V& row : dy)
            for (double v : row) flat.push_back(plan.heads[k].weight * v);
        dys.push_back(flat);
    }
    return dys;
}
double value_of(const Plan& plan, const std::vector<LossSum>& losses) {
    double value = 0;
    for (size_t k = 0; k < losses.size(); ++k) value += plan.heads[k].weight * losses[k].sum / losses[k].denominator;
    return value;
}

// Forward and backward, evaluation and prediction, two epochs of training.
bool equals_naive(Plan plan, int64_t batch, int threads, int seed) {
    const int64_t samples = batch + batch / 2 + 1;
    plan.batch = batch, plan.samples = samples, plan.threads = threads;
    const double tolerance = 1e-10;
    auto engine = chainrule_engine.create(plan);
    Problem<double> problem(plan, samples, seed);
    if (seed % 3 == 0) {
        V weights;
        for (int64_t r = 0; r < samples; ++r) weights.push_back(0.5 + double(r % 3));
        problem.weigh(weights);
    }
    problem.write(*engine);
    naive::Network network(plan, problem.parameters);
    bool equal = true;
    const auto same = [&](const char* what, const V& want, const V& got) {
        const double off = difference(want, got);
        if (!(off <= tolerance) && equal)
            CHECK(off <= tolerance, "%s: off by %g; seed %d, batch %d, threads %d%s", what, off, seed, int(batch), threads, text_of(plan).c_str());
        equal = equal && off <= tolerance;
    };

    // in evaluation mode
    Arrays<double> y(plan, plan.outputs, samples), y2(plan, plan.outputs, samples);
    std::vector<LossSum> losses(plan.heads.size()), sums(plan.heads.size());
    engine->predict(problem.data.x.data(), samples, y.to());
    engine->evaluate(problem.data, sums.data(), y2.to());
    network.forward(problem.x, samples);
    naive_heads(network, problem, 0, samples, losses);
    for (size_t k = 0; k < plan.outputs.size(); ++k) {
        same("predict", network.output(k), y[k]);
        same("evaluate", y[k], y2[k]);
        same("a loss", {losses[k].sum, losses[k].denominator}, {sums[k].sum, sums[k].denominator});
    }

    // one step at a time: gradients add up, those of the inputs do not
    int64_t pass = 0;
    for (const bool training : {true, false, true}) {
        Arrays<double> some(plan, plan.outputs, batch), dy(plan, plan.outputs, batch), dx(plan, plan.inputs, batch);
        engine->forward(problem.data.x.data(), batch, some.to(), training);
        network.forward(part(plan, plan.inputs, problem.x, 0, batch), batch, training ? pass++ : -1);
        dy.values.clear();
        const std::vector<V> from = part(plan, plan.outputs, problem.target, 0, batch);
        std::vector<const void*> addresses;
        for (const V& v : from) addresses.push_back(v.data());
        const bool wants_dx = pass != 2 || !training;
        engine->backward(addresses.data(), batch, wants_dx ? dx.to() : nullptr);
        network.backward(from);
        for (size_t k = 0; k < plan.outputs.size(); ++k) same("forward", network.output(k), some[k]);
        for (size_t i = 0; i < plan.inputs.size() && wants_dx; ++i) same("the gradient of an input", network.dinput(i), dx[i]);
        for (size_t p = 0; p < plan.parameters.size(); ++p) {
            V gradient(network.gradients[p].size());
            engine->read_gradient(int(p), gradient.data());
            same("the gradient of a parameter", plan.is_trained(int(p)) ? network.gradients[p] : V(gradient.size(), 0.0), gradient);
        }
    }

    // training
    const size_t rules = plan.rules.size();
    V lr;
    for (double rate : {0.02, 0.01})
        for (size_t r = 0; r < rules; ++r) lr.push_back(rate / double(1 + r));
    naive::Rules updates(plan);
    double epochs[2];
    Training training;
    training.batch = batch;
    training.shuffle = false;
    training.lr = lr.data();
    training.end_epoch = 2;
    training.losses = epochs;
    Position at;
    CHECK(engine->run(problem.data, training, at) == Outcome::finished);
    for (int epoch = 0; epoch < 2; ++epoch) {
        std::fill(losses.begin(), losses.end(), LossSum{});
        for (int64_t first = 0; first < samples; first += batch) {
            const int64_t rows = std::min(batch, samples - first);
            network.forward(part(plan, plan.inputs, problem.x, first, rows), rows, pass++);
            network.zero_gradients();
            network.backward(naive_heads(network, problem, first, rows, losses));
            updates.step(network, lr.data() + size_t(epoch) * rules);
        }
        same("the loss of an epoch", {value_of(plan, losses)}, {epochs[epoch]});
    }
    for (size_t p = 0; p < plan.parameters.size(); ++p) {
        V parameter(network.parameters[p].size());
        engine->read_parameter(int(p), parameter.data());
        same("a parameter", network.parameters[p], parameter);
    }
    return equal;
}

const int64_t batches[] = {1, 2, 15, 16, 17, 33, 255, 256, 257, 300, 513};

TEST("random networks equal the naive one, at every border of a batch") {
    int wrong = 0;
    for (int seed = 0; seed < 330 && wrong < 3; ++seed) {
        Drawing drawing;
        drawing.ops = 3 + seed % 14;
        wrong += !equals_naive(random_plan(uint64_t(seed), DType::float64, drawing), batches[seed % 11], 1, seed);
    }
}

TEST("random networks equal the naive one on two and three threads") {
    int wrong = 0, threaded = 0;
    for (int seed = 0; seed < 80 && wrong < 3; ++seed) {
        Drawing drawing;
        drawing.widest = 40;
        Plan plan = random_plan(uint64_t(1000 + seed), DType::float64, drawing);
        const int64_t batch = batches[6 + seed % 5];
        wrong += !equals_naive(plan, batch, 2 + seed % 2, seed);
        plan.batch = batch, plan.threads = 2;
        threaded += chainrule_engine.create(plan)->threads_used(batch) > 1;
    }
    CHECK(threaded > 20, "%d of them are worth threads", threaded);
}

TEST("wide random networks equal the naive one on threads, layer by layer") {
    int wrong = 0, threaded = 0;
    for (int seed = 0; seed < 40 && wrong < 3; ++seed) {
        Drawing drawing;
        drawing.ops = 6, drawing.widest = 300;
        Plan plan = random_plan(uint64_t(2000 + seed), DType::float64, drawing);
        const int64_t batch = std::vector<int64_t>{2, 7, 17, 31, 40}[size_t(seed % 5)];
        wrong += !equals_naive(plan, batch, 2 + seed % 2, seed);
        plan.batch = batch, plan.threads = 2;
        threaded += chainrule_engine.create(plan)->threads_used(batch) > 1;
    }
    CHECK(threaded > 10, "%d of them are worth threads", threaded);
}

// How many samples of it pass at once.
int64_t chunk_of(const Plan& plan) { return Network<double>(plan).chunk_rows(); }

Drawing of_images(int ops, int widest = 12, int64_t positions = 36) {
    Drawing drawing;
    drawing.ops = ops, drawing.widest = widest, drawing.positions = positions;
    return drawing;
}

TEST("random networks of images equal the naive one") {
    int wrong = 0;
    const int64_t some[] = {1, 2, 15, 16, 17, 33, 40, 100};
    for (int seed = 0; seed < 400 && wrong < 3; ++seed)
        wrong += !equals_naive(random_plan(uint64_t(10000 + seed), DType::float64, of_images(4 + seed % 12)), some[seed % 8], 1, seed);
    for (int seed = 0; seed < 100 && wrong < 3; ++seed)  // channels of more than one panel
        wrong += !equals_naive(random_plan(uint64_t(10500 + seed), DType::float64, of_images(6, 40, 16)), some[seed % 5], 1, seed);
}

TEST("random networks of images equal the naive one on two and three threads") {
    int wrong = 0, threaded = 0;
    for (int seed = 0; seed < 80 && wrong < 3; ++seed) {
        Plan plan = random_plan(uint64_t(11000 + seed), DType::float64, of_images(8 + seed % 6, 24, 64));
        const int64_t batch = std::vector<int64_t>{2, 17, 40, 50, 100}[size_t(seed % 5)];
        wrong += !equals_naive(plan, batch, 2 + seed % 2, seed);
        plan.batch = batch, plan.threads = 2;
        threaded += chainrule_engine.create(plan)->threads_used(batch) > 1;
    }
    CHECK(threaded > 20, "%d of them are worth threads", threaded);
}

// What a chunk has written is gone when the next one comes, and a batch that is cut is the same batch.
TEST("random networks of large images, of which 16 pass at once, equal the naive one") {
    int wrong = 0, cut = 0;
    for (int seed = 0; seed < 60 && wrong < 3; ++seed) {
        Plan plan = random_plan(uint64_t(12000 + seed), DType::float64, of_images(4 + seed % 4, 9, 400));
        const int64_t batch = std::vector<int64_t>{31, 32, 33, 40, 70}[size_t(seed % 5)];
        wrong += !equals_naive(plan, batch, 1 + seed % 3, seed);
        cut += chunk_of(plan) == 16;
    }
    CHECK(cut > 20, "%d of them pass 16 by 16", cut);
}

TEST("random networks of images under drawn rules equal the naive one, on one thread and on three") {
    int wrong = 0, bounded = 0;
    for (int seed = 0; seed < 150 && wrong < 3; ++seed) {
        const char* const kinds[] = {"SGD", "SGD", "Adam", "AdamW", "RMSprop", "Adagrad"};
        Plan plan = random_plan(uint64_t(13000 + seed), DType::float64, of_images(6 + seed % 8));
        draw_rules(plan, uint64_t(seed), kinds[seed % 6], seed % 6 == 0);
        wrong += !equals_naive(plan, std::vector<int64_t>{1, 16, 33, 60}[size_t(seed % 4)], seed % 3 ? 1 : 3, seed);
        for (const Rule& rule : plan.rules) bounded += !rule.constraints.empty();
    }
    CHECK(bounded > 20, "%d with constraints", bounded);
}

// Rows that depend on each other: the batch passes in one piece, and by threads layer after layer.
TEST("random networks with BatchNorm equal the naive one, whose statistics follow every batch") {
    int wrong = 0, threaded = 0;
    for (int seed = 0; seed < 160 && wrong < 3; ++seed) {
        Drawing drawing = seed % 2 ? of_images(4 + seed % 8, 24, 40) : Drawing{};
        drawing.batch_norm = true;
        if (seed % 4 == 0) drawing.ops = 6, drawing.widest = 200;
        Plan plan = random_plan(uint64_t(15000 + seed), DType::float64, drawing);
        const int64_t batch = std::vector<int64_t>{2, 3, 16, 17, 33, 100, 300}[size_t(seed % 7)];
        plan.batch = batch, plan.threads = 1 + seed % 3;
        wrong += !equals_naive(plan, batch, plan.threads, seed);
        threaded += chainrule_engine.create(plan)->threads_used(batch) > 1;
    }
    CHECK(threaded > 10, "%d of them are worth threads", threaded);
}

// Parameters that are frozen or follow rules of their own, of every optimizer, with constraints.
TEST("random networks under drawn rules equal the naive one, on one thread and on three") {
    int wrong = 0, threaded = 0, frozen = 0, bounded = 0;
    for (int seed = 0; seed < 440 && wrong < 3; ++seed) {
        const char* const kinds[] = {"SGD", "SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adafactor", "Muon"};
        Drawing drawing;
        drawing.ops = 3 + seed % 14, drawing.widest = seed % 5 ? 24 : 60;
        Plan plan = random_plan(uint64_t(6000 + seed), DType::float64, drawing);
        draw_rules(plan, uint64_t(seed), kinds[seed % 8], seed % 8 == 0);
        const int64_t batch = batches[seed % 11];
        const int threads = seed % 3 ? 1 : 3;
        wrong += !equals_naive(plan, batch, threads, seed);
        plan.batch = batch, plan.threads = threads;
        threaded += chainrule_engine.create(plan)->threads_used(batch) > 1;
        frozen += std::count(plan.rule_of.begin(), plan.rule_of.end(), -1) > 0;
        for (const Rule& rule : plan.rules) bounded += !rule.constraints.empty();
    }
    CHECK(threaded > 20 && frozen > 100 && bounded > 100, "%d threaded, %d partly frozen, %d with constraints", threaded, frozen, bounded);
}

TEST("wide random networks under drawn rules equal the naive one on threads, layer by layer") {
    int wrong = 0;
    for (int seed = 0; seed < 40 && wrong < 3; ++seed) {
        Drawing drawing;
        drawing.ops = 6, drawing.widest = 300;
        Plan plan = random_plan(uint64_t(7000 + seed), DType::float64, drawing);
        draw_rules(plan, uint64_t(seed), seed % 2 ? "SGD" : "Adam", seed % 4 == 1);
        wrong += !equals_naive(plan, std::vector<int64_t>{1, 2, 7, 17, 31, 40}[size_t(seed % 6)], 1 + seed % 3, seed);
    }
}

// Every way to freeze the two Linears of a chain, at every kind of shape, in place and not, big and small.
TEST("a chain with any of its parameters frozen equals the naive one") {
    const std::vector<std::vector<int>> shapes = {{3, 17, 33}, {30, 8, 40}, {4, 4, 4}, {20, 5, 3}, {5, 40, 5}, {300, 300, 7}};
    for (const auto& widths : shapes)
        for (const char* activation : {"ReLU", "Tanh"})
            for (int frozen = 0; frozen < 64; ++frozen)
                for (int64_t batch : {1, 7, 40}) {
                    if (widths[0] == 300 && (frozen % 5 || batch == 1)) continue;
                    Plan plan = plan_of({{widths[0], widths[1], widths[2], 2}, settings(activation)}, batch, batch, DType::float64);
                    for (int p = 0; p < 6; ++p) plan.rule_of.push_back(frozen >> p & 1 ? -1 : 0);
                    if (!equals_naive(plan, batch, frozen % 7 == 0 ? 2 : 1, frozen)) return;
                }
}

TEST("what is frozen is no work to share among threads") {
    const auto threads = [](std::vector<int> frozen, int64_t rows) {
        Plan plan = plan_of({{64, 64, 64, 64}}, rows, rows, DType::float32);
        plan.threads = 2;
        plan.rule_of.assign(6, 0);
        for (int p : frozen) plan.rule_of[size_t(p)] = -1;
        return chainrule_engine.create(plan)->threads_used(rows);
    };
    CHECK(threads({}, 24) == 2 && threads({0}, 24) == 2, "a bias is trained, and of its layer all counts");
    CHECK(threads({0, 1, 2, 3}, 24) == 1 && threads({0, 1, 2, 3}, 48) == 2, "of the first two layers y alone is made");
    CHECK(threads({2, 3, 4, 5}, 24) == 1 && threads({2, 3, 4, 5}, 32) == 2, "of the others y and dx are");
}

TEST("what is frozen keeps its numbers, its gradients and its state to the bit") {
    for (const char* kind : {"SGD", "Adam"}) {
        Plan plan = plan_of({{5, 20, 20, 3}}, 16, 16, DType::float32);
        plan.rules = {{optimizer_settings(kind, {{"weight_decay", 0.1}}), {constraint_settings("UnitNorm")}}};
        plan.rule_of = {-1, -1, -1, 0, 0, -1};
        auto engine = chainrule_engine.create(plan);
        const Problem<float> problem(plan, 16, 1);
        problem.write(*engine);
        for (int p = 0; p < 6; ++p) {
            engine->write_gradient(p, problem.parameters[size_t(p)].data());
            for (int k = 0; k < engine->states(); ++k) engine->write_state(p, k, problem.parameters[size_t(p)].data());
        }
        Arrays<float> y(plan, plan.outputs, 16), dx(plan, plan.inputs, 16);
        engine->forward(problem.data.x.data(), 16, y.to(), true);
        engine->backward(y.from(), 16, dx.to());
        engine->update(0.1);
        for (int p = 0; p < 6; ++p) {
            std::vector<float> found(problem.parameters[size_t(p)].size());
            const bool stays = plan.rule_of[size_t(p)] < 0;
            const auto unchanged = [&] { return found == problem.parameters[size_t(p)]; };
            engine->read_parameter(p, found.data());
            CHECK(unchanged() == stays, "%s: parameter %d", kind, p);
            engine->read_gradient(p, found.data());
            CHECK(unchanged() == stays, "%s: the gradient of parameter %d", kind, p);
            for (int k = 0; k < engine->states(); ++k) {
                engine->read_state(p, k, found.data());
                CHECK(unchanged() == stays, "%s: state %d of parameter %d", kind, k, p);
            }
        }
        for (float d : dx[0]) CHECK(std::isfinite(d));
    }
}

TEST("a network that is frozen as a whole runs, and stays as it is") {
    Plan plan = plan_of({{2, 8, 2}, settings("Tanh")}, 5, 20, DType::float64);
    plan.rule_of = {-1, -1, -1, -1};
    CHECK(equals_naive(plan, 5, 1, 1));
    plan.rules[0].optimizer.numbers["clip_norm"] = 0.1;
    CHECK(equals_naive(plan, 5, 2, 1));
}

// The steps of a tiny network have sums in an order of their own: rules must not bring it about, nor keep it from being tiny.
TEST("tiny networks under rules equal the naive one") {
    for (int seed = 0; seed < 120; ++seed) {
        Plan plan = plan_of({{2, 4, 4, 1}, settings(seed % 2 ? "Tanh" : "ReLU")}, 1, 1, DType::float64);
        draw_rules(plan, uint64_t(seed), seed % 3 ? "SGD" : "RMSprop", seed % 3 == 1);
        CHECK(equals_naive(plan, seed % 4 ? 1 : 12, 1, seed));
    }
}

// A table of momenta beside that of rates: the same as an optimizer that is made anew with each of them.
TEST("a step goes by the momentum of its rule, where there is one") {
    for (const char* kind : {"SGD", "RMSprop", "Adam"}) {
        const bool adam = std::string(kind) == "Adam";
        Plan plan = plan_of({{3, 9, 2}, settings("Tanh")}, 8, 16, DType::float64);
        plan.rules.clear();
        for (double own : {0.5, 0.8}) plan.rules.push_back({optimizer_settings(kind, {{adam ? "beta1" : "momentum", own}}), {}});
        plan.rule_of = {0, 1, 1, 0};
        const Problem<double> problem(plan, 16, 2);
        const V lr(8, 0.01), momentum{0.9, -1, 0.3, 0.85, -1, 0.1, 0.6, 0.6};  // 2 epochs · 2 steps · 2 rules
        auto whole = chainrule_engine.create(plan);
        problem.write(*whole);
        Training training;
        training.batch = 8, training.shuffle = false, training.end_epoch = 2, training.lr_per_step = true;
        training.lr = lr.data(), training.momentum = momentum.data();
        Position at;
        CHECK(whole->run(problem.data, training, at) == Outcome::finished);
        std::vector<std::vector<V>> states(4);
        std::vector<V> values = problem.parameters;
        for (int step = 0; step < 4; ++step) {
            Plan anew = plan;
            for (size_t r = 0; r < 2; ++r)
                if (const double m = momentum[size_t(step) * 2 + r]; m >= 0) anew.rules[r].optimizer.numbers[adam ? "beta1" : "momentum"] = m;
            auto engine = chainrule_engine.create(anew);
            for (int p = 0; p < 4; ++p) {
                engine->write_parameter(p, values[size_t(p)].data());
                engine->set_steps_taken(p, step);
                for (size_t k = 0; k < states[size_t(p)].size(); ++k) engine->write_state(p, int(k), states[size_t(p)][k].data());
            }
            engine->step(problem.from(plan, step % 2 * 8, 8), Rates(lr.data()));
            for (int p = 0; p < 4; ++p) {
                engine->read_parameter(p, values[size_t(p)].data());
                states[size_t(p)].assign(size_t(engine->states()), V(values[size_t(p)].size()));
                for (int k = 0; k < engine->states(); ++k) engine->read_state(p, k, states[size_t(p)][size_t(k)].data());
            }
        }
        V all;
        for (const V& value : values) all.insert(all.end(), value.begin(), value.end());
        CHECK(all == read_all<double>(*whole), "%s", kind);
    }
}

// ---- by name

TEST("a residual network equals the naive one") {
    for (bool relu_last : {false, true})
        for (int64_t batch : {1, 32, 300})
            for (int threads : {1, 2}) {
                Builder net(DType::float64);
                int h = net.linear(net.input(20), 64);
                for (int block = 0; block < 3; ++block) {
                    const int body = net.linear(net.add("ReLU", {net.linear(h, 64)}), 64);
                    h = net.add("Sum", {h, body});
                    if (relu_last) h = net.add("ReLU", {h});
                }
                net.head(net.linear(h, 1));
                net.optimizer("SGD");
                CHECK(equals_naive(net.plan, batch, threads, 1));
            }
}

TEST("a value that three read, and one that is an output and an input too") {
    for (int64_t batch : {1, 17, 300})
        for (const char* kind : {"ReLU", "Tanh", "SiLU", "Softmax"}) {
            Builder net(DType::float64);
            const int x = net.input(9), z = net.input(4), h = net.add(kind, {net.linear(x, 33)});
            net.head(net.add("Multiply", {net.linear(h, 5), net.linear(z, 5)}));
            net.head(net.linear(net.add("Sum", {h, net.linear(h, 33)}), 5), "CrossEntropyLoss", 0.25);
            net.head(h, "MSELoss", 3);
            net.head(z);
            net.head(h);
            net.optimizer("SGD");
            CHECK(equals_naive(net.plan, batch, 2, 2));
        }
}

TEST("products on the rows of every position, concatenated, permuted and shared") {
    for (int64_t batch : {1, 7, 16, 100})
        for (int64_t width : {3, 8, 17, 40}) {
            Builder net(DType::float64);
            const int x = net.input(6 * 10), rows = net.reshape(x, 6), h = net.add("ReLU", {net.linear(rows, width)});
            const int again = net.linear(net.add("Tanh", {net.linear(h, width)}), 10);
            const int both = net.concat({again, rows, h});
            const int y = net.reshape(net.add("LogSoftmax", {net.linear(both, 4)}), 1);
            std::vector<int> columns(24);
            for (int i = 0; i < 24; ++i) columns[size_t(i)] = (i * 5 + 3) % 24;
            net.head(net.linear(net.add("Sum", {net.permute(y, columns), y}), 2));
            net.head(net.linear(net.reshape(net.linear_again(rows, h - 1), 1), 2));
            net.optimizer("SGD");
            CHECK(equals_naive(net.plan, batch, 1, 3));
            CHECK(equals_naive(net.plan, batch, 3, 3));
        }
}

TEST("a weight that is shared while its bias is not, and the other way round") {
    for (int64_t batch : {1, 20})
        for (bool weight : {false, true}) {
            Builder net(DType::float64);
            const int h = net.linear(net.input(10), 10);
            net.plan.parameters.push_back(weight ? ParameterShape{10, 0} : ParameterShape{10, 10});
            const int other = int(net.plan.parameters.size()) - 1;
            net.head(net.linear_with(net.add("Tanh", {h}), weight ? std::vector<int>{0, other} : std::vector<int>{other, 1}));
            net.optimizer("SGD");
            CHECK(equals_naive(net.plan, batch, 1, 4));
        }
}

// What a LeNet is made of: 12 x 12, padded, 5 x 5 and 3 x 3, pooled by 2 twice, and Linears behind it.
Plan small_lenet(DType dtype = DType::float64, const char* pool = "MaxPool") {
    const auto square = [](int64_t n, int64_t kernel, int64_t stride = 1, int64_t padding = 0) { return Axes(2, {n, kernel, stride, 1, padding}); };
    Builder net(dtype);
    const auto pooled = [&](int x, int64_t n) {
        Table windows = seen(square(n, 2, 2));
        for (double& weight : windows.weights) weight = 0.25;
        return pool == std::string("MaxPool") ? net.max_pool(x, windows) : net.positions(x, windows);
    };
    int h = net.positions(net.channels_last(net.input(144), 144), padded(square(12, 1, 1, 2), Around::nothing));
    h = pooled(net.add("ReLU", {net.convolution(h, 6, square(16, 5))}), 12);
    h = pooled(net.add("ReLU", {net.convolution(h, 16, square(6, 3))}), 4);
    h = net.add("ReLU", {net.linear(net.channels_first(h), 30)});
    net.head(net.linear(h, 10), "CrossEntropyLoss");
    net.optimizer("SGD");
    return net.plan;
}

TEST("a small LeNet equals the naive one, whose batches pass 16 by 16") {
    for (const char* pool : {"MaxPool", "AvgPool"}) {
        const Plan plan = small_lenet(DType::float64, pool);
        CHECK(chunk_of(plan) == 16, "%d", int(chunk_of(plan)));
        for (int64_t batch : {1, 16, 33, 40, 64})
            for (int threads : {1, 2, 3}) CHECK(equals_naive(plan, batch, threads, 5));
    }
}

TEST("convolutions over one, two and three axes equal the naive one, from one channel to more than a panel") {
    const Axes shapes[] = {{{30, 5}}, {{30, 30}}, {{30, 3, 2, 4}}, {{1, 1}}, {{6, 3, 2}, {5, 2, 3}}, {{6, 1}, {5, 1}}, {{4, 3}, {3, 2, 1, 2}, {3, 3}}};
    for (const Axes& axes : shapes)
        for (int64_t channels : {1, 3, 9, 35})
            for (int64_t n_out : {1, 8, 19, 70}) {
                int64_t positions = 1;
                for (const Axis& axis : axes) positions *= axis.length;
                Builder net(DType::float64);
                const int x = net.channels_last(net.input(channels * positions), positions), h = net.add("Tanh", {net.convolution(x, channels, Axes(1, {positions, 1}))});
                const int y = net.convolution(h, n_out, axes, n_out != 8);
                net.head(net.linear(net.channels_first(net.add("ReLU", {y})), 2));
                net.head(net.linear(net.reshape(net.max_pool(net.convolution_again(h, axes, y), seen({{net.shape(y).positions, net.shape(y).positions}})), 1), 2));
                net.optimizer("SGD");
                for (int64_t batch : {1, 7, 33}) CHECK(equals_naive(net.plan, batch, 1 + int(batch % 3), 6));
            }
}

TEST("the greatest of several that are equal is the first, and NaN is greater than all") {
    Builder net(DType::float64);
    net.output(net.channels_first(net.max_pool(net.channels_last(net.input(5), 5), seen({{5, 3, 2}}))));
    auto engine = chainrule_engine.create(net.plan);
    const V x{2, 2, 1, 2, NAN}, dy{10, 1};
    V y(2), dx(5);
    const void* const from[] = {x.data()};
    const void* const back[] = {dy.data()};
    void* const to[] = {y.data()};
    void* const dx_to[] = {dx.data()};
    engine->forward(from, 1, to, true);
    engine->backward(back, 1, dx_to);
    CHECK(y[0] == 2 && std::isnan(y[1]));
    CHECK(dx == (V{10, 0, 0, 0, 1}), "%g %g %g %g %g", dx[0], dx[1], dx[2], dx[3], dx[4]);
}

// ---- bits

template <class T>
void same_bits(Plan plan, int64_t batch, const std::string& optimizer, int seed) {
    plan.dtype = sizeof(T) == 4 ? DType::float32 : DType::float64;
    const int64_t samples = 2 * batch + batch / 3 + 1;
    plan.batch = batch, plan.samples = samples;
    if (plan.rule_of.empty()) plan.rules = {{optimizer_settings(optimizer), {}}};
    const Problem<T> problem(plan, samples, seed);
    const auto train = [&](int threads, int64_t slice) {
        plan.threads = threads;
        auto engine = chainrule_engine.create(plan);
        problem.write(*engine);
        const std::vector<double> lr(3 * plan.rules.size(), 0.01);
        double losses[3];
        Training training;
        training.batch = batch, training.seed = 3, training.lr = lr.data(), training.end_epoch = 3, training.losses = losses;
        training.max_steps = slice;
        Position at;
        while (engine->run(problem.data, training, at) == Outcome::interrupted) {}
        std::vector<T> all = read_all<T>(*engine);
        all.insert(all.end(), losses, losses + 3);
        return all;
    };
    const std::vector<T> whole = train(1, -1);
    const auto equal = [&](const std::vector<T>& other) { return std::memcmp(other.data(), whole.data(), whole.size() * sizeof(T)) == 0; };
    for (int threads : {1, 2, 3})
        for (int64_t slice : {-1, 1, 2})
            CHECK(equal(train(threads, slice)), "%d threads, slices of %d, batch %d, %s, seed %d%s", threads, int(slice), int(batch), optimizer.c_str(),
                  seed, text_of(plan).c_str());
}

TEST("the first part of any division holds the first unit, and all parts together everything once") {
    for (int count = 1; count <= 7; ++count)
        for (int64_t n = 1; n <= 130; ++n)
            for (int64_t unit : {1, 16, 32}) {
                int64_t at = 0;
                for (int part = 0; part < count; ++part) {
                    const Share share{part, count};
                    CHECK(share.begin(n, unit) == at);
                    at = share.end(n, unit);
                    CHECK(part > 0 || at > 0);
                }
                CHECK(at == n);
            }
}

// Two threads made the bias of a narrow layer and that of a wide one at the same time, and lost what one of them added.
TEST("a bias that layers of different widths share has the same bits for any number of threads") {
    Builder net(DType::float32);
    int y = net.add("Tanh", {net.linear(net.input(6), 63)});
    const int bias = net.plan.ops[0].parameters[1];
    for (int i = 0; i < 4; ++i) {
        net.plan.parameters.push_back({63, 63});
        y = net.add("Tanh", {net.linear_with(y, {int(net.plan.parameters.size()) - 1, bias})});
    }
    net.head(net.linear(y, 63));
    net.optimizer("Adam");
    net.plan.batch = net.plan.samples = 50;
    const Problem<float> problem(net.plan, 50, 3);
    const std::vector<double> rates(300, 1e-3);
    std::vector<float> alone;
    for (int threads : {1, 2, 2, 2, 3, 3}) {
        net.plan.threads = threads;
        auto engine = chainrule_engine.create(net.plan);
        problem.write(*engine);
        Training training;
        training.batch = 50;
        training.lr = rates.data();
        training.end_epoch = 300;
        Position at;
        engine->run(problem.data, training, at);
        const std::vector<float> found = read_all<float>(*engine);
        if (threads == 1) alone = found;
        CHECK(found == alone);
    }
}

TEST("random networks give the same bits for any number of threads and for slices") {
    for (int seed = 0; seed < 44; ++seed) {
        Drawing drawing;
        drawing.widest = seed % 4 == 0 ? 200 : 40;
        drawing.ops = seed % 4 == 0 ? 6 : 12;
        const Plan plan = random_plan(uint64_t(3000 + seed), DType::float64, drawing);
        const int64_t batch = drawing.widest == 200 ? std::vector<int64_t>{2, 17, 31, 40}[size_t(seed / 4 % 4)] : batches[seed % 11];
        same_bits<float>(plan, batch, seed % 2 ? "SGD" : "Adam", seed);
        same_bits<double>(plan, batch, seed % 2 ? "Adam" : "SGD", seed);
    }
}

TEST("networks of images give the same bits for any number of threads and for slices") {
    for (int seed = 0; seed < 30; ++seed) {
        const bool large = seed % 3 == 0;
        Plan plan = random_plan(uint64_t(14000 + seed), DType::float64, large ? of_images(5, 9, 300) : of_images(10, seed % 3 == 1 ? 12 : 40));
        if (seed % 2) draw_rules(plan, uint64_t(seed), seed % 4 == 1 ? "SGD" : "Adam", seed % 4 == 1);
        const int64_t batch = std::vector<int64_t>{40, 17, 33, 100, 2}[size_t(seed % 5)];
        same_bits<float>(plan, batch, "SGD", seed);
        same_bits<double>(plan, batch, "Adam", seed);
    }
    for (const char* pool : {"MaxPool", "AvgPool"})
        for (int64_t batch : {1, 31, 40, 100}) {
            same_bits<float>(small_lenet(DType::float32, pool), batch, "SGD", 1);
            same_bits<double>(small_lenet(DType::float64, pool), batch, "Adam", 1);
        }
}

TEST("networks with BatchNorm give the same bits for any number of threads and for slices") {
    for (int seed = 0; seed < 30; ++seed) {
        Drawing drawing = seed % 2 ? of_images(6, 20, 40) : Drawing{};
        drawing.batch_norm = true;
        const Plan plan = random_plan(uint64_t(16000 + seed), DType::float64, drawing);
        const int64_t batch = std::vector<int64_t>{9, 40, 300}[size_t(seed % 3)];
        same_bits<float>(plan, batch, "SGD", seed);
        same_bits<double>(plan, batch, "SGD", seed);
    }
}

TEST("random networks under drawn rules give the same bits for any number of threads and for slices") {
    for (int seed = 0; seed < 44; ++seed) {
        Drawing drawing;
        drawing.widest = seed % 4 == 0 ? 200 : 40;
        drawing.ops = seed % 4 == 0 ? 6 : 12;
        Plan plan = random_plan(uint64_t(5000 + seed), DType::float64, drawing);
        const int64_t batch = drawing.widest == 200 ? std::vector<int64_t>{2, 17, 31, 40}[size_t(seed / 4 % 4)] : batches[seed % 11];
        draw_rules(plan, uint64_t(seed), seed % 2 ? "SGD" : "Adam", seed % 4 == 1);
        same_bits<float>(plan, batch, "", seed);
        same_bits<double>(plan, batch, "", seed);
    }
}

TEST("random networks whose parameters are updated whole give the same bits for any number of threads and for slices") {
    for (int seed = 0; seed < 30; ++seed) {
        Drawing drawing;
        drawing.widest = seed % 4 == 0 ? 100 : 40;
        drawing.ops = 10;
        Plan plan = random_plan(uint64_t(8000 + seed), DType::float64, drawing);
        draw_rules(plan, uint64_t(seed), seed % 2 ? "Muon" : "Adafactor");
        const int64_t batch = std::vector<int64_t>{2, 17, 40, 257, 300}[size_t(seed % 5)];
        same_bits<float>(plan, batch, "", seed);
        same_bits<double>(plan, batch, "", seed);
    }
}

// What a pass leaves in the memory, even if it is NaN, is nothing to the next one.
TEST("nothing of a pass over NaN is left for the next") {
    const std::vector<std::vector<int>> tiny{{1, 8, 1}, {2, 4, 1}, {1, 1}, {4, 4}, {8, 8, 8}};
    for (int seed = 0; seed < 250; ++seed) {
        Drawing drawing;
        drawing.ops = 3 + seed % 12;
        if (seed % 5 == 2) drawing = of_images(3 + seed % 8);
        Plan plan = seed % 5 ? random_plan(uint64_t(4000 + seed), DType::float64, drawing)
                             : plan_of({tiny[size_t(seed / 5 % 5)], settings(seed % 2 ? "Tanh" : "ReLU")}, 1, 0, DType::float64);
        const int64_t batch = batches[seed / 5 % 6];
        plan.batch = batch;
        auto engine = chainrule_engine.create(plan), fresh = chainrule_engine.create(plan);
        Problem<double> problem(plan, batch, seed), strange(plan, batch, seed);
        for (V& x : strange.x) std::fill(x.begin(), x.end(), std::numeric_limits<double>::quiet_NaN());
        problem.write(*engine), problem.write(*fresh);
        Arrays<double> y(plan, plan.outputs, batch), y2(plan, plan.outputs, batch), dx(plan, plan.inputs, batch), dx2(plan, plan.inputs, batch);
        std::vector<LossSum> losses(plan.heads.size());
        engine->predict(strange.data.x.data(), batch, y.to());
        engine->evaluate(strange.data, losses.data(), y.to());
        engine->forward(strange.data.x.data(), batch, y.to(), true);
        engine->backward(y.from(), batch, dx.to());
        engine->step(strange.data, 0.1);
        for (Arrays<double>* arrays : {&y, &dx})
            for (V& v : arrays->values) std::fill(v.begin(), v.end(), 0.0);
        problem.write(*engine);
        engine->zero_gradients();
        engine->set_dropout_pass(0);
        bool equal = true;
        for (int64_t rows : {(batch + 1) / 2, batch}) {
            double loss[2];
            std::vector<V> predicted[2];
            for (auto [which, to, to_dx, n] : {std::tuple{engine.get(), &y, &dx, 0}, {fresh.get(), &y2, &dx2, 1}}) {
                which->predict(problem.data.x.data(), rows, to->to());
                predicted[n] = to->values;
                which->forward(problem.data.x.data(), rows, to->to(), true);
                which->backward(to->from(), rows, to_dx->to());
                loss[n] = which->step(problem.from(plan, 0, rows), 0.01);
            }
            equal = equal && predicted[0] == predicted[1] && y.values == y2.values && dx.values == dx2.values && loss[0] == loss[1];
        }
        equal = equal && read_all<double>(*engine) == read_all<double>(*fresh);
        CHECK(equal, "seed %d, batch %d%s", seed, int(batch), text_of(plan).c_str());
        if (!equal) return;
    }
}

TEST("predictions are the same however often they are made") {
    for (int64_t width : {10, 18, 24, 25, 33}) {  // panels with room to spare, in which nothing may gather
        Builder net(DType::float64);
        const int x = net.input(width), a = net.add("Sigmoid", {net.linear(x, width)}), b = net.add("Softplus", {net.linear(a, width)});
        const int s = net.add("Sum", {a, b, net.linear(b, width)}), t = net.add("Sum", {net.add("Sum", {s, b}), net.linear(s, width), a});
        net.output(net.linear(net.add("Sum", {t, net.linear(t, width), s}), 2));
        auto engine = chainrule_engine.create(net.plan);
        const Problem<double> problem(net.plan, 3, 1);
        problem.write(*engine);
        Arrays<double> first(net.plan, net.plan.outputs, 3), last(net.plan, net.plan.outputs, 3);
        engine->predict(problem.data.x.data(), 3, first.to());
        for (int i = 0; i < 3000; ++i) engine->predict(problem.data.x.data(), 3, last.to());
        CHECK(first[0] == last[0], "width %d", int(width));
    }
}

// ---- broken plans

// Empty: it was made.
std::string why_refused(const Plan& plan) {
    try {
        chainrule_engine.create(plan);
    } catch (const std::exception& error) {
        return error.what()[0] ? error.what() : "no message";
    }
    return "";
}

TEST("a broken plan is refused, and the message says what is wrong") {
    Builder net;
    const int x = net.input(6), h = net.add("ReLU", {net.linear(x, 9)});
    net.head(net.linear(net.concat({h, x}), 3));
    net.head(net.linear(net.reshape(net.linear(net.reshape(net.permute(x, {5, 4, 3, 2, 1, 0}), 2), 4), 1), 3), "CrossEntropyLoss");
    net.head(net.add("Multiply", {net.dropout(net.linear(x, 3), 0.5), net.linear(x, 3)}));
    const int image = net.channels_last(net.linear(x, 36), 12), pooled = net.max_pool(net.convolution(image, 5, {{4, 2}, {3, 2}}), seen({{3, 2}, {2, 1}}));
    net.head(net.linear(net.channels_first(net.positions(pooled, padded({{2, 1, 1, 1, 1}, {2}}, Around::nothing))), 3));
    const int grown = net.transposed(pooled, 2, {{4, 2, 2}, {2}}), groups = net.depthwise({net.columns(grown, {1, 0, 1}), net.columns(grown, {0, 0, 1})}, {{8, 2}});
    net.head(net.channels_first(groups));
    net.optimizer("Adam");
    CHECK(why_refused(net.plan).empty(), "%s", why_refused(net.plan).c_str());
    const auto op = [](Plan& p, const char* kind) -> Op& { return *std::find_if(p.ops.begin(), p.ops.end(), [&](const Op& o) { return o.settings.kind == kind; }); };
    const std::pair<const char*, std::function<void(Plan&)>> cases[] = {
        {"a value that is not there", [](Plan& p) { p.ops[0].inputs[0] = 99; }},
        {"a value below 0", [](Plan& p) { p.ops[0].inputs[0] = -1; }},
        {"an output that is not there", [](Plan& p) { p.ops[0].output = 99; }},
        {"read before it is written", [](Plan& p) { std::swap(p.ops[0], p.ops[1]); }},
        {"written twice", [](Plan& p) { p.ops.push_back(p.ops.back()); }},
        {"an input that is written", [](Plan& p) { p.inputs.push_back(p.ops[0].output); }},
        {"an input that is given twice", [](Plan& p) { p.inputs.push_back(p.inputs[0]); }},
        {"no input", [](Plan& p) { p.inputs.clear(); }},
        {"no output", [](Plan& p) { p.outputs.clear(), p.heads.clear(); }},
        {"an output that nobody writes", [](Plan& p) { p.values.push_back({3, 1}), p.outputs[0] = int(p.values.size()) - 1; }},
        {"an output of several positions", [&](Plan& p) { p.outputs[0] = op(p, "Reshape").output; }},
        {"an op that reads nothing", [](Plan& p) { p.ops[1].inputs.clear(); }},
        {"a parameter that is not there", [](Plan& p) { p.ops[0].parameters[0] = 99; }},
        {"a parameter below 0", [](Plan& p) { p.ops[0].parameters[1] = -1; }},
        {"a matrix for a bias", [](Plan& p) { p.ops[0].parameters[1] = 0; }},
        {"a bias for a matrix", [](Plan& p) { p.ops[0].parameters[0] = 1; }},
        {"a Linear without parameters", [](Plan& p) { p.ops[0].parameters.clear(); }},
        {"a Linear with three", [](Plan& p) { p.ops[0].parameters.push_back(1); }},
        {"a Linear of two values", [](Plan& p) { p.ops[0].inputs.push_back(p.inputs[0]); }},
        {"a ReLU of two values", [](Plan& p) { p.ops[1].inputs.push_back(p.ops[1].inputs[0]); }},
        {"a weight that does not fit", [](Plan& p) { p.parameters[0].n_in = 7; }},
        {"a ReLU that changes the shape", [](Plan& p) { p.values[size_t(p.ops[1].output)].columns = 8; }},
        {"a Linear that changes the positions", [](Plan& p) { p.values[size_t(p.ops[0].output)].positions = 2; }},
        {"a Concat that loses columns", [&](Plan& p) { op(p, "Concat").inputs.pop_back(); }},
        {"a Multiply of different shapes", [&](Plan& p) { op(p, "Multiply").inputs[0] = p.inputs[0]; }},
        {"a Reshape that loses numbers", [&](Plan& p) { p.values[size_t(op(p, "Reshape").output)].columns = 2; }},
        {"a Permute that takes a column twice", [&](Plan& p) { op(p, "Permute").settings.arrays["columns"][1] = 5; }},
        {"a Permute out of range", [&](Plan& p) { op(p, "Permute").settings.arrays["columns"][1] = 6; }},
        {"a Permute of half a column", [&](Plan& p) { op(p, "Permute").settings.arrays["columns"][1] = 0.5; }},
        {"a Permute of NaN", [&](Plan& p) { op(p, "Permute").settings.arrays["columns"][1] = NAN; }},
        {"a Permute of too few", [&](Plan& p) { op(p, "Permute").settings.arrays["columns"].pop_back(); }},
        {"a Permute that does not say", [&](Plan& p) { op(p, "Permute").settings.arrays.clear(); }},
        {"a ChannelsLast that loses numbers", [&](Plan& p) { p.values[size_t(op(p, "ChannelsLast").output)].columns = 2; }},
        {"a ChannelsLast of an image", [&](Plan& p) { op(p, "ChannelsLast").inputs[0] = op(p, "Convolution").output; }},
        {"a ChannelsFirst of fewer numbers", [&](Plan& p) { p.values[size_t(op(p, "ChannelsFirst").output)].columns = 39; }},
        {"a ChannelsFirst of two values", [&](Plan& p) { op(p, "ChannelsFirst").inputs.push_back(op(p, "MaxPool").output); }},
        {"a window over the end", [&](Plan& p) { op(p, "Convolution").settings.arrays["windows"][5] = 8; }},
        {"a tap over the end", [&](Plan& p) { op(p, "Convolution").settings.arrays["taps"][3] = 5; }},
        {"a window before the beginning", [&](Plan& p) { op(p, "Convolution").settings.arrays["windows"][0] = -1; }},
        {"a window at half a position", [&](Plan& p) { op(p, "Convolution").settings.arrays["windows"][0] = 0.5; }},
        {"a window at NaN", [&](Plan& p) { op(p, "Convolution").settings.arrays["windows"][0] = NAN; }},
        {"a tap that is infinite", [&](Plan& p) { op(p, "Convolution").settings.arrays["taps"][0] = INFINITY; }},
        {"a window too few", [&](Plan& p) { op(p, "Convolution").settings.arrays["windows"].pop_back(); }},
        {"a tap too few", [&](Plan& p) { op(p, "Convolution").settings.arrays["taps"].pop_back(); }},
        {"no taps", [&](Plan& p) { op(p, "Convolution").settings.arrays["taps"].clear(); }},
        {"a Convolution that does not say", [&](Plan& p) { op(p, "Convolution").settings.arrays.erase("taps"); }},
        {"a Convolution of two values", [&](Plan& p) { op(p, "Convolution").inputs.push_back(op(p, "Convolution").inputs[0]); }},
        {"a Convolution without parameters", [&](Plan& p) { op(p, "Convolution").parameters.clear(); }},
        {"a Convolution with a Linear's weight", [&](Plan& p) { op(p, "Convolution").parameters[0] = 0; }},
        {"a Convolution with a kernel for a bias", [&](Plan& p) { op(p, "Convolution").parameters[1] = op(p, "Convolution").parameters[0]; }},
        {"a Convolution with another layer's bias", [&](Plan& p) { op(p, "Convolution").parameters[1] = 1; }},
        {"windows out of order", [&](Plan& p) { std::swap(op(p, "Convolution").settings.arrays["windows"][0], op(p, "Convolution").settings.arrays["windows"][1]); }},
        {"a window that comes twice", [&](Plan& p) { op(p, "Convolution").settings.arrays["windows"][1] = 0; }},
        {"a ConvolutionTransposed of fewer windows", [&](Plan& p) { op(p, "ConvolutionTransposed").settings.arrays["windows"].pop_back(); }},
        {"a ConvolutionTransposed over y's end", [&](Plan& p) { op(p, "ConvolutionTransposed").settings.arrays["taps"][0] = 7; }},
        {"a ConvolutionTransposed of two values", [&](Plan& p) { op(p, "ConvolutionTransposed").inputs.push_back(op(p, "MaxPool").output); }},
        {"a ConvolutionTransposed with a convolution's kernel", [&](Plan& p) { op(p, "ConvolutionTransposed").parameters[0] = op(p, "Convolution").parameters[0]; }},
        {"a ConvolutionTransposed with a bias of x's columns", [&](Plan& p) { op(p, "ConvolutionTransposed").parameters[1] = op(p, "Convolution").parameters[1]; }},
        {"groups that see too few values", [&](Plan& p) { op(p, "Depthwise").inputs.pop_back(); }},
        {"groups that see values of other columns", [&](Plan& p) { op(p, "Depthwise").inputs[1] = op(p, "ConvolutionTransposed").output; }},
        {"groups that see nothing", [&](Plan& p) { op(p, "Depthwise").inputs.clear(); }},
        {"groups that see more than there is room for", [&](Plan& p) { op(p, "Depthwise").inputs.assign(65, op(p, "Depthwise").inputs[0]); }},
        {"columns that are not there", [&](Plan& p) { op(p, "Columns").settings.arrays["sources"][0] = 2; }},
        {"a column too few", [&](Plan& p) { op(p, "Columns").settings.arrays["sources"].pop_back(); }},
        {"columns at other positions", [&](Plan& p) { op(p, "Columns").inputs[0] = op(p, "Convolution").output; }},
        {"a kernel of other taps", [&](Plan& p) { p.parameters[size_t(op(p, "Convolution").parameters[0])].taps = 6; }},
        {"a kernel without taps", [&](Plan& p) { p.parameters[size_t(op(p, "Convolution").parameters[0])].taps = 0; }},
        {"a kernel of fewer outputs", [&](Plan& p) { p.parameters[size_t(op(p, "Convolution").parameters[0])].n_out = 4; }},
        {"a kernel of more channels", [&](Plan& p) { p.parameters[size_t(op(p, "Convolution").parameters[0])].n_in = 16; }},
        {"a kernel for a Linear", [](Plan& p) { p.parameters[0].taps = 1; }},
        {"taps that do not divide a kernel", [](Plan& p) { p.parameters.push_back({2, 5, 3}); }},
        {"taps of a bias", [](Plan& p) { p.parameters[1].taps = 3; }},
        {"taps below 0", [](Plan& p) { p.parameters[0].taps = -1; }},
        {"a pool with a window that sees nothing", [&](Plan& p) { op(p, "MaxPool").settings.arrays["begins"][1] = 0; }},
        {"a pool of other columns", [&](Plan& p) { p.values[size_t(op(p, "MaxPool").output)].columns = 4; }},
        {"a pool of fewer positions", [&](Plan& p) { p.values[size_t(op(p, "MaxPool").output)].positions = 3; }},
        {"a pool that looks over the end", [&](Plan& p) { op(p, "MaxPool").settings.arrays["sources"][2] = 6; }},
        {"a pool that does not say", [&](Plan& p) { op(p, "MaxPool").settings.arrays.erase("begins"); }},
        {"positions over the end", [&](Plan& p) { op(p, "Positions").settings.arrays["sources"][0] = 4; }},
        {"positions that begin behind the last", [&](Plan& p) { op(p, "Positions").settings.arrays["begins"].back() = 9; }},
        {"positions that end before the last", [&](Plan& p) { op(p, "Positions").settings.arrays["begins"].back() = 3; }},
        {"positions that begin later", [&](Plan& p) { op(p, "Positions").settings.arrays["begins"][0] = 1; }},
        {"positions that begin in disorder", [&](Plan& p) { op(p, "Positions").settings.arrays["begins"][3] = 4; }},
        {"positions without beginnings", [&](Plan& p) { op(p, "Positions").settings.arrays["begins"].clear(); }},
        {"a weight too few", [&](Plan& p) { op(p, "Positions").settings.arrays["weights"].pop_back(); }},
        {"positions without a number for elsewhere", [&](Plan& p) { op(p, "Positions").settings.numbers.clear(); }},
        {"a p of Dropout above 1", [&](Plan& p) { op(p, "Dropout").settings.numbers["p"] = 1.5; }},
        {"a p of Dropout that is NaN", [&](Plan& p) { op(p, "Dropout").settings.numbers["p"] = NAN; }},
        {"a Dropout without a stream", [&](Plan& p) { op(p, "Dropout").settings.numbers.erase("stream"); }},
        {"an op that nobody knows", [](Plan& p) { p.ops[1].settings.kind = "Swish"; }},
        {"a loss that nobody knows", [](Plan& p) { p.heads[0].loss.kind = "Hinge"; }},
        {"a loss that does not say", [](Plan& p) { p.heads[0].loss.numbers.clear(); }},
        {"classes for a loss of numbers", [](Plan& p) { p.heads[0].class_targets = true; }},
        {"numbers for a loss of classes", [](Plan& p) { p.heads[1].class_targets = false, p.heads[1].loss = settings("NLLLoss"); }},
        {"class weights for another number of classes", [](Plan& p) { p.heads[1].loss.arrays["weight"] = {1, 2}; }},
        {"fewer heads than outputs", [](Plan& p) { p.heads.pop_back(); }},
        {"more heads than outputs", [](Plan& p) { p.heads.push_back(p.heads[0]); }},
        {"an optimizer that nobody knows", [](Plan& p) { p.rules[0].optimizer.kind = "Adan"; }},
        {"an optimizer that does not say", [](Plan& p) { p.rules[0].optimizer.numbers.erase("beta2"); }},
        {"a rule of an optimizer that does not say", [](Plan& p) { p.rules.push_back(p.rules[0]), p.rules[1].optimizer.numbers.erase("maximize"); }},
        {"rules for other parameters", [](Plan& p) { p.rule_of = {0, 0}; }},
        {"a rule that is not there", [](Plan& p) { p.rule_of.assign(p.parameters.size(), 0), p.rule_of[1] = 1; }},
        {"a rule below -1", [](Plan& p) { p.rule_of.assign(p.parameters.size(), 0), p.rule_of[1] = -2; }},
        {"a constraint that nobody knows", [](Plan& p) { p.rules[0].constraints = {constraint_settings("Narrow")}; }},
        {"a constraint that does not say", [](Plan& p) { p.rules[0].constraints = {constraint_settings("MaxNorm")}; }},
        {"a mask that does not fit", [](Plan& p) { p.rules[0].constraints = {constraint_settings("Mask")}, p.rules[0].constraints[0].arrays["mask"] = {1, 0}; }},
        {"an empty value", [](Plan& p) { p.values[0].columns = 0; }},
        {"a value of no position", [](Plan& p) { p.values[2].positions = 0; }},
        {"a negative value", [](Plan& p) { p.values[1].columns = -9; }},
        {"a huge value", [](Plan& p) { p.values[1].columns = std::numeric_limits<int64_t>::max(); }},
        {"an empty parameter", [](Plan& p) { p.parameters[0].n_out = 0; }},
        {"a huge parameter", [](Plan& p) { p.parameters[0].n_in = std::numeric_limits<int64_t>::max(); }},
        {"no rows", [](Plan& p) { p.batch = 0; }},
        {"negative samples", [](Plan& p) { p.samples = -1; }},
        {"no thread", [](Plan& p) { p.threads = 0; }},
        {"more memory than it may have", [](Plan& p) { p.limit_bytes = 1000; }},
        {"more rows than can be counted", [](Plan& p) { p.batch = std::numeric_limits<int64_t>::max(); }},
        {"more samples than can be counted", [](Plan& p) { p.samples = std::numeric_limits<int64_t>::max(); }},
    };
    for (const auto& [name, spoil] : cases) {
        Plan plan = net.plan;
        spoil(plan);
        const std::string why = why_refused(plan);
        CHECK(!why.empty() && why != "no message", "%s", name);
    }
}

TEST("a plan that is broken anywhere is refused, or runs") {
    std::mt19937_64 rng(1);
    const auto below = [&](size_t n) { return int(rng() % n); };
    int made = 0, refused = 0;
    for (int turn = 0; turn < 20000; ++turn) {
        Drawing drawing;
        drawing.ops = 1 + turn % 8, drawing.widest = 10, drawing.positions = turn % 3 ? 0 : 16;
        Plan plan = random_plan(uint64_t(turn % 500), turn % 2 ? DType::float32 : DType::float64, drawing);
        plan.batch = 1 + below(20), plan.samples = 20, plan.limit_bytes = 1 << 26;
        const auto number = [&]() -> int64_t {
            const int64_t strange[] = {-1, 0, 1, 2, 3, 8, 9, 17, 1 << 20, int64_t(1) << 31, int64_t(1) << 40, std::numeric_limits<int64_t>::max(), std::numeric_limits<int64_t>::min()};
            return below(2) ? below(12) : strange[below(13)];
        };
        const auto place = [&] { return below(4) ? below(plan.values.size() + 1) : int(number()); };
        for (int change = 1 + below(2); change > 0; --change) {
            if (plan.ops.empty() || plan.outputs.empty() || plan.inputs.empty() || plan.heads.empty() || plan.parameters.empty()) break;
            Op& op = plan.ops[size_t(below(plan.ops.size()))];
            Head& head = plan.heads[size_t(below(plan.heads.size()))];
            switch (below(drawing.positions ? 26 : 22)) {
                case 0: if (!op.inputs.empty()) op.inputs[size_t(below(op.inputs.size()))] = place(); break;
                case 1: op.inputs.push_back(place()); break;
                case 2: if (!op.inputs.empty()) op.inputs.pop_back(); break;
                case 3: op.output = place(); break;
                case 4: if (!op.parameters.empty()) op.parameters[size_t(below(op.parameters.size()))] = below(plan.parameters.size() + 1) - below(2); break;
                case 5: op.parameters.push_back(below(plan.parameters.size())); break;
                case 6: if (!op.parameters.empty()) op.parameters.pop_back(); break;
                case 7: plan.values[size_t(below(plan.values.size()))].columns = number(); break;
                case 8: plan.values[size_t(below(plan.values.size()))].positions = number(); break;
                case 9: plan.parameters[size_t(below(plan.parameters.size()))].n_out = number(); break;
                case 10: plan.parameters[size_t(below(plan.parameters.size()))].n_in = number(); break;
                case 11: plan.inputs[size_t(below(plan.inputs.size()))] = place(); break;
                case 12: plan.outputs[size_t(below(plan.outputs.size()))] = place(); break;
                case 13: std::swap(op, plan.ops[size_t(below(plan.ops.size()))]); break;
                case 14: plan.ops.erase(plan.ops.begin() + below(plan.ops.size())); break;
                case 15: plan.ops.push_back(Op(op)); break;
                case 16: plan.batch = below(2) ? below(30) : number(); break;
                case 17: plan.samples = number(); break;
                case 18: op.settings.kind = std::vector<std::string>{"Linear", "ReLU", "Sum", "Concat", "Permute", "Reshape", "Softmax", "Dropout", ""}[size_t(below(9))]; break;
                case 19: head.class_targets = !head.class_targets; break;
                case 20: head.loss = settings(std::vector<std::string>{"MSELoss", "NLLLoss", "CrossEntropyLoss", "BCEWithLogitsLoss", "HuberLoss", ""}[size_t(below(6))]); break;
                case 21: plan.outputs.push_back(place()); if (below(2)) plan.heads.push_back(head); break;
                case 22: plan.parameters[size_t(below(plan.parameters.size()))].taps = number(); break;
                case 23: op.settings.kind = std::vector<std::string>{"Convolution", "ConvolutionTransposed", "Depthwise", "Columns", "LayerNorm", "GroupNorm", "Positions", "MaxPool", "ChannelsLast", "ChannelsFirst", "LocalResponseNorm", "DropoutOfChannels"}[size_t(below(12))]; break;
                default: {  // a table
                    if (op.settings.arrays.empty()) break;
                    std::vector<double>& table = std::next(op.settings.arrays.begin(), below(op.settings.arrays.size()))->second;
                    if (below(4) == 0) table.push_back(double(number()));
                    else if (!table.empty() && below(4) == 0) table.pop_back();
                    else if (!table.empty()) table[size_t(below(table.size()))] = below(8) ? double(number()) : NAN;
                }
            }
        }
        std::unique_ptr<Engine> engine;
        try {
            engine = chainrule_engine.create(plan);
        } catch (const std::exception& error) {
            CHECK(error.what()[0] != 0);
            ++refused;
            continue;
        }
        ++made;
        const int64_t rows = std::min<int64_t>(plan.batch, 20);
        int64_t most = 0;
        for (const ValueShape& shape : plan.values) most = std::max(most, shape.size());
        if (most > 100000) continue;
        const Problem<double> in_double(plan, rows, turn);
        const Problem<float> in_float(plan, rows, turn);
        Arrays<double> y(plan, plan.outputs, rows), dx(plan, plan.inputs, rows);  // large enough for either
        const Dataset& data = plan.dtype == DType::float64 ? in_double.data : in_float.data;
        plan.dtype == DType::float64 ? in_double.write(*engine) : in_float.write(*engine);
        engine->predict(data.x.data(), rows, y.to());
        engine->forward(data.x.data(), rows, y.to(), true);
        engine->backward(y.from(), rows, dx.to());
        if (plan.heads.empty()) continue;
        engine->step(data, 0.01);
    }
    CHECK(made > 1000 && refused > 5000, "%d made, %d refused", made, refused);
}

}  // namespace

TEST_MAIN
