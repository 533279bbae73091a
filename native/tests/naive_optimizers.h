// The naive twin of optimizers.h: PyTorch's single-tensor loops (torch/optim), one number at a time, in the type R.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "../src/optimizers.h"

namespace naive {

using chainrule::Optimizer;
using chainrule::OptimizerKind;

template <class R>
struct Parameter {
    R value = 0, buffer = 0, mean = 0, square = 0, largest = 0, sum = 0;
    int64_t step = 0;
};

template <class R>
R clamp(R g, R bound) { return g < -bound ? -bound : g > bound ? bound : g; }

template <class R>
void update(const Optimizer& o, Parameter<R>& p, R g, R lr, R gradient_scale, R clip_value) {
    ++p.step;
    if (clip_value > 0) g = clamp(g, clip_value);
    g *= gradient_scale;
    if (o.kind == OptimizerKind::AdamW) p.value *= 1 - lr * R(o.weight_decay);
    else g += R(o.weight_decay) * p.value;
    switch (o.kind) {
        case OptimizerKind::SGD:
            if (o.momentum != 0) {
                p.buffer = p.step == 1 ? g : R(o.momentum) * p.buffer + R(1 - o.dampening) * g;
                g = o.nesterov ? g + R(o.momentum) * p.buffer : p.buffer;
            }
            p.value -= lr * g;
            break;
        case OptimizerKind::Adam:
        case OptimizerKind::AdamW: {
            p.mean = R(o.beta1) * p.mean + (1 - R(o.beta1)) * g;
            p.square = R(o.beta2) * p.square + (1 - R(o.beta2)) * g * g;
            p.largest = p.largest > p.square ? p.largest : p.square;
            const R correction1 = 1 - std::pow(R(o.beta1), R(p.step)), correction2 = 1 - std::pow(R(o.beta2), R(p.step));
            p.value -= lr / correction1 * p.mean / (std::sqrt(o.amsgrad ? p.largest : p.square) / std::sqrt(correction2) + R(o.eps));
            break;
        }
        case OptimizerKind::RMSprop: {
            p.square = R(o.alpha) * p.square + (1 - R(o.alpha)) * g * g;
            p.mean = R(o.alpha) * p.mean + (1 - R(o.alpha)) * g;
            const R root = std::sqrt(o.centered ? std::max(p.square - p.mean * p.mean, R(0)) : p.square) + R(o.eps);
            if (o.momentum > 0) {
                p.buffer = R(o.momentum) * p.buffer + g / root;
                p.value -= lr * p.buffer;
            } else {
                p.value -= lr * g / root;
            }
            break;
        }
        case OptimizerKind::Adagrad:
            if (p.step == 1) p.sum = R(o.initial_accumulator_value);
            p.sum += g * g;
            p.value -= lr / (1 + R(p.step - 1) * R(o.lr_decay)) * g / (std::sqrt(p.sum) + R(o.eps));
            break;
    }
}

}  // namespace naive
