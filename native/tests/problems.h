// Random data and parameters for a plan, in Python's layout.
#pragma once

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "../src/engine.h"
#include "../src/threads.h"

// Threads help in every step of a test, whatever that costs here and now.
inline const bool threads_always_help = (chainrule::Patience::of_process().be_endless(), true);

inline int64_t size_of(const chainrule::ParameterShape& p) { return p.n_out * (p.n_in ? p.n_in : 1); }

template <class T>
struct Problem {
    std::vector<std::vector<T>> x, target;        // of each input, of each head
    std::vector<std::vector<int64_t>> classes;    // of each head, where its targets are classes
    std::vector<T> sample_weight;                 // where somebody asks for them
    std::vector<std::vector<T>> parameters;
    chainrule::Dataset data;

    Problem(const chainrule::Plan& plan, int64_t samples, int seed) {
        std::mt19937 rng{unsigned(seed)};
        std::uniform_real_distribution<double> d(-1, 1);
        auto numbers = [&](int64_t n, double scale) {
            std::vector<T> v(static_cast<size_t>(n));
            for (T& number : v) number = T(d(rng) * scale);
            return v;
        };
        for (int v : plan.inputs) x.push_back(numbers(samples * plan.values[size_t(v)].size(), 1));
        for (int v : plan.outputs) {
            const int64_t columns = plan.values[size_t(v)].columns;
            target.push_back(numbers(samples * columns, 1));
            classes.emplace_back(size_t(samples), 0);
            for (int64_t r = 0; r < samples; ++r) classes.back()[size_t(r)] = r * 7919 % columns;
        }
        for (const chainrule::ParameterShape& p : plan.parameters)
            parameters.push_back(numbers(size_of(p), 1 / std::sqrt(double(p.n_in ? p.n_in : 10))));
        for (size_t p = parameters.size() - size_t(plan.statistics); p < parameters.size(); p += 3) {  // a mean, a variance, a number of batches
            for (T& variance : parameters[p + 1]) variance = std::abs(variance) + T(0.5);
            parameters[p + 2] = {T((1 << 20) - 2), T(p % 2)};  // near to where its second part counts on
        }
        data.rows = samples;
        point_at(plan);
    }
    Problem(const Problem&) = delete;  // `data` points into it

    // From some row on.
    chainrule::Dataset from(const chainrule::Plan& plan, int64_t first, int64_t rows) const {
        chainrule::Dataset part = data;
        part.rows = rows;
        for (size_t i = 0; i < x.size(); ++i) part.x[i] = x[i].data() + first * plan.values[size_t(plan.inputs[i])].size();
        for (size_t h = 0; h < part.targets.size(); ++h)
            part.targets[h] = plan.heads[h].class_targets ? static_cast<const void*>(classes[h].data() + first)
                                                          : target[h].data() + first * plan.values[size_t(plan.outputs[h])].columns;
        if (!sample_weight.empty()) part.sample_weight = sample_weight.data() + first;
        return part;
    }
    void weigh(const std::vector<T>& weights) {
        sample_weight = weights;
        data.sample_weight = sample_weight.data();
    }

    void write(chainrule::Engine& engine) const {
        for (size_t i = 0; i < parameters.size(); ++i) engine.write_parameter(int(i), parameters[i].data());
    }

private:
    void point_at(const chainrule::Plan& plan) {
        for (const auto& v : x) data.x.push_back(v.data());
        for (size_t h = 0; h < plan.heads.size(); ++h)
            data.targets.push_back(plan.heads[h].class_targets ? static_cast<const void*>(classes[h].data()) : target[h].data());
    }
};

// Room for `rows` rows of each of these values, and its addresses.
template <class T>
struct Arrays {
    std::vector<std::vector<T>> values;
    Arrays(const chainrule::Plan& plan, const std::vector<int>& of, int64_t rows) {
        for (int v : of) values.emplace_back(size_t(rows * plan.values[size_t(v)].size()));
        for (auto& v : values) addresses_.push_back(v.data());
    }
    Arrays(const Arrays&) = delete;
    void* const* to() const { return addresses_.data(); }
    const void* const* from() const { return const_cast<const void* const*>(addresses_.data()); }
    std::vector<T>& operator[](size_t i) { return values[i]; }

private:
    std::vector<void*> addresses_;
};

// All parameters (or gradients) of an engine, one after the other.
template <class T, class Read>
std::vector<T> read_all(const chainrule::Engine& engine, Read read) {
    std::vector<T> all;
    for (size_t i = 0; i < engine.plan().parameters.size(); ++i) {
        std::vector<T> v(size_t(size_of(engine.plan().parameters[i])));
        (engine.*read)(int(i), v.data());
        all.insert(all.end(), v.begin(), v.end());
    }
    return all;
}
template <class T>
std::vector<T> read_all(const chainrule::Engine& engine) { return read_all<T>(engine, &chainrule::Engine::read_parameter); }
