// The naive twins of src/optimizers: PyTorch's single-tensor loops (torch/optim), one number at a time, in the type R.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <stdexcept>

#include "../src/settings.h"

namespace naive {

using chainrule::Settings;

// One number with all that any optimizer remembers of it.
template <class R>
struct Parameter {
    R value = 0, buffer = 0, mean = 0, square = 0, largest = 0, sum = 0, product = 1;
    int64_t step = 0;
};

template <class R>
using Update = std::function<void(Parameter<R>& p, R g, R lr)>;

template <class R>
Update<R> sgd(const Settings& s) {
    const R momentum = R(s.number("momentum")), dampening = R(s.number("dampening")), decay = R(s.number("weight_decay"));
    const bool nesterov = s.flag("nesterov");
    return [=](Parameter<R>& p, R g, R lr) {
        g += decay * p.value;
        if (momentum != 0) {
            p.buffer = p.step == 1 ? g : momentum * p.buffer + (1 - dampening) * g;
            g = nesterov ? g + momentum * p.buffer : p.buffer;
        }
        p.value -= lr * g;
    };
}

template <class R>
Update<R> adam(const Settings& s) {
    const bool decoupled = s.kind == "AdamW" || s.flag("decoupled_weight_decay");
    const R beta1 = R(s.number("beta1")), beta2 = R(s.number("beta2")), eps = R(s.number("eps")), decay = R(s.number("weight_decay"));
    const bool amsgrad = s.flag("amsgrad");
    return [=](Parameter<R>& p, R g, R lr) {
        if (decoupled) p.value *= 1 - lr * decay;
        else g += decay * p.value;
        p.mean = beta1 * p.mean + (1 - beta1) * g;
        p.square = beta2 * p.square + (1 - beta2) * g * g;
        p.largest = std::max(p.largest, p.square);
        const R correction1 = 1 - std::pow(beta1, R(p.step)), correction2 = 1 - std::pow(beta2, R(p.step));
        p.value -= lr / correction1 * p.mean / (std::sqrt(amsgrad ? p.largest : p.square) / std::sqrt(correction2) + eps);
    };
}

template <class R>
Update<R> rmsprop(const Settings& s) {
    const R alpha = R(s.number("alpha")), eps = R(s.number("eps")), decay = R(s.number("weight_decay")), momentum = R(s.number("momentum"));
    const bool centered = s.flag("centered");
    return [=](Parameter<R>& p, R g, R lr) {
        g += decay * p.value;
        p.square = alpha * p.square + (1 - alpha) * g * g;
        p.mean = alpha * p.mean + (1 - alpha) * g;
        const R root = std::sqrt(centered ? std::max(p.square - p.mean * p.mean, R(0)) : p.square) + eps;
        if (momentum > 0) {
            p.buffer = momentum * p.buffer + g / root;
            p.value -= lr * p.buffer;
        } else {
            p.value -= lr * g / root;
        }
    };
}

template <class R>
Update<R> adagrad(const Settings& s) {
    const R lr_decay = R(s.number("lr_decay")), eps = R(s.number("eps")), decay = R(s.number("weight_decay"));
    const R initial = R(s.number("initial_accumulator_value"));
    return [=](Parameter<R>& p, R g, R lr) {
        g += decay * p.value;
        if (p.step == 1) p.sum = initial;
        p.sum += g * g;
        p.value -= lr / (1 + R(p.step - 1) * lr_decay) * g / (std::sqrt(p.sum) + eps);
    };
}

template <class R>
Update<R> nadam(const Settings& s) {
    const R beta1 = R(s.number("beta1")), beta2 = R(s.number("beta2")), eps = R(s.number("eps")), decay = R(s.number("weight_decay"));
    const R psi = R(s.number("momentum_decay"));
    const bool decoupled = s.flag("decoupled_weight_decay");
    return [=](Parameter<R>& p, R g, R lr) {
        if (decoupled) p.value *= 1 - lr * decay;
        else g += decay * p.value;
        auto momentum = [=](int64_t t) { return beta1 * (1 - R(0.5) * std::pow(R(0.96), R(t) * psi)); };
        const R mu = momentum(p.step), next = momentum(p.step + 1);
        p.product *= mu;
        p.mean = beta1 * p.mean + (1 - beta1) * g;
        p.square = beta2 * p.square + (1 - beta2) * g * g;
        const R root = std::sqrt(p.square / (1 - std::pow(beta2, R(p.step)))) + eps;
        p.value -= lr * (1 - mu) / (1 - p.product) * g / root;
        p.value -= lr * next / (1 - p.product * next) * p.mean / root;
    };
}

template <class R>
Update<R> radam(const Settings& s) {
    const R beta1 = R(s.number("beta1")), beta2 = R(s.number("beta2")), eps = R(s.number("eps")), decay = R(s.number("weight_decay"));
    const bool decoupled = s.flag("decoupled_weight_decay");
    return [=](Parameter<R>& p, R g, R lr) {
        if (decoupled) p.value *= 1 - lr * decay;
        else g += decay * p.value;
        p.mean = beta1 * p.mean + (1 - beta1) * g;
        p.square = beta2 * p.square + (1 - beta2) * g * g;
        const R t = R(p.step), correction1 = 1 - std::pow(beta1, t), correction2 = 1 - std::pow(beta2, t);
        const R most = 2 / (1 - beta2) - 1, rho = most - 2 * t * std::pow(beta2, t) / correction2;
        R update = lr * p.mean / correction1;
        if (rho > 5)
            update *= std::sqrt((rho - 4) * (rho - 2) * most / ((most - 4) * (most - 2) * rho)) * std::sqrt(correction2) / (std::sqrt(p.square) + eps);
        p.value -= update;
    };
}

template <class R>
Update<R> adamax(const Settings& s) {
    const R beta1 = R(s.number("beta1")), beta2 = R(s.number("beta2")), eps = R(s.number("eps")), decay = R(s.number("weight_decay"));
    return [=](Parameter<R>& p, R g, R lr) {
        g += decay * p.value;
        p.mean = beta1 * p.mean + (1 - beta1) * g;
        p.largest = std::max(beta2 * p.largest, std::fabs(g) + eps);
        p.value -= lr / (1 - std::pow(beta1, R(p.step))) * p.mean / p.largest;
    };
}

template <class R>
Update<R> adadelta(const Settings& s) {
    const R rho = R(s.number("rho")), eps = R(s.number("eps")), decay = R(s.number("weight_decay"));
    return [=](Parameter<R>& p, R g, R lr) {
        g += decay * p.value;
        p.square = rho * p.square + (1 - rho) * g * g;
        const R d = std::sqrt(p.sum + eps) / std::sqrt(p.square + eps) * g;
        p.sum = rho * p.sum + (1 - rho) * d * d;
        p.value -= lr * d;
    };
}

template <class R>
Update<R> rprop(const Settings& s) {
    const R shrink = R(s.number("eta1")), grow = R(s.number("eta2")), least = R(s.number("step_size1")), most = R(s.number("step_size2"));
    return [=](Parameter<R>& p, R g, R lr) {
        const int turn = ((g > 0) - (g < 0)) * ((p.buffer > 0) - (p.buffer < 0));
        const R size = p.step == 1 ? lr : p.sum;
        p.sum = std::min(most, std::max(least, turn > 0 ? size * grow : turn < 0 ? size * shrink : size));
        p.buffer = turn < 0 ? 0 : g;
        p.value -= R((p.buffer > 0) - (p.buffer < 0)) * p.sum;
    };
}

template <class R>
Update<R> asgd(const Settings& s) {
    const R lambd = R(s.number("lambd")), alpha = R(s.number("alpha")), t0 = R(s.number("t0")), decay = R(s.number("weight_decay"));
    return [=](Parameter<R>& p, R g, R lr) {
        g += decay * p.value;
        const R before = R(p.step - 1), eta = lr / std::pow(1 + lambd * lr * before, alpha);
        p.value *= 1 - lambd * eta;
        p.value -= eta * g;
        p.mean += (p.value - p.mean) / std::max(R(1), before - t0);
    };
}

template <class R>
R clamp(R g, R bound) { return g < -bound ? -bound : g > bound ? bound : g; }

// One update of one number, counted and clipped.
template <class R>
Update<R> optimizer(const Settings& s, R gradient_scale) {
    const R clip_value = R(s.number("clip_value"));
    const Update<R> rule = s.kind == "SGD"       ? sgd<R>(s)
                           : s.kind == "Adam"    ? adam<R>(s)
                           : s.kind == "AdamW"   ? adam<R>(s)
                           : s.kind == "RMSprop" ? rmsprop<R>(s)
                           : s.kind == "Adagrad" ? adagrad<R>(s)
                           : s.kind == "ASGD" ? asgd<R>(s)
                           : s.kind == "Rprop" ? rprop<R>(s)
                           : s.kind == "Adadelta" ? adadelta<R>(s)
                           : s.kind == "Adamax" ? adamax<R>(s)
                           : s.kind == "RAdam" ? radam<R>(s)
                           : s.kind == "NAdam" ? nadam<R>(s)
                                                 : throw std::invalid_argument(s.kind);
    return [=](Parameter<R>& p, R g, R lr) {
        ++p.step;
        if (clip_value > 0) g = clamp(g, clip_value);
        rule(p, g * gradient_scale, lr);
    };
}

}  // namespace naive
