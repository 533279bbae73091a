// The naive twins of the optimizers that look at all numbers of a parameter at once, in Python's layout, in the type R.
#pragma once

#include <vector>

#include "../src/plan.h"
#include "naive_optimizers.h"

namespace naive {

inline bool is_whole(const Settings& settings) { return settings.kind == "Adafactor" || settings.kind == "Muon"; }

template <class R>
using Numbers = std::vector<R>;

template <class R>
R squares_of(const Numbers<R>& x) {
    R sum = 0;
    for (R v : x) sum += v * v;
    return sum;
}
template <class R>
R rms_of(const Numbers<R>& x) { return std::sqrt(squares_of(x) / R(x.size())); }

// What is remembered of one parameter.
template <class R>
struct Whole {
    std::vector<Numbers<R>> kept;
    std::vector<Parameter<R>> adamw;
    int64_t step = 0;
};

// The product of matrices (n, k) and (k, m).
template <class R>
Numbers<R> product(const Numbers<R>& a, const Numbers<R>& b, size_t n, size_t k, size_t m) {
    Numbers<R> c(n * m, R(0));
    for (size_t i = 0; i < n; ++i)
        for (size_t l = 0; l < k; ++l)
            for (size_t j = 0; j < m; ++j) c[i * m + j] += a[i * k + l] * b[l * m + j];
    return c;
}
template <class R>
Numbers<R> turned(const Numbers<R>& a, size_t n, size_t m) {
    Numbers<R> b(n * m);
    for (size_t i = 0; i < n; ++i)
        for (size_t j = 0; j < m; ++j) b[j * n + i] = a[i * m + j];
    return b;
}

// x ← a x + (b x xᵀ + c (x xᵀ)²) x, as in the paper: never transposed.
template <class R>
Numbers<R> orthogonal(const Settings& s, Numbers<R> x, size_t n, size_t m) {
    const R a = R(s.number("ns_coefficient1")), b = R(s.number("ns_coefficient2")), c = R(s.number("ns_coefficient3"));
    const R norm = std::max(std::sqrt(squares_of(x)), R(s.number("eps")));
    for (R& v : x) v /= norm;
    for (int step = 0; step < int(s.number("ns_steps")); ++step) {
        const Numbers<R> square = product(x, turned(x, n, m), n, m, n), fourth = product(square, square, n, n, n);
        Numbers<R> both(n * n);
        for (size_t i = 0; i < both.size(); ++i) both[i] = b * square[i] + c * fourth[i];
        const Numbers<R> more = product(both, x, n, n, m);
        for (size_t i = 0; i < x.size(); ++i) x[i] = a * x[i] + more[i];
    }
    return x;
}

template <class R>
void muon(const Settings& s, const chainrule::ParameterShape& shape, Whole<R>& memory, Numbers<R>& value, const Numbers<R>& g, R lr) {
    const R momentum = R(s.number("momentum")), decay = R(s.number("weight_decay"));
    if (shape.n_in == 0) {
        Settings own;
        own.kind = "AdamW";
        own.numbers = {{"beta1", s.number("adamw_beta1")}, {"beta2", s.number("adamw_beta2")}, {"eps", s.number("adamw_eps")}, {"weight_decay", s.number("weight_decay")}, {"amsgrad", 0}};
        const Update<R> update = adam<R>(own);
        memory.adamw.resize(value.size());
        for (size_t i = 0; i < value.size(); ++i) {
            Parameter<R>& p = memory.adamw[i];
            p.value = value[i], p.step = memory.step;
            update(p, g[i], lr * R(s.number("adamw_lr_ratio")));
            value[i] = p.value;
        }
        return;
    }
    const size_t n = size_t(shape.n_out), m = size_t(shape.n_in);
    memory.kept.resize(1, Numbers<R>(value.size(), R(0)));
    Numbers<R> u(value.size());
    for (size_t i = 0; i < u.size(); ++i) {
        R& buffer = memory.kept[0][i];
        buffer = momentum * buffer + (1 - momentum) * g[i];
        u[i] = s.flag("nesterov") ? momentum * buffer + (1 - momentum) * g[i] : buffer;
    }
    const R size = s.flag("adjust_lr_fn") ? R(0.2) * std::sqrt(R(std::max(n, m))) : std::sqrt(std::max(R(1), R(n) / R(m)));
    const Numbers<R> direction = orthogonal(s, u, n, m);
    for (size_t i = 0; i < u.size(); ++i) value[i] = value[i] * (1 - lr * decay) - lr * size * direction[i];
}

// eps: that of the numbers' type, where the settings say none
template <class R>
void adafactor(const Settings& s, const chainrule::ParameterShape& shape, Whole<R>& memory, Numbers<R>& value, const Numbers<R>& g, R lr, R eps) {
    const R b = std::pow(R(memory.step), R(s.number("beta2_decay"))), decay = R(s.number("weight_decay"));
    const R alpha = std::min(lr, 1 / std::sqrt(R(memory.step))) * std::max(R(s.number("eps2")), rms_of(value));
    const R eps1 = s.number("eps1") < 0 ? eps : R(s.number("eps1"));
    const size_t n = size_t(shape.n_out), m = size_t(std::max<int64_t>(shape.n_in, 1));
    Numbers<R> u(value.size());
    const auto scale = [&](size_t i, R v) { u[i] = g[i] / std::max(std::sqrt(v), eps1); };
    if (shape.n_in == 0) {
        memory.kept.resize(1, Numbers<R>(n, R(0)));
        Numbers<R>& variance = memory.kept[0];
        for (size_t i = 0; i < n; ++i) scale(i, variance[i] += b * (g[i] * g[i] - variance[i]));
    } else {
        memory.kept.resize(2);
        Numbers<R>&rows = memory.kept[0], &columns = memory.kept[1];
        rows.resize(n, R(0)), columns.resize(m, R(0));
        Numbers<R> of_rows(n, R(0)), of_columns(m, R(0));
        for (size_t i = 0; i < n; ++i)
            for (size_t j = 0; j < m; ++j) of_rows[i] += g[i * m + j] * g[i * m + j] / R(m), of_columns[j] += g[i * m + j] * g[i * m + j] / R(n);
        R mean = 0;
        for (size_t i = 0; i < n; ++i) mean += (rows[i] += b * (of_rows[i] - rows[i])) / R(n);
        for (size_t j = 0; j < m; ++j) columns[j] += b * (of_columns[j] - columns[j]);
        for (size_t i = 0; i < n; ++i)
            for (size_t j = 0; j < m; ++j) scale(i * m + j, rows[i] * columns[j] / std::max(mean, eps1));
    }
    const R length = alpha / std::max(R(1), rms_of(u) / R(s.number("d")));
    for (size_t i = 0; i < value.size(); ++i) value[i] = value[i] * (1 - lr * decay) - length * u[i];
}

// One update of one parameter, counted and clipped.
template <class R>
void update_whole(const Settings& s, const chainrule::ParameterShape& shape, Whole<R>& memory, Numbers<R>& value, Numbers<R> g, R lr, R gradient_scale, R eps) {
    ++memory.step;
    const R clip_value = R(s.number("clip_value"));
    for (R& v : g) v = (clip_value > 0 ? clamp(v, clip_value) : v) * gradient_scale;
    if (s.kind == "Muon") muon(s, shape, memory, value, g, lr);
    else adafactor(s, shape, memory, value, g, lr, eps);
}

}  // namespace naive
