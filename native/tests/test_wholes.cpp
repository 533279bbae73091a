// Optimizers that look at all numbers of a parameter at once, against their naive twins: every kind of shape, options, steps.
#include "naive_wholes.h"

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "../src/parameter_matrix.h"
#include "../src/optimizers/optimizer.h"
#include "check.h"
#include "matrices.h"
#include "optimizer_settings.h"

using namespace chainrule;

namespace {

const ParameterShape shapes[] = {{1, 0}, {8, 0}, {9, 0}, {100, 0}, {1, 1}, {3, 2}, {8, 8}, {7, 1}, {1, 7}, {5, 9}, {8, 20}, {2, 50},
                                 {9, 1}, {1, 9}, {9, 8}, {17, 33}, {33, 17}, {40, 16}, {31, 40}, {32, 32}};

std::vector<Settings> variants() {
    const double low = 1e-2;  // numbers that are divided by what they are themselves have no digits to compare
    return {optimizer_settings("Adafactor"),
            optimizer_settings("Adafactor", {{"eps1", low}, {"eps2", 0.5}, {"weight_decay", 0.1}}),
            optimizer_settings("Adafactor", {{"beta2_decay", -0.3}, {"d", 2}}),
            optimizer_settings("Muon"),
            optimizer_settings("Muon", {{"nesterov", 0}, {"weight_decay", 0.1}, {"adjust_lr_fn", 1}, {"adamw_lr_ratio", 0.3}}),
            optimizer_settings("Muon", {{"momentum", 0}, {"ns_steps", 1}, {"eps", 10}, {"adamw_eps", low}}),
            optimizer_settings("Muon", {{"momentum", 0.5}, {"ns_steps", 0}, {"ns_coefficient1", 2}, {"ns_coefficient2", -1.5}, {"ns_coefficient3", 0.5}})};
}

std::string words(const Settings& settings, const ParameterShape& shape) {
    std::string text = settings.kind + " on " + std::to_string(shape.n_out) + " x " + std::to_string(shape.n_in);
    for (const auto& [name, value] : settings.numbers) text += " " + name + "=" + std::to_string(value);
    return text;
}

// An array as it lies in memory, with a guard behind it.
template <class T>
struct InMemory {
    ParameterShape shape;
    bool lies_as_value;
    size_t size;
    std::vector<T> memory;
    InMemory(const ParameterShape& shape, bool lies_as_value)
        : shape(shape), lies_as_value(lies_as_value), size(size_t(lies_as_value ? parameter_size<T>(shape) : round_up(count(), 64))), memory(size + 64, T(0)) {
        for (size_t i = size; i < memory.size(); ++i) memory[i] = T(-77);
    }
    int64_t count() const { return shape.n_out * (shape.n_in ? shape.n_in : 1); }
    template <class F>
    void each(F f) const {
        if (lies_as_value) each_place<T>(shape, f);
        else for (int64_t i = 0; i < count(); ++i) f(i);
    }
    std::vector<T> numbers() const {
        std::vector<T> all;
        each([&](int64_t at) { all.push_back(memory[size_t(at)]); });
        return all;
    }
    void write(const std::vector<T>& numbers) {
        auto next = numbers.begin();
        each([&](int64_t at) { memory[size_t(at)] = *next++; });
    }
    // Whether nothing but numbers was written.
    bool is_clean() const {
        std::vector<T> rest = memory;
        each([&](int64_t at) { rest[size_t(at)] = 0; });
        for (size_t i = 0; i < rest.size(); ++i)
            if (rest[i] != (i < size ? T(0) : T(-77))) return false;
        return true;
    }
};

template <class T>
void compare(Settings settings, const ParameterShape& shape, double gradient_scale, double clip_value) {
    using R = Reference<T>;
    settings.numbers["clip_value"] = T(clip_value);
    const auto optimizer = make_optimizer<T>(settings);
    const auto update = optimizer->of_whole(shape);
    CHECK(optimizer->states() == 0 && !optimizer->is_plain() && update != nullptr);
    InMemory<T> value(shape, true), gradient(shape, true);
    std::vector<InMemory<T>> kept;
    for (const KeptArray& array : update->kept()) kept.emplace_back(array.shape, array.lies_as_value);
    std::vector<T*> states;
    for (InMemory<T>& array : kept) states.push_back(array.memory.data());
    std::vector<T> scratch(size_t(update->scratch()) + 64);
    const size_t n = size_t(value.count());
    std::mt19937_64 random(n * 7 + size_t(shape.n_in));
    std::normal_distribution<double> normal(0, 1);
    std::vector<T> numbers(n);
    for (T& v : numbers) v = T(normal(random));
    value.write(numbers);
    std::vector<R> twin(numbers.begin(), numbers.end());
    naive::Whole<R> memory;
    const int steps = 20;
    for (int step = 1; step <= steps; ++step) {
        const double lr = 0.05 / step;
        for (T& v : numbers) v = T(normal(random) * 3);
        gradient.write(numbers);
        naive::update_whole<R>(settings, shape, memory, twin, std::vector<R>(numbers.begin(), numbers.end()), R(lr), R(T(gradient_scale)), R(std::numeric_limits<T>::epsilon()));
        std::fill(scratch.begin(), scratch.end() - 64, T(NAN));
        std::fill(scratch.end() - 64, scratch.end(), T(-77));
        update->update({lr, step, gradient_scale}, value.memory.data(), gradient.memory.data(), states.data(), scratch.data());
        for (size_t i = scratch.size() - 64; i < scratch.size(); ++i) CHECK(scratch[i] == T(-77), "%s: more scratch than it said", words(settings, shape).c_str());
    }
    // Sums of as many terms as there are numbers in a parameter, in each of the steps, whose lengths add up to less than 0.2.
    // Five steps of `orthogonal` multiply what is small by up to 3.4445⁵ < 500; and options such as the momentum are
    // rounded to T, which tells on 1 - momentum for every step that is remembered.
    const double amplified = settings.kind == "Muon" && shape.n_in > 0 ? std::pow(std::fabs(settings.number("ns_coefficient1")), settings.number("ns_steps")) : 1;
    const double bound = 0.2 * (double(n) + 20) * amplified * std::numeric_limits<T>::epsilon() + 4 * steps * std::numeric_limits<T>::epsilon();
    const std::vector<T> found = value.numbers();
    for (size_t i = 0; i < n; ++i)
        CHECK(std::fabs(R(found[i]) - twin[i]) <= bound, "%s: %.9g, not %.9g", words(settings, shape).c_str(), double(found[i]), double(twin[i]));
    CHECK(value.is_clean(), "the padding of %s", words(settings, shape).c_str());
    for (size_t k = 0; k < kept.size(); ++k) {
        CHECK(kept[k].is_clean(), "the padding of state %d of %s", int(k), words(settings, shape).c_str());
        if (memory.kept.empty()) continue;  // AdamW's
        const std::vector<T> state = kept[k].numbers();
        for (size_t i = 0; i < state.size(); ++i)
            CHECK(std::fabs(R(state[i]) - memory.kept[k][i]) <= (double(n) + 20) * 20 * steps * std::numeric_limits<T>::epsilon(), "state %d of %s", int(k), words(settings, shape).c_str());
    }
}

template <class T>
void compare_all() {
    for (const Settings& settings : variants())
        for (const ParameterShape& shape : shapes) {
            compare<T>(settings, shape, 1, 0);
            compare<T>(settings, shape, -0.37, 0.8);
        }
}

TEST("what is updated whole follows its naive twin, in any memory, float") { compare_all<float>(); }
TEST("what is updated whole follows its naive twin, in any memory, double") { compare_all<double>(); }

TEST("a matrix of zeros without a gradient stays, and an eps of 0 ruins no padding") {
    for (const char* kind : {"Adafactor", "Muon"})
        for (const ParameterShape& shape : {ParameterShape{9, 5}, ParameterShape{5, 9}, ParameterShape{9, 0}})
            for (double eps : {0.0, 1e-8}) {
                const auto optimizer = make_optimizer<float>(optimizer_settings(kind, {{"eps1", eps}, {"eps", eps}, {"adamw_eps", eps}}));
                const auto update = optimizer->of_whole(shape);
                InMemory<float> value(shape, true), gradient(shape, true), states[2] = {{shape, true}, {shape, true}};
                float* pointers[] = {states[0].memory.data(), states[1].memory.data()};
                std::vector<float> scratch(size_t(update->scratch()));
                update->update({0.1, 1}, value.memory.data(), gradient.memory.data(), pointers, scratch.data());
                if (eps > 0)
                    for (float v : value.numbers()) CHECK(v == 0, "%s, %d x %d: %g", kind, int(shape.n_out), int(shape.n_in), double(v));
                if (std::string(kind) == "Adafactor") CHECK(value.is_clean());
                CHECK(optimizer->spoils_padding() == (std::string(kind) == "Muon" && eps == 0));
            }
}

TEST("what is missing is refused by name") {
    for (const auto& [kind, option] : {std::pair{"Adafactor", "eps1"}, {"Muon", "ns_coefficient3"}, {"Muon", "adamw_eps"}}) {
        Settings settings = optimizer_settings(kind);
        settings.numbers.erase(option);
        std::string refusal;
        try {
            make_optimizer<double>(settings);
        } catch (const std::invalid_argument& error) {
            refusal = error.what();
        }
        CHECK(refusal.find("the plan does not say its") != std::string::npos, "%s without %s: %s", kind, option, refusal.c_str());
    }
}

TEST("orthogonal makes the singular values of a diagonal matrix about 1") {
    const ParameterShape shape{3, 3};
    const auto update = make_optimizer<double>(optimizer_settings("Muon", {{"momentum", 0}}))->of_whole(shape);
    InMemory<double> value(shape, true), gradient(shape, true), buffer(shape, true);
    gradient.write({1, 0, 0, 0, -0.4, 0, 0, 0, 0.1});
    double* states[] = {buffer.memory.data()};
    std::vector<double> scratch(size_t(update->scratch()));
    update->update({1, 1}, value.memory.data(), gradient.memory.data(), states, scratch.data());
    const std::vector<double> found = value.numbers();
    for (size_t i = 0; i < 9; ++i)
        if (i % 4) CHECK(found[i] == 0);
        else CHECK(std::fabs(std::fabs(found[i]) - 1) < 0.35 && std::signbit(found[i]) == (i != 4), "%g", found[i]);
}

}  // namespace

TEST_MAIN
