// The naive twins of src/constraints, on a parameter in Python's layout.
#pragma once

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <vector>

#include "../src/plan.h"

namespace naive {

template <class R>
void constrain(const chainrule::Settings& settings, const chainrule::ParameterShape& shape, R lr, std::vector<R>& value) {
    const std::string& kind = settings.kind;
    if (kind == "L1" || kind == "L2") {
        const R strength = lr * R(settings.number("strength"));
        for (R& w : value)
            w = kind == "L2" ? w / (1 + strength) : w > strength ? w - strength : w < -strength ? w + strength : std::isnan(w) ? w : 0;
    } else if (kind == "NonNegative") {
        for (R& w : value) w = w < 0 ? 0 : w;
    } else if (kind == "Mask") {
        for (size_t i = 0; i < value.size(); ++i) value[i] = settings.array("mask")[i] != 0 ? value[i] : 0;
    } else if (kind == "MaxNorm" || kind == "UnitNorm") {
        const size_t n_in = size_t(shape.n_in);
        for (size_t row = 0; n_in > 0 && row < value.size(); row += n_in) {
            R squares = 0;
            for (size_t i = row; i < row + n_in; ++i) squares += value[i] * value[i];
            const R norm = std::sqrt(squares), most = kind == "UnitNorm" ? 1 : R(settings.number("max_norm"));
            const bool stays = kind == "UnitNorm" ? !(norm > 0) : norm <= most;
            for (size_t i = row; i < row + n_in && !stays; ++i) value[i] *= most / norm;
        }
    } else {
        throw std::invalid_argument(kind);
    }
}

}  // namespace naive
