// NAdam: mean and square as Adam's, mu(t) = beta1 (1 - 0.96^(t momentum_decay) / 2), product = mu(1) ··· mu(t),
//   value -= lr (mu(t + 1) mean / (1 - product mu(t + 1)) + (1 - mu(t)) g / (1 - product)) / (√square / √(1 - beta2^t) + eps)
//                                                                                                          (Dozat, 2016)
// weight_decay · value is added to g, or with decoupled_weight_decay value shrinks by lr · weight_decay.
// Keeps mean and square.
#pragma once

#include "elementwise.h"

namespace chainrule {

struct NAdamOptions {
    double beta1, beta2, eps, weight_decay, momentum_decay, clip_value;
    bool decoupled;
    explicit NAdamOptions(const Settings& s)
        : beta1(s.number("beta1")), beta2(s.number("beta2")), eps(s.number("eps")), weight_decay(s.number("weight_decay")),
          momentum_decay(s.number("momentum_decay")), clip_value(s.number("clip_value")), decoupled(s.flag("decoupled_weight_decay")) {}
};

template <class T, bool decoupled>
class NAdam final : public Optimizer<T> {
public:
    explicit NAdam(const NAdamOptions& options) : o(options), fading_(real_power(0.96, options.momentum_decay)) {}

    int states() const override { return 2; }
    bool spoils_padding() const override { return o.eps == 0; }

    void update(const UpdateStep& step, T* value, const T* gradient, T* const* states, int64_t n) const override {
        const double product = momenta(step.count), now = momentum(step.count), next = momentum(step.count + 1);
        const Vec<T> of_gradient = broadcast<T>(T(step.lr * (1 - now) / (1 - product)));
        const Vec<T> of_mean = broadcast<T>(T(step.lr * next / (1 - product * next)));
        const Vec<T> root_factor = broadcast<T>(T(1 / std::sqrt(1 - power(o.beta2, step.count)))), eps = broadcast<T>(T(o.eps));
        const Vec<T> beta2 = broadcast<T>(T(o.beta2)), fresh2 = broadcast<T>(T(1 - o.beta2));
        const Vec<T> weight_decay = broadcast<T>(T(o.weight_decay)), shrink = broadcast<T>(T(1 - step.lr * o.weight_decay));
        const double fresh1 = 1 - o.beta1;
        const bool decays = o.weight_decay != 0;
        each_vector<T, 2>(step, o.clip_value, value, gradient, states, n, [=](Vec<T> w, Vec<T> g, Vec<T>* state) ALWAYS_INLINE {
            if (decays) {
                if constexpr (decoupled) w = w * shrink;
                else g = g + weight_decay * w;
            }
            state[0] = lerp<T>(state[0], g, fresh1);
            state[1] = state[1] * beta2 + fresh2 * g * g;
            return w - (of_gradient * g + of_mean * state[0]) / (sqrt<T>(state[1]) * root_factor + eps);
        });
    }

private:
    double momentum(int64_t t) const { return o.beta1 * (1 - 0.5 * power(fading_, t)); }
    // The product of the momenta of steps 1 … t; 0 once it makes no difference to 1: with momenta of about 1/2, as they are
    // for the first hundreds of steps, after some fifty.
    double momenta(int64_t t) const {
        double product = 1, faded = 1;
        for (int64_t i = 1; i <= t; ++i) {
            faded *= fading_;
            product *= o.beta1 * (1 - 0.5 * faded);
            if (1 - product == 1) return 0;
        }
        return product;
    }

    NAdamOptions o;
    double fading_;  // 0.96^momentum_decay
};

template <class T>
std::unique_ptr<Optimizer<T>> make_nadam(const Settings& settings) {
    const NAdamOptions o(settings);
    if (o.decoupled) return std::make_unique<NAdam<T, true>>(o);
    return std::make_unique<NAdam<T, false>>(o);
}

}  // namespace chainrule
