// SGD: value -= lr · gradient; with momentum:
//   buffer = momentum · buffer + (1 - dampening) · gradient (the gradient itself at the first step), value -= lr · buffer
//   nesterov: value -= lr · (gradient + momentum · buffer)
// weight_decay · value is added to the gradient first. Keeps the buffer, if there is momentum.
#pragma once

#include "elementwise.h"

namespace chainrule {

struct SGDOptions {
    double momentum, dampening, weight_decay, clip_value, clip_norm;
    bool nesterov, keeps_momentum;  // kept where there is none: a step may bring it
    explicit SGDOptions(const Settings& s)
        : momentum(s.number("momentum")), dampening(s.number("dampening")), weight_decay(s.number("weight_decay")),
          clip_value(s.number("clip_value")), clip_norm(s.number("clip_norm")), nesterov(s.flag("nesterov")), keeps_momentum(s.flag("keeps_momentum")) {}
};

template <class T, bool with_momentum, bool nesterov>
class SGD final : public Optimizer<T> {
public:
    explicit SGD(const SGDOptions& options) : o(options) {}

    int states() const override { return with_momentum; }
    bool is_plain() const override { return !with_momentum && o.weight_decay == 0 && o.clip_value == 0 && o.clip_norm == 0; }

    void update(const UpdateStep& step, T* value, const T* gradient, T* const* states, int64_t n) const override {
        const double now = step.momentum >= 0 ? step.momentum : o.momentum;
        if (with_momentum && now == 0) return SGD<T, false, false>(o).update(step, value, gradient, states, n);
        const Vec<T> lr = broadcast<T>(T(step.lr)), momentum = broadcast<T>(T(now));
        const Vec<T> fresh = broadcast<T>(step.count == 1 ? T(1) : T(1 - o.dampening));
        const Vec<T> weight_decay = broadcast<T>(T(o.weight_decay));
        const bool decays = o.weight_decay != 0;
        each_vector<T, with_momentum>(step, o.clip_value, value, gradient, states, n, [=](Vec<T> w, Vec<T> g, Vec<T>* state) ALWAYS_INLINE {
            if (decays) g = g + weight_decay * w;
            if constexpr (with_momentum) {
                state[0] = momentum * state[0] + fresh * g;  // at the first step the buffer is 0
                g = nesterov ? g + momentum * state[0] : state[0];
            }
            return w - lr * g;
        });
    }

private:
    SGDOptions o;
};

template <class T>
std::unique_ptr<Optimizer<T>> make_sgd(const Settings& settings) {
    const SGDOptions o(settings);
    if (!o.keeps_momentum) return std::make_unique<SGD<T, false, false>>(o);
    if (o.nesterov) return std::make_unique<SGD<T, true, true>>(o);
    return std::make_unique<SGD<T, true, false>>(o);
}

}  // namespace chainrule
