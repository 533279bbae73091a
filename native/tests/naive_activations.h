// The naive twins of layers/activations.h and layers/softmax.h: one number (or one row) at a time, with libm, in the type R.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "../src/settings.h"

namespace naive {

using chainrule::Settings;

// R is longer than T, but the options are those of the kernel: rounded to T.
template <class T, class R>
R activation(const Settings& s, R x) {
    const R pi = std::acos(R(-1));
    const auto option = [&](const char* name) { return R(T(s.number(name))); };
    if (s.kind == "ReLU") return x > 0 ? x : x <= 0 ? 0 : x;
    if (s.kind == "LeakyReLU") return x > 0 ? x : option("negative_slope") * x;
    if (s.kind == "ELU") return x > 0 ? x : option("alpha") * std::expm1(x);
    if (s.kind == "Tanh") return std::tanh(x);
    if (s.kind == "Sigmoid") return 1 / (1 + std::exp(-x));
    if (s.kind == "SiLU") return x / (1 + std::exp(-x));
    if (s.kind == "GELU" && s.word("approximate") == "tanh") return x / 2 * (1 + std::tanh(std::sqrt(2 / pi) * (x + R(0.044715L) * x * x * x)));
    if (s.kind == "GELU") return x / 2 * (1 + std::erf(x / std::sqrt(R(2))));
    if (s.kind == "Softplus") {
        const R z = option("beta") * x;
        return z > option("threshold") ? x : std::log1p(std::exp(z)) / option("beta");
    }
    if (s.kind == "Mish") return x * std::tanh(std::log1p(std::exp(x)));
    if (s.kind == "Softsign") return x / (1 + std::fabs(x));
    throw std::invalid_argument(s.kind);
}

// dy/dx at x
template <class T, class R>
R activation_derivative(const Settings& s, R x) {
    const R pi = std::acos(R(-1)), sigmoid = 1 / (1 + std::exp(-x)), rest = 1 / (1 + std::exp(x));
    const auto option = [&](const char* name) { return R(T(s.number(name))); };
    if (s.kind == "ReLU") return x > 0;
    if (s.kind == "LeakyReLU") return x > 0 ? 1 : option("negative_slope");
    if (s.kind == "ELU") return x > 0 ? 1 : option("alpha") * std::exp(x);
    if (s.kind == "Tanh") return 1 / (std::cosh(x) * std::cosh(x));
    if (s.kind == "Sigmoid") return sigmoid * rest;
    if (s.kind == "SiLU") return sigmoid + x * sigmoid * rest;
    if (s.kind == "GELU" && s.word("approximate") == "tanh") {
        const R u = std::sqrt(2 / pi) * (x + R(0.044715L) * x * x * x), du = std::sqrt(2 / pi) * (1 + 3 * R(0.044715L) * x * x);
        return (1 + std::tanh(u)) / 2 + x / 2 * du / (std::cosh(u) * std::cosh(u));
    }
    if (s.kind == "GELU") return (1 + std::erf(x / std::sqrt(R(2)))) / 2 + x * std::exp(-x * x / 2) / std::sqrt(2 * pi);
    if (s.kind == "Softplus") {
        const R z = option("beta") * x;
        return z > option("threshold") ? 1 : 1 / (1 + std::exp(-z));
    }
    if (s.kind == "Mish") {
        const R softplus = std::log1p(std::exp(x));
        return std::tanh(softplus) + x * sigmoid / (std::cosh(softplus) * std::cosh(softplus));
    }
    if (s.kind == "Softsign") return 1 / ((1 + std::fabs(x)) * (1 + std::fabs(x)));
    throw std::invalid_argument(s.kind);
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
