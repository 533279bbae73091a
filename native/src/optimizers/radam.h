// RAdam: mean and square as Adam's, rho = most - 2 t beta2^t / (1 - beta2^t), most = 2 / (1 - beta2) - 1,
//   value -= lr / (1 - beta1^t) · mean                                          while rho <= 5, and then
//   value -= lr / (1 - beta1^t) · r · √(1 - beta2^t) · mean / (√square + eps)   (Liu et al., 2020, algorithm 2)
//   r = √((rho - 4) (rho - 2) most / ((most - 4) (most - 2) rho))
// weight_decay · value is added to g, or with decoupled_weight_decay value shrinks by lr · weight_decay.
// Keeps mean and square.
#pragma once

#include "elementwise.h"

namespace chainrule {

struct RAdamOptions {
    double beta1, beta2, eps, weight_decay, clip_value;
    bool decoupled;
    explicit RAdamOptions(const Settings& s)
        : beta1(s.number("beta1")), beta2(s.number("beta2")), eps(s.number("eps")), weight_decay(s.number("weight_decay")),
          clip_value(s.number("clip_value")), decoupled(s.flag("decoupled_weight_decay")) {}
};

template <class T, bool decoupled>
class RAdam final : public Optimizer<T> {
public:
    explicit RAdam(const RAdamOptions& options) : o(options), most_(2 / (1 - options.beta2) - 1) {}

    int states() const override { return 2; }
    bool spoils_padding() const override { return o.eps == 0 && most_ > 5; }

    void update(const UpdateStep& step, T* value, const T* gradient, T* const* states, int64_t n) const override {
        const double power2 = power(o.beta2, step.count), rho = most_ - 2 * double(step.count) * power2 / (1 - power2);
        double step_size = step.lr / (1 - power(beta1_of(step), step.count));
        if (rho <= 5) return pass(step, step_size, value, gradient, states, n, [](Vec<T> mean, Vec<T>) ALWAYS_INLINE { return mean; });
        step_size *= std::sqrt((rho - 4) * (rho - 2) * most_ / ((most_ - 4) * (most_ - 2) * rho)) * std::sqrt(1 - power2);
        const Vec<T> eps = broadcast<T>(T(o.eps));
        pass(step, step_size, value, gradient, states, n, [=](Vec<T> mean, Vec<T> square) ALWAYS_INLINE { return mean / (sqrt<T>(square) + eps); });
    }

private:
    double beta1_of(const UpdateStep& step) const { return step.momentum >= 0 ? step.momentum : o.beta1; }

    template <class Direction>
    FORCE_INLINE void pass(const UpdateStep& step, double size, T* value, const T* gradient, T* const* states, int64_t n, Direction direction) const {
        const Vec<T> step_size = broadcast<T>(T(size)), beta2 = broadcast<T>(T(o.beta2)), fresh2 = broadcast<T>(T(1 - o.beta2));
        const Vec<T> weight_decay = broadcast<T>(T(o.weight_decay)), shrink = broadcast<T>(T(1 - step.lr * o.weight_decay));
        const double fresh1 = 1 - beta1_of(step);
        const bool decays = o.weight_decay != 0;
        each_vector<T, 2>(step, o.clip_value, value, gradient, states, n, [=](Vec<T> w, Vec<T> g, Vec<T>* state) ALWAYS_INLINE {
            if (decays) {
                if constexpr (decoupled) w = w * shrink;
                else g = g + weight_decay * w;
            }
            state[0] = lerp<T>(state[0], g, fresh1);
            state[1] = state[1] * beta2 + fresh2 * g * g;
            return w - step_size * direction(state[0], state[1]);
        });
    }

    RAdamOptions o;
    double most_;
};

template <class T>
std::unique_ptr<Optimizer<T>> make_radam(const Settings& settings) {
    const RAdamOptions o(settings);
    if (o.decoupled) return std::make_unique<RAdam<T, true>>(o);
    return std::make_unique<RAdam<T, false>>(o);
}

}  // namespace chainrule
