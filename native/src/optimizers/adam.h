// Adam: mean = beta1 · mean + (1 - beta1) · g, square = beta2 · square + (1 - beta2) · g²,
//   value -= lr / (1 - beta1^t) · mean / (√square / √(1 - beta2^t) + eps)        (Kingma and Ba, 2015, algorithm 1)
//   amsgrad: the largest square so far instead of square (Reddi, Kale and Kumar, 2018)
// Adam adds weight_decay · value to g; AdamW, and Adam with decoupled_weight_decay, shrink value by lr · weight_decay
// (Loshchilov and Hutter, 2019).
// Keeps mean, square and, with amsgrad, the largest square.
#pragma once

#include "elementwise.h"

namespace chainrule {

struct AdamOptions {
    double beta1, beta2, eps, weight_decay, clip_value;
    bool amsgrad;
    explicit AdamOptions(const Settings& s)
        : beta1(s.number("beta1")), beta2(s.number("beta2")), eps(s.number("eps")), weight_decay(s.number("weight_decay")),
          clip_value(s.number("clip_value")), amsgrad(s.flag("amsgrad")) {}
};

template <class T, bool decoupled, bool amsgrad>
class Adam final : public Optimizer<T> {
public:
    explicit Adam(const AdamOptions& options) : o(options) {}

    int states() const override { return 2 + amsgrad; }
    bool spoils_padding() const override { return o.eps == 0; }

    void update(const UpdateStep& step, T* value, const T* gradient, T* const* states, int64_t n) const override {
        const double beta1 = step.momentum >= 0 ? step.momentum : o.beta1;
        const Vec<T> step_size = broadcast<T>(T(step.lr / (1 - power(beta1, step.count))));
        // 1 / √(1 - beta2^t): a division fewer for each number than PyTorch has
        const Vec<T> root_factor = broadcast<T>(T(1 / std::sqrt(1 - power(o.beta2, step.count)))), eps = broadcast<T>(T(o.eps));
        const Vec<T> beta2 = broadcast<T>(T(o.beta2)), fresh2 = broadcast<T>(T(1 - o.beta2));
        const Vec<T> weight_decay = broadcast<T>(T(o.weight_decay)), shrink = broadcast<T>(T(1 - step.lr * o.weight_decay));
        const double fresh1 = 1 - beta1;
        const bool decays = o.weight_decay != 0;
        each_vector<T, 2 + amsgrad>(step, o.clip_value, value, gradient, states, n, [=](Vec<T> w, Vec<T> g, Vec<T>* state) ALWAYS_INLINE {
            if (decays) {
                if constexpr (decoupled) w = w * shrink;
                else g = g + weight_decay * w;
            }
            state[0] = lerp<T>(state[0], g, fresh1);
            state[1] = state[1] * beta2 + fresh2 * g * g;
            Vec<T> square = state[1];
            if constexpr (amsgrad) square = state[2] = at_least<T>(state[2], square);
            const Vec<T> root = sqrt<T>(square) * root_factor + eps;
            return w - step_size * state[0] / root;
        });
    }

private:
    AdamOptions o;
};

template <class T, bool amsgrad>
std::unique_ptr<Optimizer<T>> make_adam(const AdamOptions& options, bool decoupled) {
    if (decoupled) return std::make_unique<Adam<T, true, amsgrad>>(options);
    return std::make_unique<Adam<T, false, amsgrad>>(options);
}

template <class T>
std::unique_ptr<Optimizer<T>> make_adam(const Settings& settings) {
    const AdamOptions o(settings);
    const bool decoupled = settings.kind == "AdamW" || settings.flag("decoupled_weight_decay");
    return o.amsgrad ? make_adam<T, true>(o, decoupled) : make_adam<T, false>(o, decoupled);
}

}  // namespace chainrule
