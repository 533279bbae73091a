// How losses add up: what a row counts, and sums over rows and samples.
#pragma once

#include <cmath>
#include <vector>

#include "loss.h"

namespace chainrule::losses_detail {

// What the gradient of Σ w l is multiplied by: 0 for a denominator of 0 or infinity, and for 0/0.
inline double scale_of(double denominator) { return std::fabs(denominator) > 0 ? 1 / denominator : 0; }

// Σ of f(i) over i < n in double: sixteen running sums, then by halves.
template <class Function>
double sum_double(int64_t n, Function f) {
    double lane[virtual_lanes] = {};
    for (int64_t i = 0; i < n; ++i) lane[i % virtual_lanes] += f(i);
    for (int half = virtual_lanes / 2; half > 0; half /= 2)
        for (int i = 0; i < half; ++i) lane[i] += lane[i + half];
    return lane[0];
}

// Over rows: the weight, times how much of the row is there: `columns`, where nothing is missing.
template <class T>
double sum_of_weights(const Target<T>& target, int64_t rows, int64_t columns = 1) {
    if (target.there) return sum_double(rows, [&](int64_t r) { return target.weight(r) * target.there[r]; });
    return double(columns) *
           (target.sample_weight ? sum_double(rows, [&](int64_t r) { return double(target.sample_weight[r]); }) : double(rows));
}

// Adds the values of rows r … to the partial sums of their blocks. The groups of rows divide a block.
template <class T, class Count>
FORCE_INLINE void add_rows(double* partial, int64_t r, Count n, const double* sample_weight, const T* values) {
    double& sum = partial[r / loss_block];
    if (r % loss_block == 0) sum = 0;
    for (int i = 0; i < n; ++i) sum += sample_weight[i] * double(values[i]);
}

// Weights as Python has them (none, one number for all, or one for each column) as one number per column, padded with 0
// to whole chunks. None stays none.
template <class T>
std::vector<T> per_column(const Settings& settings, const char* name, int64_t columns) {
    const std::vector<double>& given = settings.array(name);
    std::vector<T> values;
    if (given.empty()) return values;
    if (given.size() != 1 && given.size() != size_t(columns))
        throw std::invalid_argument(settings.kind + ": " + name + " must hold " + std::to_string(columns) + " numbers, got " +
                                    std::to_string(given.size()));
    values.assign(size_t(round_up(columns, virtual_lanes)), T(0));
    for (size_t c = 0; c < size_t(columns); ++c) values[c] = T(given.size() == 1 ? given[0] : given[c]);
    return values;
}

}  // namespace chainrule::losses_detail
