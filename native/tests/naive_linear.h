// The naive twins of layers/linear.h: three loops each, on rows as Python has them. They are the specification.
#pragma once

#include <cstdint>
#include <vector>

namespace naive {

// y[r][o] = b[o] + Σ_i x[r][i] w[o][i]
template <class T>
std::vector<T> linear_forward(const std::vector<T>& x, const std::vector<T>& w, const std::vector<T>& b, int64_t batch,
                              int64_t n_in, int64_t n_out) {
    std::vector<T> y(size_t(batch * n_out));
    for (int64_t r = 0; r < batch; ++r)
        for (int64_t o = 0; o < n_out; ++o) {
            T sum = b.empty() ? T(0) : b[size_t(o)];
            for (int64_t i = 0; i < n_in; ++i) sum += x[size_t(r * n_in + i)] * w[size_t(o * n_in + i)];
            y[size_t(r * n_out + o)] = sum;
        }
    return y;
}

// dx[r][i] = Σ_o dy[r][o] w[o][i]
template <class T>
std::vector<T> linear_dx(const std::vector<T>& dy, const std::vector<T>& w, int64_t batch, int64_t n_in, int64_t n_out) {
    std::vector<T> dx(size_t(batch * n_in));
    for (int64_t r = 0; r < batch; ++r)
        for (int64_t i = 0; i < n_in; ++i) {
            T sum = 0;
            for (int64_t o = 0; o < n_out; ++o) sum += dy[size_t(r * n_out + o)] * w[size_t(o * n_in + i)];
            dx[size_t(r * n_in + i)] = sum;
        }
    return dx;
}

// dw[o][i] = Σ_r dy[r][o] x[r][i]
template <class T>
std::vector<T> linear_dw(const std::vector<T>& x, const std::vector<T>& dy, int64_t batch, int64_t n_in, int64_t n_out) {
    std::vector<T> dw(size_t(n_out * n_in));
    for (int64_t o = 0; o < n_out; ++o)
        for (int64_t i = 0; i < n_in; ++i) {
            T sum = 0;
            for (int64_t r = 0; r < batch; ++r) sum += dy[size_t(r * n_out + o)] * x[size_t(r * n_in + i)];
            dw[size_t(o * n_in + i)] = sum;
        }
    return dw;
}

// db[o] = Σ_r dy[r][o]
template <class T>
std::vector<T> linear_db(const std::vector<T>& dy, int64_t batch, int64_t n_out) {
    std::vector<T> db(size_t(n_out), T(0));
    for (int64_t r = 0; r < batch; ++r)
        for (int64_t o = 0; o < n_out; ++o) db[size_t(o)] += dy[size_t(r * n_out + o)];
    return db;
}

}  // namespace naive
