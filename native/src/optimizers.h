// The optimizers, each the twin of the class of the same name in chainrule.optimizers: PyTorch's formulas in PyTorch's
// order of operations, on one parameter's contiguous memory, value, gradient and states in one pass.
//
// No fused multiply-add is used here, so every instruction set gives the same bits, the baseline included (but for the
// sum of squares of clip_norm).
//
// An update is a struct with `operator()(value, gradient, states…)` on vectors, so it can ride in the epilogue of the
// product that makes the gradient, or run as a pass. What depends on the step alone (bias corrections) is computed once
// per step, by `optimizer_step`.
#pragma once

#include <cmath>

#include "panels.h"

namespace chainrule {

enum class OptimizerKind { SGD, Adam, AdamW, RMSprop, Adagrad };

// Defaults are PyTorch's, where the optimizers have one in common; the learning rate comes with every step.
struct Optimizer {
    OptimizerKind kind = OptimizerKind::SGD;
    double weight_decay = 0;
    bool decay_biases = true;  // else weight_decay leaves vectors alone
    double momentum = 0;    // SGD, RMSprop
    double dampening = 0;   // SGD
    bool nesterov = false;  // SGD
    double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;  // Adam, AdamW; eps also RMSprop and Adagrad (there 1e-10)
    bool amsgrad = false;                           // Adam, AdamW
    double alpha = 0.99;                            // RMSprop
    bool centered = false;                          // RMSprop
    double lr_decay = 0, initial_accumulator_value = 0;  // Adagrad
};

// Arrays of state that belong to each parameter:
// SGD: momentum buffer · Adam, AdamW: mean, mean square, its maximum · RMSprop: mean square, mean, momentum buffer · Adagrad: sum
inline int optimizer_states(const Optimizer& o) {
    switch (o.kind) {
        case OptimizerKind::SGD: return o.momentum != 0;
        case OptimizerKind::Adam:
        case OptimizerKind::AdamW: return 2 + o.amsgrad;
        case OptimizerKind::RMSprop: return 1 + o.centered + (o.momentum > 0);
        case OptimizerKind::Adagrad: return 1;
    }
    return 0;
}

inline double initial_state(const Optimizer& o, int) { return o.kind == OptimizerKind::Adagrad ? o.initial_accumulator_value : 0; }

// base^n by squaring: the same bits on every machine, which libm's pow does not promise.
inline double power(double base, int64_t n) {
    double result = 1;
    for (; n > 0; n >>= 1, base *= base)
        if (n & 1) result *= base;
    return result;
}

// The numbers of one step. `step` counts from 1, per parameter.
struct OptimizerStep {
    double lr = 0;
    double gradient_scale = 1;  // from clip_norm
    double clip_value = 0;      // 0: none
    double step_size = 0;       // Adam: lr / (1 - beta1^step); Adagrad: lr / (1 + (step - 1) lr_decay); else lr
    double root_factor = 1;     // Adam: 1 / √(1 - beta2^step); a division fewer per parameter than PyTorch has
    bool first = false;
};

inline OptimizerStep optimizer_step(const Optimizer& o, double lr, int64_t step, double gradient_scale = 1, double clip_value = 0) {
    OptimizerStep s{lr, gradient_scale, clip_value, lr, 1, step == 1};
    if (o.kind == OptimizerKind::Adam || o.kind == OptimizerKind::AdamW) {
        s.step_size = lr / (1 - power(o.beta1, step));
        s.root_factor = 1 / std::sqrt(1 - power(o.beta2, step));
    } else if (o.kind == OptimizerKind::Adagrad) {
        s.step_size = lr / (1 + double(step - 1) * o.lr_decay);
    }
    return s;
}

namespace optimizers_detail {

// g clipped: held within ±clip_value, then scaled by the norm's factor (the norm is that of bounded gradients). NaN stays NaN.
template <class T>
struct Clip {
    Vec<T> scale, bound;
    explicit Clip(const OptimizerStep& s) : scale(broadcast<T>(T(s.gradient_scale))), bound(broadcast<T>(T(s.clip_value))) {}
    FORCE_INLINE Vec<T> scaled(Vec<T> g) const { return g * scale; }
    FORCE_INLINE Vec<T> bounded(Vec<T> g) const { return at_most<T>(bound, at_least<T>(-bound, g)); }
};

// start + weight (end - start), as torch.lerp, which turns round at 1/2
template <class T>
FORCE_INLINE Vec<T> lerp(std::type_identity_t<Vec<T>> start, std::type_identity_t<Vec<T>> end, double weight) {
    const Vec<T> way = end - start;
    return weight < 0.5 ? start + broadcast<T>(T(weight)) * way : end - way * broadcast<T>(T(1 - weight));
}

}  // namespace optimizers_detail

// value -= lr · gradient; with momentum:
//   buffer = momentum · buffer + (1 - dampening) · gradient (the gradient itself at the first step), value -= lr · buffer
//   nesterov: value -= lr · (gradient + momentum · buffer)
template <class T, bool with_momentum, bool nesterov>
struct SGD {
    static constexpr int states = with_momentum;
    Vec<T> lr, weight_decay, momentum, fresh;
    bool decays;
    SGD(const Optimizer& o, const OptimizerStep& s)
        : lr(broadcast<T>(T(s.lr))), weight_decay(broadcast<T>(T(o.weight_decay))), momentum(broadcast<T>(T(o.momentum))),
          fresh(broadcast<T>(s.first ? T(1) : T(1 - o.dampening))), decays(o.weight_decay != 0) {}
    FORCE_INLINE Vec<T> operator()(Vec<T> value, Vec<T> g, Vec<T>* state) const {
        if (decays) g = g + weight_decay * value;
        if constexpr (with_momentum) {
            state[0] = momentum * state[0] + fresh * g;  // at the first step the buffer is 0
            g = nesterov ? g + momentum * state[0] : state[0];
        }
        return value - lr * g;
    }
};

// mean = beta1 · mean + (1 - beta1) · g, square = beta2 · square + (1 - beta2) · g²,
// value -= lr / (1 - beta1^t) · mean / (√square / √(1 - beta2^t) + eps)        (Kingma and Ba, 2015, algorithm 1)
// amsgrad: the largest square so far instead of square (Reddi, Kale and Kumar, 2018)
// Adam adds weight_decay · value to g; AdamW shrinks value by lr · weight_decay (Loshchilov and Hutter, 2019)
template <class T, bool decoupled, bool amsgrad>
struct Adam {
    static constexpr int states = 2 + amsgrad;
    Vec<T> step_size, root_factor, weight_decay, shrink, beta2, fresh2, eps;
    double fresh1;
    bool decays;
    Adam(const Optimizer& o, const OptimizerStep& s)
        : step_size(broadcast<T>(T(s.step_size))), root_factor(broadcast<T>(T(s.root_factor))),
          weight_decay(broadcast<T>(T(o.weight_decay))), shrink(broadcast<T>(T(1 - s.lr * o.weight_decay))), beta2(broadcast<T>(T(o.beta2))),
          fresh2(broadcast<T>(T(1 - o.beta2))), eps(broadcast<T>(T(o.eps))), fresh1(1 - o.beta1), decays(o.weight_decay != 0) {}
    FORCE_INLINE Vec<T> operator()(Vec<T> value, Vec<T> g, Vec<T>* state) const {
        if (decays) {
            if constexpr (decoupled) value = value * shrink;
            else g = g + weight_decay * value;
        }
        state[0] = optimizers_detail::lerp<T>(state[0], g, fresh1);
        state[1] = state[1] * beta2 + fresh2 * g * g;
        Vec<T> square = state[1];
        if constexpr (amsgrad) square = state[2] = at_least<T>(state[2], square);
        const Vec<T> root = sqrt<T>(square) * root_factor + eps;
        return value - step_size * state[0] / root;
    }
};

// square = alpha · square + (1 - alpha) · g², value -= lr · g / (√square + eps)        (Tieleman and Hinton, 2012)
// centered: √max(square - mean², 0), with mean = alpha · mean + (1 - alpha) · g; momentum: buffer = momentum · buffer + g / root
template <class T, bool centered, bool with_momentum>
struct RMSprop {
    static constexpr int states = 1 + centered + with_momentum;
    Vec<T> lr, weight_decay, alpha, fresh, eps, momentum;
    double fresh_mean;
    bool decays;
    RMSprop(const Optimizer& o, const OptimizerStep& s)
        : lr(broadcast<T>(T(s.lr))), weight_decay(broadcast<T>(T(o.weight_decay))), alpha(broadcast<T>(T(o.alpha))),
          fresh(broadcast<T>(T(1 - o.alpha))), eps(broadcast<T>(T(o.eps))), momentum(broadcast<T>(T(o.momentum))), fresh_mean(1 - o.alpha),
          decays(o.weight_decay != 0) {}
    FORCE_INLINE Vec<T> operator()(Vec<T> value, Vec<T> g, Vec<T>* state) const {
        if (decays) g = g + weight_decay * value;
        state[0] = state[0] * alpha + fresh * g * g;
        Vec<T> square = state[0];
        if constexpr (centered) {
            state[1] = optimizers_detail::lerp<T>(state[1], g, fresh_mean);
            square = at_least<T>(zero<T>(), square - state[1] * state[1]);  // rounding may lead below 0
        }
        const Vec<T> root = sqrt<T>(square) + eps;
        if constexpr (with_momentum) {
            Vec<T>& buffer = state[1 + centered];
            buffer = momentum * buffer + g / root;
            return value - lr * buffer;
        }
        return value - lr * g / root;
    }
};

// sum += g², value -= lr / (1 + (t - 1) lr_decay) · g / (√sum + eps)        (Duchi, Hazan and Singer, 2011)
template <class T>
struct Adagrad {
    static constexpr int states = 1;
    Vec<T> step_size, weight_decay, eps;
    bool decays;
    Adagrad(const Optimizer& o, const OptimizerStep& s)
        : step_size(broadcast<T>(T(s.step_size))), weight_decay(broadcast<T>(T(o.weight_decay))), eps(broadcast<T>(T(o.eps))),
          decays(o.weight_decay != 0) {}
    FORCE_INLINE Vec<T> operator()(Vec<T> value, Vec<T> g, Vec<T>* state) const {
        if (decays) g = g + weight_decay * value;
        state[0] = state[0] + g * g;
        return value - step_size * g / (sqrt<T>(state[0]) + eps);
    }
};

// Calls function(update) with the optimizer's update as one of the structs above.
template <class T, class Function>
FORCE_INLINE void with_optimizer(const Optimizer& o, const OptimizerStep& s, Function function) {
    switch (o.kind) {
        case OptimizerKind::SGD:
            if (o.momentum == 0) function(SGD<T, false, false>(o, s));
            else if (o.nesterov) function(SGD<T, true, true>(o, s));
            else function(SGD<T, true, false>(o, s));
            break;
        case OptimizerKind::Adam:
            if (o.amsgrad) function(Adam<T, false, true>(o, s));
            else function(Adam<T, false, false>(o, s));
            break;
        case OptimizerKind::AdamW:
            if (o.amsgrad) function(Adam<T, true, true>(o, s));
            else function(Adam<T, true, false>(o, s));
            break;
        case OptimizerKind::RMSprop:
            if (o.centered && o.momentum > 0) function(RMSprop<T, true, true>(o, s));
            else if (o.centered) function(RMSprop<T, true, false>(o, s));
            else if (o.momentum > 0) function(RMSprop<T, false, true>(o, s));
            else function(RMSprop<T, false, false>(o, s));
            break;
        case OptimizerKind::Adagrad: function(Adagrad<T>(o, s)); break;
    }
}

// One parameter's update in place. n is a multiple of 16; memory is that of a Matrix or a padded vector.
template <class T>
void optimizer_update(const Optimizer& o, const OptimizerStep& s, T* value, const T* gradient, T* const* states, int64_t n) {
    const optimizers_detail::Clip<T> clip(s);
    auto run = [&](auto clipped) ALWAYS_INLINE {
        with_optimizer<T>(o, s, [&](auto update) ALWAYS_INLINE {
            constexpr int count = decltype(update)::states;
            T* of[count + 1];
            for (int k = 0; k < count; ++k) of[k] = states[k];
            for (int64_t i = 0; i < n; i += lanes<T>) {
                Vec<T> state[count + 1];
                for (int k = 0; k < count; ++k) state[k] = load_unaligned(of[k] + i);
                const Vec<T> g = clipped(load_unaligned(gradient + i));
                store_unaligned(value + i, update(load_unaligned(value + i), g, state));
                for (int k = 0; k < count; ++k) store_unaligned(of[k] + i, state[k]);
            }
        });
    };
    if (s.clip_value > 0) run([&](Vec<T> g) ALWAYS_INLINE { return clip.scaled(clip.bounded(g)); });
    else if (s.gradient_scale != 1) run([&](Vec<T> g) ALWAYS_INLINE { return clip.scaled(g); });
    else run([](Vec<T> g) ALWAYS_INLINE { return g; });
}

// ---- clipping by the norm ----------------------------------------------------------------------------------------

// Σ g² of a gradient whose elements are cut to ±clip_value first (0: not cut). Row by row over sixteen virtual lanes, so
// that the sum does not depend on how wide a panel is. Add those of all parameters, in their order.
template <class T>
double sum_of_squares(const Matrix<T>& gradient, double clip_value) {
    double squares = 0;
    const bool cut = clip_value > 0;
    const Vec<T> bound = broadcast<T>(T(clip_value));
    for (int64_t r = 0; r < gradient.rows; ++r) {
        Lanes16<T> sum = Lanes16<T>::zeros();
        for (int64_t c = 0; c < gradient.columns; c += virtual_lanes) {
            const int n = int(gradient.columns - c < virtual_lanes ? gradient.columns - c : virtual_lanes);
            Lanes16<T> g = Lanes16<T>::load_partial(gradient.data + gradient.column_offset(c) + r * gradient.width(), n);
            for (int j = 0; cut && j < Lanes16<T>::vectors; ++j) g.v[j] = at_most<T>(bound, at_least<T>(-bound, g.v[j]));
            sum.add_product(g, g);
        }
        squares += double(sum.sum());
    }
    return squares;
}

// By what clip_grad_norm_ multiplies all gradients, for the sum of squares of all of them: min(1, clip_norm / (norm + 1e-6)).
inline double clip_scale(double clip_norm, double squares) {
    const double scale = clip_norm / (std::sqrt(squares) + 1e-6);
    return scale < 1 ? scale : scale == scale ? 1 : scale;  // NaN stays NaN, as in PyTorch
}

#define OPTIMIZERS(LINKAGE, T) \
    LINKAGE template void optimizer_update<T>(const Optimizer&, const OptimizerStep&, T*, const T*, T* const*, int64_t)
OPTIMIZERS(extern, float);  // here only announced: optimizers.cpp makes it
OPTIMIZERS(extern, double);

}  // namespace chainrule
