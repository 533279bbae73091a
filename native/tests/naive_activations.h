// The naive twins of layers/activations.h: one number (or one row) at a time, with libm, in the type R.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "../src/layers/activations.h"

namespace naive {

using chainrule::Activation;
using chainrule::ActivationKind;

// R is longer than T, but the options are those of the kernel: rounded to T.
template <class T, class R>
R activation(const Activation& a, R x) {
    const R pi = std::acos(R(-1));
    switch (a.kind) {
        case ActivationKind::ReLU: return x > 0 ? x : x <= 0 ? 0 : x;
        case ActivationKind::LeakyReLU: return x > 0 ? x : R(T(a.negative_slope)) * x;
        case ActivationKind::ELU: return x > 0 ? x : R(T(a.alpha)) * std::expm1(x);
        case ActivationKind::Tanh: return std::tanh(x);
        case ActivationKind::Sigmoid: return 1 / (1 + std::exp(-x));
        case ActivationKind::SiLU: return x / (1 + std::exp(-x));
        case ActivationKind::GELU:
            if (a.approximate_tanh) return x / 2 * (1 + std::tanh(std::sqrt(2 / pi) * (x + R(0.044715L) * x * x * x)));
            return x / 2 * (1 + std::erf(x / std::sqrt(R(2))));
        case ActivationKind::Softplus: {
            const R z = R(T(a.beta)) * x;
            return z > R(T(a.threshold)) ? x : std::log1p(std::exp(z)) / R(T(a.beta));
        }
        default: return 0;
    }
}

// dy/dx at x
template <class T, class R>
R activation_derivative(const Activation& a, R x) {
    const R pi = std::acos(R(-1)), s = 1 / (1 + std::exp(-x));
    switch (a.kind) {
        case ActivationKind::ReLU: return x > 0;
        case ActivationKind::LeakyReLU: return x > 0 ? 1 : R(T(a.negative_slope));
        case ActivationKind::ELU: return x > 0 ? 1 : R(T(a.alpha)) * std::exp(x);
        case ActivationKind::Tanh: return 1 / (std::cosh(x) * std::cosh(x));
        case ActivationKind::Sigmoid: return s * (1 / (1 + std::exp(x)));
        case ActivationKind::SiLU: return s + x * s * (1 / (1 + std::exp(x)));
        case ActivationKind::GELU:
            if (a.approximate_tanh) {
                const R u = std::sqrt(2 / pi) * (x + R(0.044715L) * x * x * x), du = std::sqrt(2 / pi) * (1 + 3 * R(0.044715L) * x * x);
                return (1 + std::tanh(u)) / 2 + x / 2 * du / (std::cosh(u) * std::cosh(u));
            }
            return (1 + std::erf(x / std::sqrt(R(2)))) / 2 + x * std::exp(-x * x / 2) / std::sqrt(2 * pi);
        case ActivationKind::Softplus: {
            const R z = R(T(a.beta)) * x;
            return z > R(T(a.threshold)) ? 1 : 1 / (1 + std::exp(-z));
        }
        default: return 0;
    }
}

template <class R>
std::vector<R> log_softmax(const std::vector<R>& x) {
    const R largest = *std::max_element(x.begin(), x.end());
    R sum = 0;
    for (R v : x) sum += std::exp(v - largest);
    std::vector<R> y;
    for (R v : x) y.push_back(v - largest - std::log(sum));
    return y;
}

template <class R>
std::vector<R> softmax(const std::vector<R>& x) {
    std::vector<R> y = log_softmax(x);
    for (R& v : y) v = std::exp(v);
    return y;
}

// dx_i = Σ_j dy_j ∂y_j/∂x_i, with the whole Jacobian: y_j ([i = j] - y_i), or [i = j] - e^(y_i)
template <class R>
std::vector<R> softmax_backward(const std::vector<R>& dy, const std::vector<R>& y, bool logarithm) {
    std::vector<R> dx(y.size(), R(0));
    for (size_t i = 0; i < y.size(); ++i)
        for (size_t j = 0; j < y.size(); ++j)
            dx[i] += dy[j] * (logarithm ? R(i == j) - std::exp(y[i]) : y[j] * (R(i == j) - y[i]));
    return dx;
}

}  // namespace naive
