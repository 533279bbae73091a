// The naive twin of layers/local_response.cpp: rows of so many columns, each number divided by a power of what stands beside it.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "../src/plan.h"

namespace naive {

// f(number, a neighbour of it), for all of both: neighbours are at most size / 2 before it and (size - 1) / 2 behind it.
template <class F>
void each_neighbour(const chainrule::Settings& s, size_t numbers, int64_t columns, F f) {
    const int64_t size = int64_t(s.number("size"));
    for (int64_t i = 0; i < int64_t(numbers); ++i)
        for (int64_t c = 0; c < columns; ++c)
            if (c >= i % columns - size / 2 && c <= i % columns + (size - 1) / 2) f(size_t(i), size_t(i - i % columns + c));
}
inline std::vector<double> divisors(const chainrule::Settings& s, const std::vector<double>& x, int64_t columns) {
    std::vector<double> d(x.size(), s.number("k"));
    each_neighbour(s, x.size(), columns, [&](size_t i, size_t j) { d[i] += s.number("alpha") / s.number("size") * x[j] * x[j]; });
    return d;
}
inline std::vector<double> local_response(const chainrule::Settings& s, const std::vector<double>& x, int64_t columns) {
    std::vector<double> y = divisors(s, x, columns);
    for (size_t i = 0; i < y.size(); ++i) y[i] = x[i] * std::pow(y[i], -s.number("beta"));
    return y;
}
inline std::vector<double> local_response_dx(const chainrule::Settings& s, const std::vector<double>& x, const std::vector<double>& dy, int64_t columns) {
    const std::vector<double> d = divisors(s, x, columns);
    const double beta = s.number("beta"), share = s.number("alpha") / s.number("size");
    std::vector<double> dx(x.size(), 0);
    for (size_t i = 0; i < x.size(); ++i) dx[i] = dy[i] * std::pow(d[i], -beta);
    each_neighbour(s, x.size(), columns, [&](size_t i, size_t j) { dx[j] -= dy[i] * x[i] * beta * std::pow(d[i], -beta - 1) * share * 2 * x[j]; });
    return dx;
}

}  // namespace naive
