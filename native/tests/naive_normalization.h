// The naive twins of layers/normalization.cpp: numbers that are normalized together, one set after the other.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "../src/plan.h"

namespace naive {

inline bool is_normalization(const chainrule::Settings& s) { return s.kind == "LayerNorm" || s.kind == "RMSNorm" || s.kind == "GroupNorm"; }

// f(places of the numbers of a set), of so many samples of this shape: of each row, or of a sample's columns of a group.
template <class F>
void each_set(const chainrule::Settings& s, int64_t samples, const chainrule::ValueShape& shape, F f) {
    const bool down = s.kind == "GroupNorm";
    const int64_t rows = down ? shape.positions : 1, columns = down ? int64_t(s.number("of_group")) : shape.columns;
    for (int64_t first = 0; first < samples * shape.positions; first += rows)
        for (int64_t c = 0; c < shape.columns; c += columns) {
            std::vector<size_t> set;
            for (int64_t r = first; r < first + rows; ++r)
                for (int64_t k = c; k < c + columns; ++k) set.push_back(size_t(r * shape.columns + k));
            f(set);
        }
}

// x̂ of a set, and by how much it was scaled.
inline double standardize(const chainrule::Settings& s, const std::vector<double>& x, const std::vector<size_t>& set, std::vector<double>& x_hat) {
    double mean = 0, var = 0;
    for (size_t i : set) mean += s.kind == "RMSNorm" ? 0 : x[i] / double(set.size());
    for (size_t i : set) var += (x[i] - mean) * (x[i] - mean) / double(set.size());
    const double scale = 1 / std::sqrt(var + s.number("eps"));
    for (size_t i : set) x_hat[i] = (x[i] - mean) * scale;
    return scale;
}

}  // namespace naive
