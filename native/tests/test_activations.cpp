// layers/activations.h and layers/softmax.h against the naive twins, on odd sizes, in and out of place.
#include "naive_activations.h"

#include <limits>

#include "activation_kernels.h"
#include "check.h"
#include "matrices.h"
#include "plans.h"

using namespace chainrule;

namespace {

const int64_t sizes[] = {1, 2, 3, 7, 8, 9, 16, 17, 25, 33, 50, 64, 100, 257};

std::vector<Settings> elementwise() {
    std::vector<Settings> all;
    for (const std::string& kind : elementwise_kinds) all.push_back(settings(kind));
    all.push_back(settings("LeakyReLU", {{"negative_slope", 0.3}}));
    all.push_back(settings("ELU", {{"alpha", 1.7}}));
    all.push_back(settings("Softplus", {{"beta", 2.5}, {"threshold", 3}}));
    all.push_back(gelu_tanh());
    return all;
}

// Errors of the elementary functions are below 3 ulp, and at most eight roundings follow. A sum such as 1 + erf(x)
// carries the absolute error of its larger term, which x may magnify: hence |x| beside the value.
template <class T>
double tolerance(double value, double x) {
    return 12 * std::numeric_limits<T>::epsilon() * (std::fabs(value) + std::fabs(x) + 1e-30);
}

template <class T>
void compare_elementwise() {
    using R = Reference<T>;
    for (const Settings& a : elementwise())
        for (int64_t rows : {1, 3, 17})
            for (int64_t columns : sizes) {
                std::mt19937_64 random(uint64_t(rows * 1000 + columns));
                std::normal_distribution<double> normal(0, 3);
                Storage<T> x(rows, columns), y(rows, columns), dy(rows, columns, T(0)), dx(rows, columns);
                x.fill([&](int64_t, int64_t) { return normal(random); });
                dy.fill([&](int64_t, int64_t) { return normal(random); });
                activation_forward(a, x.matrix, y.matrix);
                const Storage<T>& saved = saves_output<T>(a) ? y : x;
                activation_backward(a, dy.matrix, saved.matrix, dx.matrix);
                for (int64_t r = 0; r < rows; ++r)
                    for (int64_t c = 0; c < columns; ++c) {
                        const R v = x.matrix.at(r, c), d = dy.matrix.at(r, c);
                        const R expected = naive::activation<T>(a, v), derivative = naive::activation_derivative<T>(a, v);
                        CHECK(std::fabs(R(y.matrix.at(r, c)) - expected) <= tolerance<T>(double(expected), double(v)), "%s forward(%g) = %g, not %g",
                              a.kind.c_str(), double(v), double(y.matrix.at(r, c)), double(expected));
                        // y carries an error of its own, which 1 - y² does not shrink
                        CHECK(std::fabs(R(dx.matrix.at(r, c)) - d * derivative) <= 2 * std::fabs(d) * tolerance<T>(2, double(v)),
                              "%s backward(%g) = %g, not %g", a.kind.c_str(), double(v), double(dx.matrix.at(r, c)), double(d * derivative));
                    }
                CHECK(dx.padding_zero());
                CHECK(y.guard_intact() && dx.guard_intact());

                // in place: y over x, dx over dy, dx over what was saved
                Storage<T> x2 = x, dy2 = dy, saved2 = saved;
                activation_forward(a, x2.matrix, x2.matrix);
                activation_backward(a, dy2.matrix, saved.matrix, dy2.matrix);
                activation_backward(a, dy.matrix, saved2.matrix, saved2.matrix);
                for (int64_t r = 0; r < rows; ++r)
                    CHECK(x2.row(r) == y.row(r) && dy2.row(r) == dx.row(r) && saved2.row(r) == dx.row(r));

                // added to what is there
                Storage<T> sum = dy;
                with_elementwise<T>(a, [&](auto f) { chainrule::activation_backward<true, T>(f, dy.matrix, saved.matrix, sum.matrix); });
                for (int64_t r = 0; r < rows; ++r)
                    for (int64_t c = 0; c < columns; ++c)
                        CHECK(sum.matrix.at(r, c) == dy.matrix.at(r, c) + dx.matrix.at(r, c), "%s", a.kind.c_str());
            }
}

template <class T>
void compare_softmax() {
    using R = Reference<T>;
    for (bool logarithm : {false, true})
        for (int64_t rows : {1, 3, 7, 16, 17, 33})
            for (int64_t columns : sizes) {
                const Settings a = settings(logarithm ? "LogSoftmax" : "Softmax");
                std::mt19937_64 random(uint64_t(rows * 1000 + columns));
                std::normal_distribution<double> normal(0, 4);
                Storage<T> x(rows, columns), y(rows, columns), dy(rows, columns, T(0)), dx(rows, columns);
                x.fill([&](int64_t, int64_t) { return normal(random); });
                dy.fill([&](int64_t, int64_t) { return normal(random); });
                activation_forward(a, x.matrix, y.matrix);
                activation_backward(a, dy.matrix, y.matrix, dx.matrix);
                const double eps = std::numeric_limits<T>::epsilon();
                for (int64_t r = 0; r < rows; ++r) {
                    const std::vector<R> expected = logarithm ? naive::log_softmax(x.row(r)) : naive::softmax(x.row(r));
                    const std::vector<R> got = y.row(r), gradient = dx.row(r);
                    // the derivative at the y that the kernel saved
                    const std::vector<R> expected_gradient = naive::softmax_backward(dy.row(r), got, logarithm);
                    R total = 0;
                    for (R v : dy.row(r)) total += std::fabs(v);
                    for (size_t c = 0; c < size_t(columns); ++c) {
                        // x - largest is rounded, e^x turns that into |x - largest| eps relative; then a sum of `columns` terms
                        const double bound = (logarithm ? 60 : 60 * double(expected[c])) * eps + double(columns) * eps * (logarithm ? 1 : double(expected[c]));
                        CHECK(std::fabs(got[c] - expected[c]) <= bound, "%ld x %ld: %g, not %g", long(rows), long(columns), double(got[c]), double(expected[c]));
                        CHECK(std::fabs(gradient[c] - expected_gradient[c]) <= (double(columns) + 8) * eps * double(total), "%ld x %ld: %g, not %g",
                              long(rows), long(columns), double(gradient[c]), double(expected_gradient[c]));
                    }
                }
                CHECK(y.padding_zero() && dx.padding_zero(), "%ld x %ld", long(rows), long(columns));
                CHECK(y.guard_intact() && dx.guard_intact());
                Storage<T> x2 = x, dy2 = dy, y2 = y;
                activation_forward(a, x2.matrix, x2.matrix);
                activation_backward(a, dy2.matrix, y.matrix, dy2.matrix);
                activation_backward(a, dy.matrix, y2.matrix, y2.matrix);
                for (int64_t r = 0; r < rows; ++r)
                    CHECK(x2.row(r) == y.row(r) && dy2.row(r) == dx.row(r) && y2.row(r) == dx.row(r));
            }
}

TEST("the naive derivatives are those of the naive functions") {
    const long double h = 1e-6L;
    for (const Settings& a : elementwise())
        for (long double x = -6.03L; x < 6; x += 0.1L) {
            long double slope = (naive::activation<double>(a, x + h) - naive::activation<double>(a, x - h)) / (2 * h);
            CHECK(std::fabs(slope - naive::activation_derivative<double>(a, x)) < 1e-9L, "%s at %Lg", a.kind.c_str(), x);
        }
}

TEST("elementwise activations agree with their naive twins, float") { compare_elementwise<float>(); }
TEST("elementwise activations agree with their naive twins, double") { compare_elementwise<double>(); }
TEST("Softmax and LogSoftmax agree with their naive twins, float") { compare_softmax<float>(); }
TEST("Softmax and LogSoftmax agree with their naive twins, double") { compare_softmax<double>(); }

TEST("NaN passes through every activation") {
    std::vector<Settings> all = elementwise();
    for (const char* kind : {"Softmax", "LogSoftmax"}) all.push_back(settings(kind));
    for (const Settings& a : all)
        for (int64_t at : {0, 5, 18}) {
            Storage<float> x(3, 19), y(3, 19);
            x.fill([](int64_t r, int64_t c) { return float(r - c); });
            x.matrix.at(1, at) = std::numeric_limits<float>::quiet_NaN();
            activation_forward(a, x.matrix, y.matrix);
            CHECK(std::isnan(y.matrix.at(1, at)), "%s", a.kind.c_str());
            CHECK(!std::isnan(y.matrix.at(0, at)) && !std::isnan(y.matrix.at(2, at)), "%s", a.kind.c_str());
        }
}

// On the negative side e^x alone decides, and it must keep its digits down to the smallest normal number.
template <class T>
void elu_far_out() {
    using R = Reference<T>;
    for (double alpha : {1.0, 0.3, -1.5}) {
        const Settings a = settings("ELU", {{"alpha", alpha}});
        const int64_t columns = 1001;
        Storage<T> x(1, columns), dy(1, columns, T(0)), dx(1, columns);
        x.fill([](int64_t, int64_t c) { return double(c) / 10 - 100; });
        dy.fill([](int64_t, int64_t) { return 1.0; });
        activation_backward(a, dy.matrix, x.matrix, dx.matrix);
        for (int64_t c = 0; c < columns; ++c) {
            const R expected = naive::activation_derivative<T>(a, R(x.matrix.at(0, c)));
            const double bound = 4 * std::numeric_limits<T>::epsilon() * double(std::fabs(expected)) + double(std::numeric_limits<T>::min());
            CHECK(std::fabs(R(dx.matrix.at(0, c)) - expected) <= bound, "alpha %g at %g: %g, not %g", alpha, double(x.matrix.at(0, c)),
                  double(dx.matrix.at(0, c)), double(expected));
        }
    }
}

TEST("the slope of ELU keeps its digits far out on the negative side") {
    elu_far_out<float>();
    elu_far_out<double>();
}

TEST("Softmax and LogSoftmax of a row with a NaN are NaN, as in PyTorch, and those of other rows are not") {
    for (const char* kind : {"Softmax", "LogSoftmax"})
        for (int64_t columns : {2, 8, 10, 16, 19, 70})
            for (int64_t at : {int64_t(0), columns - 1}) {
                Storage<float> x(18, columns), y(18, columns);
                x.fill([](int64_t r, int64_t c) { return float(r - c); });
                x.matrix.at(5, at) = std::numeric_limits<float>::quiet_NaN();
                x.matrix.at(17, at) = std::numeric_limits<float>::infinity();
                activation_forward(settings(kind), x.matrix, y.matrix);
                for (int64_t r = 0; r < 18; ++r)
                    for (int64_t c = 0; c < columns; ++c)
                        CHECK(std::isnan(y.matrix.at(r, c)) == (r == 5 || r == 17), "%s, row %ld, column %ld", kind, long(r), long(c));
            }
}

TEST("a NaN that ReLU has let through does not end as a gradient of 0") {
    Storage<float> y(1, 3), dy(1, 3, 0), dx(1, 3);
    y.fill([](int64_t, int64_t c) { return c == 1 ? NAN : 0.0f; });
    dy.fill([](int64_t, int64_t) { return NAN; });
    activation_backward(settings("ReLU"), dy.matrix, y.matrix, dx.matrix);
    CHECK(dx.matrix.at(0, 0) == 0 && std::isnan(dx.matrix.at(0, 1)) && dx.matrix.at(0, 2) == 0);
}

TEST("ReLU has derivative 0 at 0") {
    Storage<float> x(1, 3), dy(1, 3, 0), dx(1, 3);
    x.fill([](int64_t, int64_t c) { return float(c - 1); });
    dy.fill([](int64_t, int64_t) { return 1.0f; });
    activation_forward(settings("ReLU"), x.matrix, x.matrix);
    activation_backward(settings("ReLU"), dy.matrix, x.matrix, dx.matrix);
    CHECK(dx.matrix.at(0, 0) == 0 && dx.matrix.at(0, 1) == 0 && dx.matrix.at(0, 2) == 1);
}

}  // namespace

TEST_MAIN
