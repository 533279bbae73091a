// Adadelta: square = rho · square + (1 - rho) · g², d = √(steps + eps) / √(square + eps) · g,
//   steps = rho · steps + (1 - rho) · d², value -= lr · d        (Zeiler, 2012, algorithm 1)
// weight_decay · value is added to g first. Keeps square and steps.
#pragma once

#include "elementwise.h"

namespace chainrule {

struct AdadeltaOptions {
    double rho, eps, weight_decay, clip_value;
    explicit AdadeltaOptions(const Settings& s)
        : rho(s.number("rho")), eps(s.number("eps")), weight_decay(s.number("weight_decay")), clip_value(s.number("clip_value")) {}
};

template <class T>
class Adadelta final : public Optimizer<T> {
public:
    explicit Adadelta(const AdadeltaOptions& options) : o(options) {}

    int states() const override { return 2; }
    bool spoils_padding() const override { return o.eps == 0; }

    void update(const UpdateStep& step, T* value, const T* gradient, T* const* states, int64_t n) const override {
        const Vec<T> lr = broadcast<T>(T(step.lr)), rho = broadcast<T>(T(o.rho)), fresh = broadcast<T>(T(1 - o.rho));
        const Vec<T> eps = broadcast<T>(T(o.eps)), weight_decay = broadcast<T>(T(o.weight_decay));
        const bool decays = o.weight_decay != 0;
        each_vector<T, 2>(step, o.clip_value, value, gradient, states, n, [=](Vec<T> w, Vec<T> g, Vec<T>* state) ALWAYS_INLINE {
            if (decays) g = g + weight_decay * w;
            state[0] = state[0] * rho + fresh * g * g;
            const Vec<T> d = sqrt<T>(state[1] + eps) / sqrt<T>(state[0] + eps) * g;
            state[1] = state[1] * rho + fresh * d * d;
            return w - lr * d;
        });
    }

private:
    AdadeltaOptions o;
};

template <class T>
std::unique_ptr<Optimizer<T>> make_adadelta(const Settings& settings) {
    return std::make_unique<Adadelta<T>>(AdadeltaOptions(settings));
}

}  // namespace chainrule
