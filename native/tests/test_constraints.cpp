// src/constraints against the naive twins: every constraint on every kind of shape, whole and in pieces.
#include <limits>
#include <random>
#include <vector>

#include "../src/parameters.h"
#include "check.h"
#include "matrices.h"
#include "naive_constraints.h"
#include "random_rules.h"

using namespace chainrule;

namespace {

const ParameterShape shapes[] = {{1, 0}, {8, 0}, {9, 0}, {100, 0}, {1, 1}, {3, 2}, {8, 8}, {7, 1}, {1, 7}, {5, 9}, {8, 40}, {2, 100}, {9, 1}, {9, 8}, {17, 33}, {40, 16}, {100, 70},
                                // kernels
                                {1, 1, 1}, {3, 6, 3}, {1, 25, 25}, {8, 9, 9}, {7, 40, 5}, {9, 8, 2}, {16, 27, 9}, {40, 300, 25}};

std::vector<Settings> constraints(int64_t n) {
    Settings mask = constraint_settings("Mask");
    for (int64_t i = 0; i < n; ++i) mask.arrays["mask"].push_back(i % 3 == 0 ? 0 : 1);
    return {constraint_settings("L1", {{"strength", 3}}), constraint_settings("L2", {{"strength", 3}}), constraint_settings("NonNegative"), mask,
            constraint_settings("MaxNorm", {{"max_norm", 2}}), constraint_settings("UnitNorm")};
}

// A parameter as it lies in memory, with a guard behind it.
template <class T>
struct InMemory {
    int64_t size;
    std::vector<T> memory;
    InMemory(const ParameterShape& shape, const std::vector<T>& numbers) {
        const Matrix<T> m = parameter_matrix<T>(shape, nullptr);
        size = round_up(matrix_size<T>(m.rows, m.columns), 64);
        memory.assign(size_t(size + 64), T(0));
        auto next = numbers.begin();
        each_place<T>(shape, [&](int64_t at) { memory[size_t(at)] = *next++; });
        for (int64_t i = size; i < size + 64; ++i) memory[size_t(i)] = T(-77);
    }
    std::vector<T> numbers(const ParameterShape& shape) const {
        std::vector<T> all;
        each_place<T>(shape, [&](int64_t at) { all.push_back(memory[size_t(at)]); });
        return all;
    }
};

template <class T>
void compare_all() {
    using R = Reference<T>;
    const double lr = 0.1;
    std::mt19937_64 random(1);
    std::normal_distribution<double> normal(0, 1);
    for (const ParameterShape& shape : shapes)
        for (const Settings& settings : constraints(shape.n_out * (shape.n_in ? shape.n_in : 1)))
            for (bool zeros : {false, true}) {
                std::vector<T> before(size_t(shape.n_out * (shape.n_in ? shape.n_in : 1)));
                for (size_t i = 0; i < before.size(); ++i) before[i] = zeros && i < size_t(shape.n_in) ? T(0) : T(normal(random));
                std::vector<R> want(before.begin(), before.end());
                naive::constrain<R>(settings, shape, R(lr), want);
                const auto one = make_constraint<T>(settings, shape);
                CHECK((one != nullptr) == (shape.n_in > 0 || (settings.kind != "MaxNorm" && settings.kind != "UnitNorm")));
                if (!one) continue;
                InMemory<T> whole(shape, before), pieces(shape, before);
                one->apply(lr, whole.memory.data(), 0, whole.size);
                const int64_t unit = one->takes_rows() ? rows_unit<T>(shape, whole.size) : 64;
                for (int64_t begin = 0; begin < whole.size; begin += unit)
                    one->apply(lr, pieces.memory.data(), begin, std::min(begin + unit, whole.size));
                CHECK(std::memcmp(whole.memory.data(), pieces.memory.data(), whole.memory.size() * sizeof(T)) == 0, "%s, in pieces", settings.kind.c_str());
                const std::vector<T> found = whole.numbers(shape);
                // A sum of n_in squares, a root, a division and a product, or a product and a difference.
                const double bound = double(shape.n_in + 4) * std::numeric_limits<T>::epsilon();
                R size = 0;
                for (R w : want) size = std::max(size, std::fabs(w));
                for (size_t i = 0; i < found.size(); ++i)
                    CHECK(std::fabs(R(found[i]) - want[i]) <= bound * std::max<R>(size, 1), "%s, %d x %d: %.9g, not %.9g", settings.kind.c_str(),
                          int(shape.n_out), int(shape.n_in), double(found[i]), double(want[i]));
                for (int64_t i = whole.size; i < whole.size + 64; ++i) CHECK(whole.memory[size_t(i)] == T(-77));
                std::vector<T> rest = whole.memory;  // what no number lies in
                each_place<T>(shape, [&](int64_t at) { rest[size_t(at)] = 0; });
                for (int64_t i = 0; i < whole.size; ++i) CHECK(rest[size_t(i)] == 0, "the padding of %s", settings.kind.c_str());
            }
}

TEST("every constraint follows its naive twin, whole and in pieces, and leaves the padding at 0, float") { compare_all<float>(); }
TEST("every constraint follows its naive twin, whole and in pieces, and leaves the padding at 0, double") { compare_all<double>(); }

// (Of a kernel as numpy would have it: its axes (n_out, channels, taps) become (taps, channels, n_out), of which the last one
// lies in panels.)
TEST("every number of a parameter has a place of its own, and a kernel's lie tap by tap") {
    for (const ParameterShape& shape : shapes) {
        const Matrix<float> m = parameter_matrix<float>(shape, nullptr);
        std::vector<int> taken(size_t(matrix_size<float>(m.rows, m.columns)), 0);
        std::vector<int64_t> places;
        each_place<float>(shape, [&](int64_t at) { places.push_back(at), ++taken.at(size_t(at)); });
        CHECK(int64_t(places.size()) == shape.size() && std::count(taken.begin(), taken.end(), 1) == shape.size(), "%d x %d, %d taps", int(shape.n_out),
              int(shape.n_in), int(shape.taps));
        if (!shape.taps) continue;
        const int64_t channels = shape.n_in / shape.taps;
        auto place = places.begin();
        for (int64_t o = 0; o < shape.n_out; ++o)
            for (int64_t c = 0; c < channels; ++c)
                for (int64_t t = 0; t < shape.taps; ++t, ++place)
                    CHECK(*place == m.column_offset(o) + (t * channels + c) * m.width(), "output %d, channel %d, tap %d", int(o), int(c), int(t));
    }
}

TEST("zeros of L1 are exact, and NaN stays NaN") {
    const ParameterShape shape{16, 0};
    std::vector<double> numbers(16, 0.25), strange(16, NAN);
    numbers[1] = -0.25, numbers[2] = 0.75, numbers[3] = -0.75;
    InMemory<double> some(shape, numbers), nan(shape, strange);
    make_constraint<double>(constraint_settings("L1", {{"strength", 0.5}}), shape)->apply(1, some.memory.data(), 0, 16);
    CHECK(some.memory[0] == 0 && some.memory[1] == 0 && some.memory[2] == 0.25 && some.memory[3] == -0.25);
    for (const Settings& settings : constraints(16))
        if (const auto one = make_constraint<double>(settings, shape)) {
            one->apply(1, nan.memory.data(), 0, 16);
            for (int i = 0; i < 16; ++i)
                CHECK(settings.kind == "Mask" ? i % 3 == 0 || std::isnan(nan.memory[size_t(i)]) : std::isnan(nan.memory[size_t(i)]), "%s", settings.kind.c_str());
        }
}

TEST("MaxNorm by hand: a row of (3, 4) under 1 becomes (0.6, 0.8), one of (0.3, 0.4) stays") {
    const ParameterShape shape{2, 2};
    InMemory<double> some(shape, {3, 4, 0.3, 0.4});
    make_constraint<double>(constraint_settings("MaxNorm", {{"max_norm", 1}}), shape)->apply(0.1, some.memory.data(), 0, some.size);
    const std::vector<double> found = some.numbers(shape);
    CHECK(std::fabs(found[0] - 0.6) < 1e-15 && std::fabs(found[1] - 0.8) < 1e-15 && found[2] == 0.3 && found[3] == 0.4);
}

}  // namespace

TEST_MAIN
