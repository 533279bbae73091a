// The naive twins of products/windows.h and of the layers whose windows or positions are tables (layers/sliding.h): loops over
// everything, on images as the engine has them, position by position, and kernels as Python has them, (n_out, channels, taps).
#pragma once

#include <cstdint>
#include <vector>

namespace naive {

// Windows over images: window i begins at position begins[i], and its taps lie at taps[t] from there.
struct Windows {
    std::vector<double> begins, taps;
    int64_t samples, positions, channels, n_out;

    // f(row of x, row of y, tap), for every tap of every window of every sample.
    template <class F>
    void each(F f) const {
        for (int64_t s = 0; s < samples; ++s)
            for (size_t i = 0; i < begins.size(); ++i)
                for (size_t t = 0; t < taps.size(); ++t)
                    f(s * positions + int64_t(begins[i] + taps[t]), s * int64_t(begins.size()) + int64_t(i), int64_t(t));
    }
    size_t rows() const { return size_t(samples) * begins.size(); }
    size_t place(int64_t o, int64_t c, int64_t t) const { return size_t((o * channels + c) * int64_t(taps.size()) + t); }
};

// y[window][o] = b[o] + Σ_t Σ_c x[window + t][c] w[o][c][t]
template <class T>
std::vector<T> convolution_forward(const Windows& windows, const std::vector<T>& x, const std::vector<T>& w, const std::vector<T>& b) {
    std::vector<T> y;
    for (size_t r = 0; r < windows.rows(); ++r)
        for (int64_t o = 0; o < windows.n_out; ++o) y.push_back(b.empty() ? T(0) : b[size_t(o)]);
    windows.each([&](int64_t from, int64_t to, int64_t t) {
        for (int64_t o = 0; o < windows.n_out; ++o)
            for (int64_t c = 0; c < windows.channels; ++c)
                y[size_t(to * windows.n_out + o)] += x[size_t(from * windows.channels + c)] * w[windows.place(o, c, t)];
    });
    return y;
}

// dx[window + t][c] = Σ dy[window][o] w[o][c][t], over all windows and taps that have it
template <class T>
std::vector<T> convolution_dx(const Windows& windows, const std::vector<T>& dy, const std::vector<T>& w) {
    std::vector<T> dx(size_t(windows.samples * windows.positions * windows.channels), T(0));
    windows.each([&](int64_t from, int64_t to, int64_t t) {
        for (int64_t o = 0; o < windows.n_out; ++o)
            for (int64_t c = 0; c < windows.channels; ++c)
                dx[size_t(from * windows.channels + c)] += dy[size_t(to * windows.n_out + o)] * w[windows.place(o, c, t)];
    });
    return dx;
}

// dw[o][c][t] = Σ dy[window][o] x[window + t][c]
template <class T>
std::vector<T> convolution_dw(const Windows& windows, const std::vector<T>& x, const std::vector<T>& dy) {
    std::vector<T> dw(size_t(windows.n_out * windows.channels) * windows.taps.size(), T(0));
    windows.each([&](int64_t from, int64_t to, int64_t t) {
        for (int64_t o = 0; o < windows.n_out; ++o)
            for (int64_t c = 0; c < windows.channels; ++c)
                dw[windows.place(o, c, t)] += dy[size_t(to * windows.n_out + o)] * x[size_t(from * windows.channels + c)];
    });
    return dw;
}

// Which positions of x have a part in each of y: f(row of x, row of y, number of the entry).
struct Sources {
    const std::vector<double>&begins, &sources;
    int64_t samples, positions;

    int64_t targets() const { return int64_t(begins.size()) - 1; }
    template <class F>
    void each(F f) const {
        for (int64_t s = 0; s < samples; ++s)
            for (int64_t i = 0; i < targets(); ++i)
                for (size_t e = size_t(begins[size_t(i)]); e < size_t(begins[size_t(i) + 1]); ++e)
                    f(s * positions + int64_t(sources[e]), s * targets() + i, e);
    }
    // Which row of x is the greatest in each row of y, for one column; the first of several.
    template <class T>
    std::vector<int64_t> greatest(const std::vector<T>& x, int64_t columns, int64_t c) const {
        std::vector<int64_t> which(size_t(samples * targets()), -1);
        each([&](int64_t from, int64_t to, size_t) {
            int64_t& best = which[size_t(to)];
            if (best < 0 || x[size_t(from * columns + c)] > x[size_t(best * columns + c)]) best = from;
        });
        return which;
    }
};

}  // namespace naive
