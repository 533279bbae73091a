// Adagrad: sum += g², value -= lr / (1 + (t - 1) lr_decay) · g / (√sum + eps)        (Duchi, Hazan and Singer, 2011)
// weight_decay · value is added to g first. Keeps the sum, which begins with initial_accumulator_value.
#pragma once

#include "elementwise.h"

namespace chainrule {

struct AdagradOptions {
    double lr_decay, weight_decay, initial_accumulator_value, eps, clip_value;
    explicit AdagradOptions(const Settings& s)
        : lr_decay(s.number("lr_decay")), weight_decay(s.number("weight_decay")),
          initial_accumulator_value(s.number("initial_accumulator_value")), eps(s.number("eps")), clip_value(s.number("clip_value")) {}
};

template <class T>
class Adagrad final : public Optimizer<T> {
public:
    explicit Adagrad(const AdagradOptions& options) : o(options) {}

    int states() const override { return 1; }
    double initial_state(int) const override { return o.initial_accumulator_value; }
    bool spoils_padding() const override { return o.eps == 0; }

    void update(const UpdateStep& step, T* value, const T* gradient, T* const* states, int64_t n) const override {
        const Vec<T> step_size = broadcast<T>(T(step.lr / (1 + double(step.count - 1) * o.lr_decay)));
        const Vec<T> weight_decay = broadcast<T>(T(o.weight_decay)), eps = broadcast<T>(T(o.eps));
        const bool decays = o.weight_decay != 0;
        each_vector<T, 1>(step, o.clip_value, value, gradient, states, n, [=](Vec<T> w, Vec<T> g, Vec<T>* state) ALWAYS_INLINE {
            if (decays) g = g + weight_decay * w;
            state[0] = state[0] + g * g;
            return w - step_size * g / (sqrt<T>(state[0]) + eps);
        });
    }

private:
    AdagradOptions o;
};

template <class T>
std::unique_ptr<Optimizer<T>> make_adagrad(const Settings& settings) {
    return std::make_unique<Adagrad<T>>(AdagradOptions(settings));
}

}  // namespace chainrule
