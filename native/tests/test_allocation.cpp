// The loop allocates nothing: every way to the heap is counted while it runs.
#include <atomic>
#include <cstdlib>
#include <new>
#include <vector>

#include "../src/engine.h"
#include "check.h"
#include "optimizer_settings.h"

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

static void run(int threads, bool classes, const char* optimizer, int batch) {
    Plan plan;
    plan.n_in = 20;
    int width[] = {20, 90, 90, 7};
    for (int i = 1; i < 4; ++i) {
        Op linear, activation, dropout;
        linear.weight = int(plan.parameters.size());
        linear.bias = linear.weight + 1;
        plan.parameters.push_back({width[i], width[i - 1]});
        plan.parameters.push_back({width[i], 0});
        plan.ops.push_back(linear);
        if (i == 3) break;
        activation.kind = OpKind::activation;
        activation.activation.kind = i == 1 ? ActivationKind::Tanh : ActivationKind::GELU;
        plan.ops.push_back(activation);
        dropout.kind = OpKind::dropout;
        dropout.p = 0.25;
        dropout.dropout_layer = uint32_t(i - 1);
        plan.ops.push_back(dropout);
    }
    plan.has_loss = plan.has_optimizer = true;
    plan.class_targets = classes;
    if (classes) plan.loss.kind = LossKind::CrossEntropyLoss;
    plan.optimizer = optimizer_settings(optimizer, {{"clip_norm", 1}});
    plan.batch = batch;
    plan.samples = 1000;
    plan.threads = threads;
    auto engine = chainrule_engine.create(plan);
    std::vector<float> x(20 * 1000, 0.3f), target(7 * 1000, 0.1f), weights(90 * 90, 0.01f), y(7 * 1000);
    std::vector<int64_t> indices(1000, 2);
    for (size_t i = 0; i < plan.parameters.size(); ++i) engine->write_parameter(int(i), weights.data());
    Dataset data{1000, x.data(), target.data(), indices.data(), nullptr};
    const double lr[] = {0.01, 0.01, 0.01};
    double losses[3], validation[3];
    Training training;
    training.batch = batch;
    training.lr = lr;
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
    engine->evaluate(data, y.data());
    engine->predict(x.data(), 1000, y.data());
    engine->forward(x.data(), batch, y.data(), true);
    engine->backward(target.data(), batch, nullptr);
    data.rows = batch;
    engine->step(data, 0.01);
    const long after = allocations;
    CHECK(outcome == Outcome::finished);
    CHECK(after == before, "%ld allocations, %d threads, batch %d", after - before, threads, batch);
    CHECK(losses[2] < losses[0]);
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
            run(threads, false, "SGD", batch);
            run(threads, true, "Adam", batch);
        }
}

TEST_MAIN
