// optimizers.h against the naive twin: every optimizer with its options over fifty steps, with and without clipping.
#include "naive_optimizers.h"

#include <limits>
#include <random>

#include "check.h"
#include "matrices.h"

using namespace chainrule;

namespace {

std::vector<Optimizer> variants() {
    std::vector<Optimizer> all;
    for (double decay : {0.0, 0.01}) {
        auto add = [&](Optimizer o) { o.weight_decay = decay, all.push_back(o); };
        Optimizer o;
        add(o);
        o.momentum = 0.9, add(o);
        o.dampening = 0.3, add(o);
        o.dampening = 0, o.nesterov = true, add(o);
        for (OptimizerKind kind : {OptimizerKind::Adam, OptimizerKind::AdamW})
            for (bool amsgrad : {false, true}) {
                o = {}, o.kind = kind, o.amsgrad = amsgrad, add(o);
                o.beta1 = 0.3, o.beta2 = 0.9, o.eps = 1e-4, add(o);
            }
        for (bool centered : {false, true})
            for (double momentum : {0.0, 0.8}) {
                o = {}, o.kind = OptimizerKind::RMSprop, o.centered = centered, o.momentum = momentum, add(o);
            }
        o = {}, o.kind = OptimizerKind::Adagrad, o.eps = 1e-10, add(o);
        o.lr_decay = 0.1, o.initial_accumulator_value = 0.2, add(o);
    }
    return all;
}

template <class T>
void compare(const Optimizer& o, int64_t n, double gradient_scale, double clip_value) {
    using R = Reference<T>;
    std::mt19937_64 random(uint64_t(n) * 7 + 1);
    std::normal_distribution<double> normal(0, 1);
    std::vector<T> value(static_cast<size_t>(n)), gradient(static_cast<size_t>(n));
    std::vector<std::vector<T>> memory(size_t(optimizer_states(o)), std::vector<T>(size_t(n), T(initial_state(o, 0))));
    std::vector<T*> states;
    for (auto& m : memory) states.push_back(m.data());
    std::vector<naive::Parameter<R>> twin(static_cast<size_t>(n));
    for (size_t i = 0; i < size_t(n); ++i) twin[i].value = value[i] = T(normal(random));
    const int steps = 50;
    for (int step = 1; step <= steps; ++step) {
        const double lr = 0.05 / step;
        for (size_t i = 0; i < size_t(n); ++i) {
            gradient[i] = T(normal(random) * 3);
            naive::update<R>(o, twin[i], gradient[i], R(lr), R(T(gradient_scale)), R(T(clip_value)));
        }
        optimizer_update(o, optimizer_step(o, lr, step, gradient_scale, clip_value), value.data(), gradient.data(), states.data(), n);
    }
    // Each step adds some ten roundings of its own size (at most about 0.05 · 3 / (1 - momentum)), and options such as
    // beta2 are rounded to T, which tells on 1 - beta2 for every step that the mean remembers.
    const double bound = 10 * steps * std::numeric_limits<T>::epsilon() * 4;
    for (size_t i = 0; i < size_t(n); ++i)
        CHECK(std::fabs(R(value[i]) - twin[i].value) <= bound, "kind %d, momentum %g, centered %d, amsgrad %d, decay %g: %.9g, not %.9g", int(o.kind),
              o.momentum, o.centered, o.amsgrad, o.weight_decay, double(value[i]), double(twin[i].value));
}

template <class T>
void compare_all() {
    for (const Optimizer& o : variants())
        for (int64_t n : {16, 48, 272}) {
            compare<T>(o, n, 1, 0);
            compare<T>(o, n, 0.37, 0);
            compare<T>(o, n, 1, 0.8);
        }
}

TEST("every optimizer follows its naive twin for fifty steps, float") { compare_all<float>(); }
TEST("every optimizer follows its naive twin for fifty steps, double") { compare_all<double>(); }

TEST("power agrees with libm") {
    for (double base : {0.3, 0.9, 0.999, 0.999999})
        for (int64_t n : {1, 2, 3, 10, 1000, 65537}) {
            const double expected = std::pow(base, double(n));
            CHECK(std::fabs(power(base, n) - expected) <= double(n) * 2.3e-16 * expected, "%g^%ld", base, long(n));
        }
}

TEST("one step of Adam by hand") {
    // mean = 0.1 g, square = 0.001 g², both corrected to g and g²: the step is lr g / (|g| + eps)
    Optimizer o;
    o.kind = OptimizerKind::Adam;
    std::vector<double> value(16, 1.0), gradient(16, 4.0), mean(16), square(16);
    double* states[] = {mean.data(), square.data()};
    optimizer_update(o, optimizer_step(o, 0.1, 1), value.data(), gradient.data(), states, 16);
    CHECK(std::fabs(value[0] - (1 - 0.1 * 4 / (4 + 1e-8))) < 1e-15, "%.17g", value[0]);
}

template <class T>
void sum_every_shape() {
    for (int64_t rows : {1, 3})
        for (int64_t columns : {1, 8, 9, 16, 17, 40, 100})
            for (double cut : {0.0, 0.5}) {
                Storage<T> g(rows, columns, T(7));  // a padding that would be seen
                double expected = 0;
                std::mt19937_64 random(uint64_t(rows * 1000 + columns));
                std::normal_distribution<double> normal(0, 1);
                g.fill([&](int64_t, int64_t) { return normal(random); });
                for (int64_t r = 0; r < rows; ++r)
                    for (int64_t c = 0; c < columns; ++c) {
                        const double v = cut > 0 ? naive::clamp(double(g.matrix.at(r, c)), cut) : double(g.matrix.at(r, c));
                        expected += v * v;
                    }
                const double bound = double(columns) * std::numeric_limits<T>::epsilon() * expected;
                CHECK(std::fabs(sum_of_squares(g.matrix, cut) - expected) <= bound, "%ld x %ld", long(rows), long(columns));
                g.matrix.at(rows - 1, columns - 1) = T(NAN);
                CHECK(std::isnan(sum_of_squares(g.matrix, cut)));
            }
}

TEST("the sum of squares of clip_grad_norm_ is that of what clip_value leaves, without the padding") {
    sum_every_shape<float>();
    sum_every_shape<double>();
}

TEST("the scale of clip_grad_norm_ is at most 1, 0 for an infinite norm, NaN for one that is NaN") {
    CHECK(clip_scale(10, 25) == 1 && std::fabs(clip_scale(1, 25) - 0.2) < 1e-6);
    CHECK(clip_scale(1, INFINITY) == 0 && std::isnan(clip_scale(1, NAN)));
}

TEST("a NaN gradient is not clipped away") {
    Optimizer o;
    std::vector<float> value(16, 1.0f), gradient(16, NAN);
    optimizer_update<float>(o, optimizer_step(o, 0.1, 1, 1, 0.5), value.data(), gradient.data(), nullptr, 16);
    CHECK(std::isnan(value[0]));
}

}  // namespace

TEST_MAIN
