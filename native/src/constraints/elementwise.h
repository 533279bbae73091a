// Constraints that treat every number by itself.
#pragma once

#include <string>
#include <vector>

#include "constraint.h"

namespace chainrule {

// value = f.of_step(lr)(value, place in the parameter's memory) for numbers begin … end - 1, vector by vector.
template <class T, class F>
class Elementwise final : public Constraint<T> {
public:
    explicit Elementwise(F f) : f_(std::move(f)) {}

    void apply(double lr, T* parameter, int64_t begin, int64_t end) const override {
        const auto one = f_.of_step(lr);
        for (int64_t i = begin; i < end; i += lanes<T>) store_unaligned(parameter + i, one(load_unaligned(parameter + i), i));
    }

private:
    F f_;
};

// The proximal step of strength · Σ |w|: w becomes sign(w) max(|w| - lr · strength, 0), so that zeros are exact.
template <class T>
struct L1 {
    double strength;
    L1(const Settings& settings, const ParameterShape&) : strength(settings.number("strength")) {}
    auto of_step(double lr) const {
        const Vec<T> step = broadcast<T>(T(lr * strength));
        return [step](Vec<T> w, int64_t) ALWAYS_INLINE {
            const Vec<T> size = positive_part<T>(abs<T>(w) - step);
            return w < Vec<T>{} ? -size : size;
        };
    }
};

// The proximal step of strength / 2 · Σ w²: w becomes w / (1 + lr · strength).
template <class T>
struct L2 {
    double strength;
    L2(const Settings& settings, const ParameterShape&) : strength(settings.number("strength")) {}
    auto of_step(double lr) const {
        const Vec<T> divisor = broadcast<T>(T(1 + lr * strength));
        return [divisor](Vec<T> w, int64_t) ALWAYS_INLINE { return w / divisor; };
    }
};

// w becomes max(w, 0).
template <class T>
struct NonNegative {
    NonNegative(const Settings&, const ParameterShape&) {}
    auto of_step(double) const {
        return [](Vec<T> w, int64_t) ALWAYS_INLINE { return positive_part<T>(w); };
    }
};

// w stays where the mask is not 0, and becomes 0 elsewhere.
template <class T>
struct Kept {
    std::vector<T> mask;  // as the parameter lies in memory, with its padding
    Kept(const Settings& settings, const ParameterShape& shape) {
        const std::vector<double>& given = settings.array("mask");
        const int64_t n = shape.n_out * (shape.n_in ? shape.n_in : 1);
        if (int64_t(given.size()) != n)
            throw std::invalid_argument("plan: a Mask of " + std::to_string(given.size()) + " numbers for a parameter of " + std::to_string(n));
        mask.assign(size_t(parameter_size<T>(shape)), T(0));
        auto next = given.begin();
        each_place<T>(shape, [&](int64_t at) { mask[size_t(at)] = T(*next++); });
    }
    auto of_step(double) const {
        return [at = mask.data()](Vec<T> w, int64_t i) ALWAYS_INLINE { return keep<T>(load_unaligned(at + i) != Vec<T>{}, w); };
    }
};

}  // namespace chainrule
