// ASGD: eta = lr / (1 + lambd · lr · (t - 1))^alpha, value = value (1 - lambd · eta) - eta · g,
//   mean += mu (value - mean), mu = 1 / max(1, t - 1 - t0)        (Polyak and Juditsky, 1992; eta: Xu, 2011)
// weight_decay · value is added to g first. Keeps the mean.
#pragma once

#include "elementwise.h"

namespace chainrule {

struct ASGDOptions {
    double lambd, alpha, t0, weight_decay, clip_value;
    explicit ASGDOptions(const Settings& s)
        : lambd(s.number("lambd")), alpha(s.number("alpha")), t0(s.number("t0")), weight_decay(s.number("weight_decay")),
          clip_value(s.number("clip_value")) {}
};

template <class T>
class ASGD final : public Optimizer<T> {
public:
    explicit ASGD(const ASGDOptions& options) : o(options) {}

    int states() const override { return 1; }

    void update(const UpdateStep& step, T* value, const T* gradient, T* const* states, int64_t n) const override {
        const double before = double(step.count - 1), size = step.lr / real_power(1 + o.lambd * step.lr * before, o.alpha);
        const double share = 1 / std::fmax(1, before - o.t0);
        const Vec<T> eta = broadcast<T>(T(size)), shrink = broadcast<T>(T(1 - o.lambd * size)), mu = broadcast<T>(T(share));
        const Vec<T> weight_decay = broadcast<T>(T(o.weight_decay));
        const bool decays = o.weight_decay != 0, averages = share != 1;
        each_vector<T, 1>(step, o.clip_value, value, gradient, states, n, [=](Vec<T> w, Vec<T> g, Vec<T>* state) ALWAYS_INLINE {
            if (decays) g = g + weight_decay * w;
            w = w * shrink - eta * g;
            state[0] = averages ? state[0] + mu * (w - state[0]) : w;
            return w;
        });
    }

private:
    ASGDOptions o;
};

template <class T>
std::unique_ptr<Optimizer<T>> make_asgd(const Settings& settings) {
    return std::make_unique<ASGD<T>>(ASGDOptions(settings));
}

}  // namespace chainrule
