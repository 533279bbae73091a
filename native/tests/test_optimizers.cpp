// src/optimizers against the naive twins: every optimizer with its options over fifty steps, with and without clipping.
#include "naive_optimizers.h"

#include <limits>
#include <random>
#include <string>
#include <vector>

#include "../src/optimizers/elementwise.h"
#include "check.h"
#include "matrices.h"
#include "optimizer_settings.h"

using namespace chainrule;

namespace {

std::vector<Settings> variants() {
    std::vector<Settings> all;
    for (double decay : {0.0, 0.01}) {
        auto add = [&](const std::string& kind, std::map<std::string, double> changes = {}) {
            changes["weight_decay"] = decay;
            all.push_back(optimizer_settings(kind, changes));
        };
        add("SGD");
        add("SGD", {{"momentum", 0.9}});
        add("SGD", {{"momentum", 0.9}, {"dampening", 0.3}});
        add("SGD", {{"momentum", 0.9}, {"nesterov", 1}});
        for (const char* kind : {"Adam", "AdamW"})
            for (double amsgrad : {0, 1}) {
                add(kind, {{"amsgrad", amsgrad}});
                add(kind, {{"amsgrad", amsgrad}, {"beta1", 0.3}, {"beta2", 0.9}, {"eps", 1e-4}});
            }
        add("Adam", {{"decoupled_weight_decay", 1}});
        add("Adam", {{"decoupled_weight_decay", 1}, {"amsgrad", 1}});
        for (double centered : {0, 1})
            for (double momentum : {0.0, 0.8}) add("RMSprop", {{"centered", centered}, {"momentum", momentum}});
        add("Adagrad");
        add("Adagrad", {{"lr_decay", 0.1}, {"initial_accumulator_value", 0.2}});
        add("ASGD");
        add("ASGD", {{"lambd", 0.3}, {"alpha", 0.6}, {"t0", 10}});
        add("Rprop");
        add("Rprop", {{"eta1", 0.3}, {"eta2", 1.9}, {"step_size1", 0.02}, {"step_size2", 0.06}});
        add("Adadelta");
        add("Adadelta", {{"rho", 0.5}, {"eps", 1e-3}});
        add("Adamax");
        add("Adamax", {{"beta1", 0.3}, {"beta2", 0.9}, {"eps", 1e-4}});
        add("RAdam");
        for (double decoupled : {0, 1})
            for (double beta2 : {0.5, 0.9}) add("RAdam", {{"beta1", 0.3}, {"beta2", beta2}, {"eps", 1e-4}, {"decoupled_weight_decay", decoupled}});
        add("NAdam");
        for (double decoupled : {0, 1})
            add("NAdam", {{"beta1", 0.95}, {"beta2", 0.9}, {"eps", 1e-4}, {"momentum_decay", 0.7}, {"decoupled_weight_decay", decoupled}});
    }
    return all;
}

std::string words(const Settings& settings) {
    std::string text = settings.kind;
    for (const auto& [name, value] : settings.numbers) text += " " + name + "=" + std::to_string(value);
    return text;
}

// The arrays of state of an optimizer for n numbers, as the engine makes them.
template <class T>
struct States {
    std::vector<std::vector<T>> arrays;
    std::vector<T*> pointers;
    States(const Optimizer<T>& optimizer, int64_t n) {
        for (int k = 0; k < optimizer.states(); ++k) arrays.emplace_back(size_t(n), T(optimizer.initial_state(k)));
        for (auto& array : arrays) pointers.push_back(array.data());
    }
};

template <class T>
void compare(Settings settings, int64_t n, double gradient_scale, double clip_value) {
    using R = Reference<T>;
    settings.numbers["clip_value"] = T(clip_value);
    const auto optimizer = make_optimizer<T>(settings);
    const naive::Update<R> expected = naive::optimizer<R>(settings, R(T(gradient_scale)));
    std::mt19937_64 random(uint64_t(n) * 7 + 1);
    std::normal_distribution<double> normal(0, 1);
    std::vector<T> value(static_cast<size_t>(n)), gradient(static_cast<size_t>(n));
    States<T> states(*optimizer, n);
    std::vector<naive::Parameter<R>> twin(static_cast<size_t>(n));
    for (size_t i = 0; i < size_t(n); ++i) twin[i].value = value[i] = T(normal(random));
    const int steps = 50;
    for (int step = 1; step <= steps; ++step) {
        const double lr = 0.05 / step;
        for (size_t i = 0; i < size_t(n); ++i) {
            gradient[i] = T(normal(random) * 3);
            expected(twin[i], gradient[i], R(lr));
        }
        optimizer->update({lr, step, gradient_scale}, value.data(), gradient.data(), states.pointers.data(), n);
    }
    // Each step adds some ten roundings of its own size (at most about 0.05 · 3 / (1 - momentum)), and options such as
    // beta2 are rounded to T, which tells on 1 - beta2 for every step that the mean remembers.
    const double bound = 10 * steps * std::numeric_limits<T>::epsilon() * 4;
    for (size_t i = 0; i < size_t(n); ++i)
        CHECK(std::fabs(R(value[i]) - twin[i].value) <= bound, "%s: %.9g, not %.9g", words(settings).c_str(), double(value[i]),
              double(twin[i].value));
}

template <class T>
void compare_all() {
    for (const Settings& settings : variants())
        for (int64_t n : {16, 48, 272}) {
            compare<T>(settings, n, 1, 0);
            compare<T>(settings, n, 0.37, 0);
            compare<T>(settings, n, 1, 0.8);
            compare<T>(settings, n, 0.37, 0.8);
        }
}

TEST("every optimizer follows its naive twin for fifty steps, float") { compare_all<float>(); }
TEST("every optimizer follows its naive twin for fifty steps, double") { compare_all<double>(); }

// Of a plain one the product that makes the gradient may do the update itself, as nothing else happens.
template <class T>
void plain_ones() {
    for (Settings settings : variants())
        for (double clip_value : {0.0, 0.5})
            for (double clip_norm : {0.0, 0.5}) {
                settings.numbers["clip_value"] = clip_value, settings.numbers["clip_norm"] = clip_norm;
                const auto optimizer = make_optimizer<T>(settings);
                const bool expected = settings.kind == "SGD" && settings.number("momentum") == 0 && settings.number("weight_decay") == 0 &&
                                      clip_value == 0 && clip_norm == 0;
                CHECK(optimizer->is_plain() == expected, "%s", words(settings).c_str());
                if (!expected) continue;
                std::vector<T> value(16, T(0.7)), gradient(16, T(0.3));
                optimizer->update({0.1, 3}, value.data(), gradient.data(), nullptr, 16);
                for (T v : value) CHECK(v == T(0.7) - T(0.1) * T(0.3));
            }
}

TEST("an optimizer is plain that takes lr times the gradient from the value") {
    plain_ones<float>();
    plain_ones<double>();
}

// Numbers that are 0 with all that belongs to them: padding, and dead units. An eps that is more than 0, however little,
// counts as that, also where the processor takes denormal numbers for 0.
template <class T>
void padding() {
    const double least = std::numeric_limits<T>::denorm_min();
    for (const Settings& variant : variants())
        for (double eps : {0.0, 1e-320, least, 1e-8}) {
            Settings settings = variant;
            if (!settings.numbers.count("eps")) continue;
            settings.numbers["eps"] = eps, settings.numbers["initial_accumulator_value"] = 0;
            const auto optimizer = make_optimizer<T>(settings);
            std::vector<T> value(16, T(0)), gradient(16, T(0));
            States<T> states(*optimizer, 16);
            optimizer->update({0.1, 100}, value.data(), gradient.data(), states.pointers.data(), 16);
            const bool divides = settings.kind != "RAdam" || settings.number("beta2") > 2.0 / 3;  // else it never does
            CHECK(optimizer->spoils_padding() == (eps == 0 && divides), "%s", words(settings).c_str());
            for (T v : value) CHECK(eps == 0 && divides ? std::isnan(v) : v == 0, "%s: %g", words(settings).c_str(), double(v));
        }
    for (const Settings& settings : variants())
        if (settings.kind == "SGD") CHECK(!make_optimizer<T>(settings)->spoils_padding());
}

TEST("who spoils padding says so; an eps above 0 stays above 0") {
    padding<float>();
    padding<double>();
}

// Rates of a step may bring a momentum along: the same bits as of an optimizer that was made with it.
template <class T>
void momentum_of_a_step() {
    for (const char* kind : {"SGD", "RMSprop", "Adam", "AdamW"})
        for (double further : {0, 1}) {
            const char* const name = kind[0] == 'A' ? "beta1" : "momentum";
            const std::map<std::string, double> options{{name, 0.5}, {"weight_decay", 0.01}, {"nesterov", further}, {"amsgrad", further}, {"centered", further}};
            const Settings settings = optimizer_settings(kind, options);
            const auto one = make_optimizer<T>(settings);
            std::vector<T> value(16, T(0.7)), other = value;
            States<T> states(*one, 16), others(*one, 16);
            for (int64_t step = 1; step <= 8; ++step) {
                const double momentum = step % 3 ? 0.1 * double(step - 1) : -1;
                Settings anew = settings;
                if (momentum >= 0) anew.numbers[name] = momentum, anew.numbers["keeps_momentum"] = momentum > 0;
                std::vector<T> gradient(16, T(0.3) / T(step));
                one->update({0.1, step, 1, momentum}, value.data(), gradient.data(), states.pointers.data(), 16);
                make_optimizer<T>(anew)->update({0.1, step, 1}, other.data(), gradient.data(), others.pointers.data(), 16);
            }
            CHECK(value == other && states.arrays == others.arrays, "%s", kind);
        }
}

TEST("the momentum of a step takes the place of the optimizer's own") {
    momentum_of_a_step<float>();
    momentum_of_a_step<double>();
}

TEST("what is missing is refused by name") {
    auto refusal = [](const Settings& settings) -> std::string {
        try {
            make_optimizer<float>(settings);
        } catch (const std::invalid_argument& error) {
            return error.what();
        }
        return "";
    };
    Settings settings = optimizer_settings("Adam");
    settings.kind = "Adamant";
    CHECK(refusal(settings) == "the engine has no optimizer Adamant");
    settings.kind = "Adam";
    settings.numbers.erase("beta2");
    CHECK(refusal(settings) == "Adam: the plan does not say its beta2");
}

TEST("power agrees with libm") {
    for (double base : {0.3, 0.9, 0.999, 0.999999})
        for (int64_t n : {1, 2, 3, 10, 1000, 65537}) {
            const double expected = std::pow(base, double(n));
            CHECK(std::fabs(power(base, n) - expected) <= double(n) * 2.3e-16 * expected, "%g^%ld", base, long(n));
        }
}

TEST("real_power agrees with libm") {
    for (double base : {1e-300, 0.3, 0.96, 1.0, 1.0001, 1.5, 7.0, 1e6, 1e300})
        for (double exponent : {0.0, 4e-3, 0.5, 0.75, 1.0, 2.5, -0.8, -30.0}) {
            const double expected = std::pow(base, exponent), size = 1 + std::fabs(exponent * std::log(base));
            const bool same = std::isinf(expected) ? real_power(base, exponent) == expected
                                                   : std::fabs(real_power(base, exponent) - expected) <= 4.4e-16 * size * expected;
            CHECK(same, "%g^%g is %.17g, not %.17g", base, exponent, real_power(base, exponent), expected);
        }
    CHECK(real_power(INFINITY, 0.75) == INFINITY && real_power(INFINITY, -1) == 0 && real_power(0.5, 1e300) == 0);
    CHECK(std::isnan(real_power(NAN, 0.5)) && std::isnan(real_power(2, NAN)));
}

TEST("one step of Adam by hand") {
    // mean = 0.1 g, square = 0.001 g², both corrected to g and g²: the step is lr g / (|g| + eps)
    std::vector<double> value(16, 1.0), gradient(16, 4.0), mean(16), square(16);
    double* states[] = {mean.data(), square.data()};
    make_optimizer<double>(optimizer_settings("Adam"))->update({0.1, 1}, value.data(), gradient.data(), states, 16);
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

TEST("a NaN gradient is not clipped away, nor is a NaN scale") {
    for (float g : {NAN, 1.0f}) {
        std::vector<float> value(16, 1.0f), gradient(16, g);
        const auto optimizer = make_optimizer<float>(optimizer_settings("SGD", {{"clip_value", 0.5}}));
        optimizer->update({0.1, 1, g == 1 ? NAN : 1.0}, value.data(), gradient.data(), nullptr, 16);
        CHECK(std::isnan(value[0]));
    }
}

}  // namespace

TEST_MAIN
