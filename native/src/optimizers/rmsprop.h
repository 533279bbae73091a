// RMSprop: square = alpha · square + (1 - alpha) · g², value -= lr · g / (√square + eps)        (Tieleman and Hinton, 2012)
//   centered: √max(square - mean², 0), with mean = alpha · mean + (1 - alpha) · g
//   momentum: buffer = momentum · buffer + g / root, value -= lr · buffer
// weight_decay · value is added to g first. Keeps square, mean if centered, the buffer if there is momentum.
#pragma once

#include "elementwise.h"

namespace chainrule {

struct RMSpropOptions {
    double alpha, eps, weight_decay, momentum, clip_value;
    bool centered, keeps_momentum;  // kept where there is none: a step may bring it
    explicit RMSpropOptions(const Settings& s)
        : alpha(s.number("alpha")), eps(s.number("eps")), weight_decay(s.number("weight_decay")), momentum(s.number("momentum")),
          clip_value(s.number("clip_value")), centered(s.flag("centered")), keeps_momentum(s.flag("keeps_momentum")) {}
};

template <class T, bool centered, bool with_momentum>
class RMSprop final : public Optimizer<T> {
public:
    explicit RMSprop(const RMSpropOptions& options) : o(options) {}

    int states() const override { return 1 + centered + with_momentum; }
    bool spoils_padding() const override { return o.eps == 0; }

    void update(const UpdateStep& step, T* value, const T* gradient, T* const* states, int64_t n) const override {
        const double now = step.momentum >= 0 ? step.momentum : o.momentum;
        if (with_momentum && now == 0) return RMSprop<T, centered, false>(o).update(step, value, gradient, states, n);
        const Vec<T> lr = broadcast<T>(T(step.lr)), momentum = broadcast<T>(T(now)), eps = broadcast<T>(T(o.eps));
        const Vec<T> alpha = broadcast<T>(T(o.alpha)), fresh = broadcast<T>(T(1 - o.alpha));
        const Vec<T> weight_decay = broadcast<T>(T(o.weight_decay));
        const double fresh_mean = 1 - o.alpha;
        const bool decays = o.weight_decay != 0;
        each_vector<T, 1 + centered + with_momentum>(step, o.clip_value, value, gradient, states, n, [=](Vec<T> w, Vec<T> g, Vec<T>* state) ALWAYS_INLINE {
            if (decays) g = g + weight_decay * w;
            state[0] = state[0] * alpha + fresh * g * g;
            Vec<T> square = state[0];
            if constexpr (centered) {
                state[1] = lerp<T>(state[1], g, fresh_mean);
                square = at_least<T>(zero<T>(), square - state[1] * state[1]);  // rounding may lead below 0
            }
            const Vec<T> root = sqrt<T>(square) + eps;
            if constexpr (with_momentum) {
                Vec<T>& buffer = state[1 + centered];
                buffer = momentum * buffer + g / root;
                return w - lr * buffer;
            } else {
                return w - lr * g / root;
            }
        });
    }

private:
    RMSpropOptions o;
};

template <class T>
std::unique_ptr<Optimizer<T>> make_rmsprop(const Settings& settings) {
    const RMSpropOptions o(settings);
    if (o.centered && o.keeps_momentum) return std::make_unique<RMSprop<T, true, true>>(o);
    if (o.centered) return std::make_unique<RMSprop<T, true, false>>(o);
    if (o.keeps_momentum) return std::make_unique<RMSprop<T, false, true>>(o);
    return std::make_unique<RMSprop<T, false, false>>(o);
}

}  // namespace chainrule
