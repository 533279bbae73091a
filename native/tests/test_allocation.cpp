// The loop allocates nothing: every way to the heap is counted while it runs.
#include <atomic>
#include <cstdlib>
#include <new>
#include <vector>

#include "../src/engine.h"
#include "check.h"
#include "plans.h"
#include "problems.h"
#include "random_rules.h"

static std::atomic<long> allocations{0};

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
void* malloc(size_t n) { return ++allocations, __libc_malloc(n); }
void* calloc(size_t n, size_t size) { return ++allocations, __libc_calloc(n, size); }
void* realloc(void* p, size_t n) { return ++allocations, __libc_realloc(p, n); }
void* aligned_alloc(size_t alignment, size_t n) { return ++allocations, __libc_memalign(alignment, n); }
}
#endif

using namespace chainrule;

// 20-90-90-7
static Builder chain(const char* loss, const char* optimizer) {
    Builder net;
    const int h = net.dropout(net.add("Tanh", {net.linear(net.input(20), 90)}), 0.25);
    net.head(net.linear(net.dropout(net.add("GELU", {net.linear(h, 90)}), 0.25), 7), loss);
    net.optimizer(optimizer, {{"clip_norm", 1}});
    return net;
}

// Every kind of op and of fork, two inputs, two heads, a shared Linear.
static Builder graph(const char* optimizer) {
    Builder net;
    const int x = net.input(20), z = net.input(5), h = net.add("ReLU", {net.linear(x, 90)});
    const int body = net.linear(net.dropout(net.add("ReLU", {net.linear(h, 90)}), 0.25), 90), skip = net.add("Sum", {h, body});
    const int gate = net.add("Sigmoid", {net.linear(z, 90)}), gated = net.add("Multiply", {skip, gate, net.linear_again(skip, body)});
    const int rows = net.add("Tanh", {net.linear(net.reshape(net.concat({gated, z, skip}), 5), 10)});  // 185 numbers, 5 positions
    std::vector<int> columns(50);
    for (int i = 0; i < 50; ++i) columns[size_t(i)] = i * 7 % 50;
    const int flat = net.permute(net.reshape(rows, 1), columns);
    net.head(net.linear(net.add("Softmax", {flat}), 7), "CrossEntropyLoss", 0.5);
    net.head(net.linear(flat, 3), "MSELoss", 2);
    net.optimizer(optimizer, {{"clip_norm", 1}});
    return net;
}

// Convolutions, padding, pools, a skip: images of 16 x 12, of which less than 32 pass at once.
static Builder images(const char* optimizer) {
    Builder net;
    const Axes around{{16, 1, 1, 1, 1}, {12, 1, 1, 1, 1}}, kernel{{18, 3}, {14, 3}}, halves{{16, 2, 2}, {12, 2, 2}};
    const int x = net.channels_last(net.input(2 * 192), 192), h = net.add("ReLU", {net.convolution(net.positions(x, padded(around, Around::mirror)), 12, kernel)});
    const int body = net.convolution(net.positions(h, padded(around, Around::nothing)), 12, kernel);
    const int small = net.max_pool(net.dropout(net.add("ReLU", {net.add("Sum", {h, body})}), 0.25), seen(halves));
    const int y = net.channels_first(net.positions(net.convolution(small, 20, {{8, 3, 2}, {6, 3, 1, 2}}), seen({{3, 3}, {2}})));
    const int grown = net.transposed(net.depthwise({small}, {{8, 3}, {6}}), 2, {{13, 3, 2}, {6}}), z = net.depthwise({net.columns(grown, {1, 0, 0}), net.columns(grown, {1, 1, 0})}, {{78, 5, 3}});
    net.head(net.linear(net.channels_first(z), 2));
    net.head(net.linear(y, 7), "CrossEntropyLoss");
    net.optimizer(optimizer, {{"clip_norm", 1}});
    return net;
}

static void run(const Builder& net, int threads, int batch) {
    Plan plan = net.plan;
    plan.batch = batch;
    plan.samples = 1000;
    plan.threads = threads;
    plan.accumulate = batch < 300 ? threads : 1;
    plan.average = {"EMA", {{"decay", 0.9}}, {}, {}};
    auto engine = chainrule_engine.create(plan);
    Problem<float> problem(plan, 1000, 1);
    problem.write(*engine);
    Arrays<float> y(plan, plan.outputs, 1000), dx(plan, plan.inputs, 1000);
    const Dataset& data = problem.data;
    Dataset few = problem.from(plan, 0, batch);
    const std::vector<double> lr(3 * plan.rules.size(), 0.002);
    double losses[3], validation[3];
    std::vector<LossSum> sums(plan.heads.size());
    Training training;
    training.batch = batch;
    training.lr = lr.data();
    training.end_epoch = 3;
    training.losses = losses;
    training.validation = &data;
    training.validation_losses = validation;
    training.keep_best = true;
    training.max_seconds = 100;
    Position at;
    training.max_steps = 1;
    engine->run(data, training, at);  // starts the threads
    training.max_steps = -1;
    const long before = allocations;
    const Outcome outcome = engine->run(data, training, at);
    engine->evaluate(data, sums.data(), y.to());
    engine->predict(data.x.data(), 1000, y.to());
    engine->forward(data.x.data(), batch, y.to(), true);
    engine->backward(y.from(), batch, dx.to());
    engine->update(Rates(lr.data()));
    engine->step(few, Rates(lr.data()));
    const long after = allocations;
    CHECK(outcome == Outcome::finished);
    CHECK(after == before, "%ld allocations, %d threads, batch %d", after - before, threads, batch);
    CHECK(losses[2] < losses[0], "%g %g %g", losses[0], losses[1], losses[2]);
}

TEST("the training loop, evaluation, prediction and steps allocate nothing") {
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    const long before = allocations;
    static void* volatile kept;  // or the compiler may leave out what nobody uses
    kept = std::malloc(8);
    std::free(kept);
    kept = ::operator new(8);
    ::operator delete(kept);
    CHECK(allocations > before, "the counter does not count");
#endif
    for (int threads : {1, 2})
        for (int batch : {1, 32, 300}) {
            run(chain("MSELoss", "SGD"), threads, batch);
            run(chain("CrossEntropyLoss", "Adam"), threads, batch);
            run(graph("SGD"), threads, batch);
            run(graph("Adam"), threads, batch);
            run(images(batch > 1 ? "Adam" : "SGD"), threads, batch);
            Builder ruled = graph("Adam");
            for (Settings constraint : {constraint_settings("MaxNorm", {{"max_norm", 3}}), constraint_settings("L1", {{"strength", 1e-3}})})
                ruled.plan.rules[0].constraints.push_back(constraint);
            ruled.plan.rules.push_back({optimizer_settings("Adam", {{"amsgrad", 1}}), {}});
            for (size_t p = 0; p < ruled.plan.parameters.size(); ++p) ruled.plan.rule_of.push_back(p < 2 ? -1 : int(p % 2));
            run(ruled, threads, batch);
            for (const char* kind : {"Adafactor", "Muon"}) {
                Builder whole = graph(kind);
                whole.plan.lookahead.kind = "Lookahead", whole.plan.lookahead.numbers = {{"k", 3}, {"alpha", 0.5}};
                run(whole, threads, batch);
            }
        }
}

TEST_MAIN
