// Adamax: mean = beta1 · mean + (1 - beta1) · g, largest = max(beta2 · largest, |g| + eps),
//   value -= lr / (1 - beta1^t) · mean / largest        (Kingma and Ba, 2015, algorithm 2)
// weight_decay · value is added to g first. Keeps mean and largest.
#pragma once

#include "elementwise.h"

namespace chainrule {

struct AdamaxOptions {
    double beta1, beta2, eps, weight_decay, clip_value;
    explicit AdamaxOptions(const Settings& s)
        : beta1(s.number("beta1")), beta2(s.number("beta2")), eps(s.number("eps")), weight_decay(s.number("weight_decay")),
          clip_value(s.number("clip_value")) {}
};

template <class T>
class Adamax final : public Optimizer<T> {
public:
    explicit Adamax(const AdamaxOptions& options) : o(options) {}

    int states() const override { return 2; }
    bool spoils_padding() const override { return o.eps == 0; }

    void update(const UpdateStep& step, T* value, const T* gradient, T* const* states, int64_t n) const override {
        const Vec<T> step_size = broadcast<T>(T(step.lr / (1 - power(o.beta1, step.count))));
        const Vec<T> beta2 = broadcast<T>(T(o.beta2)), eps = broadcast<T>(T(o.eps)), weight_decay = broadcast<T>(T(o.weight_decay));
        const double fresh1 = 1 - o.beta1;
        const bool decays = o.weight_decay != 0;
        each_vector<T, 2>(step, o.clip_value, value, gradient, states, n, [=](Vec<T> w, Vec<T> g, Vec<T>* state) ALWAYS_INLINE {
            if (decays) g = g + weight_decay * w;
            state[0] = lerp<T>(state[0], g, fresh1);
            state[1] = at_least<T>(beta2 * state[1], abs<T>(g) + eps);
            return w - step_size * state[0] / state[1];
        });
    }

private:
    AdamaxOptions o;
};

template <class T>
std::unique_ptr<Optimizer<T>> make_adamax(const Settings& settings) {
    return std::make_unique<Adamax<T>>(AdamaxOptions(settings));
}

}  // namespace chainrule
