// elementary.h against libm in the next larger type: the largest error in ulp over sweeps of all exponents, and the
// special values. With CHAINRULE_EXHAUSTIVE=1 the float sweeps take every one of the 2^32 floats (minutes).
#include "../src/elementary.h"

#include <cmath>
#include <cstdlib>
#include <limits>
#include <random>

#include "check.h"

using namespace chainrule;

namespace {

// Float is measured against double libm, double against long double. Where long double is no longer than double (macOS
// on arm64, MSVC) the reference itself may be wrong by an ulp.
template <class T> struct Larger;
template <> struct Larger<float> { using type = double; };
template <> struct Larger<double> { using type = long double; };
template <class T> using Reference = typename Larger<T>::type;

template <class T>
double slack() {
    double slack = std::numeric_limits<Reference<T>>::digits > std::numeric_limits<T>::digits ? 0.01 : 1.0;
    return HAS_FMA ? slack : slack + 1.5;  // without fused multiply-adds the polynomials round twice as often
}

template <class T>
double error_in_ulp(T y, Reference<T> exact) {
    constexpr int digits = std::numeric_limits<T>::digits, lowest = std::numeric_limits<T>::min_exponent;
    if (std::isnan(exact)) return std::isnan(y) ? 0 : 1e30;
    T rounded = T(exact);
    if (std::isinf(rounded) || std::isinf(y) || rounded == 0) {
        if (y == rounded) return std::signbit(y) == std::signbit(rounded) ? 0 : 1e30;
        if (std::isinf(exact) || exact == 0 || std::isnan(y)) return 1e30;
        // one of the two just overflowed: one ulp if they are neighbours
        if (std::isinf(rounded) || std::isinf(y)) return std::nextafter(y, rounded) == rounded ? 1 : 1e30;
    }
    int exponent;
    std::frexp(exact, &exponent);
    Reference<T> ulp = std::ldexp(Reference<T>(1), (exponent > lowest ? exponent : lowest) - digits);
    return double(std::fabs(Reference<T>(y) - exact) / ulp);
}

template <class T>
struct Worst {
    double error = 0;
    T x = 0, y = 0;
};

template <class T, class Function, class Exact>
void measure(Worst<T>& worst, const std::vector<T>& x, Function function, Exact exact) {
    alignas(64) T in[lanes<T>], out[lanes<T>];
    for (size_t i = 0; i < x.size(); i += lanes<T>) {
        for (int j = 0; j < lanes<T>; ++j) in[j] = i + j < x.size() ? x[i + j] : T(0);
        store(out, function(load(in)));
        for (int j = 0; j < lanes<T> && i + j < x.size(); ++j) {
            double error = error_in_ulp<T>(out[j], exact(Reference<T>(in[j])));
            if (error > worst.error) worst = {error, in[j], out[j]};
        }
    }
}

template <class To, class From>
To same_bits(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}

// Points of all exponents and both signs, and a closer look at where the functions bend and where formulas change.
template <class T>
std::vector<T> sample(std::mt19937_64& random, int count) {
    std::vector<T> x;
    for (int i = 0; i < count; ++i) x.push_back(same_bits<T>(Unsigned<T>(random())));
    for (T width : {T(0.01), T(1), T(2), T(7), T(20), T(100), T(760)}) {
        std::uniform_real_distribution<T> uniform(-width, width);
        for (int i = 0; i < count; ++i) x.push_back(uniform(random));
    }
    for (double edge : {0.5, 1.0, 2.0 / 3, 4.0 / 3, std::sqrt(0.5), std::sqrt(2.0), 4.0, 6.0, 9.5, 19.5, 40.0, 87.3365, 88.0,
                        88.7228, 103.9721, 708.3964, 709.7827, 745.1332, std::log(2.0) / 2, std::log(2.0) * 3 / 2})
        for (double sign : {-1.0, 1.0}) {
            T low = T(sign * edge), high = low;
            for (int i = 0; i < 300; ++i) {
                x.push_back(low);
                x.push_back(high);
                low = std::nextafter(low, -std::numeric_limits<T>::infinity());
                high = std::nextafter(high, std::numeric_limits<T>::infinity());
            }
        }
    return x;
}

template <class T, class Function, class Exact>
void sweep(const char* name, double bound, Function function, Exact exact) {
    Worst<T> worst;
    std::mt19937_64 random(1);
    measure(worst, sample<T>(random, sizeof(T) == 4 ? 20000 : 60000), function, exact);
    if constexpr (sizeof(T) == 4) {
        const uint64_t stride = std::getenv("CHAINRULE_EXHAUSTIVE") ? 1 : 997;
        std::vector<T> x;
        for (uint64_t i = 0; i < uint64_t(1) << 32; i += stride) {
            x.push_back(same_bits<float>(uint32_t(i)));
            if (x.size() == 4096) measure(worst, x, function, exact), x.clear();
        }
        measure(worst, x, function, exact);
    }
    std::printf("  %-6s %-7s %.3f ulp, at %a\n", sizeof(T) == 4 ? "float" : "double", name, worst.error, double(worst.x));
    CHECK(worst.error <= bound + slack<T>(), "%s(%.17g) = %.17g is wrong by %.3g ulp", name, double(worst.x), double(worst.y), worst.error);
}

template <class T>
void sweep_all() {
    using R = Reference<T>;
    // The bounds are those of the table in elementary.h.
    constexpr bool f = sizeof(T) == 4;
    sweep<T>("exp", f ? 1.07 : 1.05, [](Vec<T> x) { return exp<T>(x); }, [](R x) { return std::exp(x); });
    sweep<T>("expm1", f ? 1.65 : 1.90, [](Vec<T> x) { return expm1<T>(x); }, [](R x) { return std::expm1(x); });
    sweep<T>("log", f ? 0.94 : 0.94, [](Vec<T> x) { return log<T>(x); }, [](R x) { return std::log(x); });
    sweep<T>("log1p", f ? 1.69 : 1.20, [](Vec<T> x) { return log1p<T>(x); }, [](R x) { return std::log1p(x); });
    sweep<T>("tanh", f ? 2.61 : 2.65, [](Vec<T> x) { return tanh<T>(x); }, [](R x) { return std::tanh(x); });
    sweep<T>("sigmoid", f ? 2.41 : 2.41, [](Vec<T> x) { return sigmoid<T>(x); },
             [](R x) { return x > 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x)); });
    sweep<T>("log1p_exp", f ? 2.00 : 2.00, [](Vec<T> x) { return log1p_exp<T>(x); },
             [](R x) { return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)); });
    sweep<T>("erf", f ? 1.13 : 1.13, [](Vec<T> x) { return erf<T>(x); }, [](R x) { return std::erf(x); });
}

template <class T, class Function>
T of_one(Function function, T x) {
    return function(broadcast<T>(x))[0];
}

template <class T>
void specials() {
    constexpr T infinity = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
    constexpr T denormal = std::numeric_limits<T>::denorm_min(), largest = std::numeric_limits<T>::max();
    const T xs[] = {T(0), T(-0.0), infinity, -infinity, nan, -nan, denormal, -denormal, largest, -largest, T(1), T(-1), T(-2),
                    std::numeric_limits<T>::min(), -std::numeric_limits<T>::min()};
    auto same = [](const char* name, T x, T y, T expected) {
        bool equal = (std::isnan(y) && std::isnan(expected)) ||
                     (std::fabs(y - expected) <= 3 * std::numeric_limits<T>::epsilon() * std::fabs(expected) && std::signbit(y) == std::signbit(expected)) ||
                     (y == expected && std::signbit(y) == std::signbit(expected));
        CHECK(equal, "%s(%g) = %g, not %g", name, double(x), double(y), double(expected));
    };
    for (T x : xs) {
        same("exp", x, of_one<T>([](Vec<T> v) { return exp<T>(v); }, x), std::exp(x));
        same("expm1", x, of_one<T>([](Vec<T> v) { return expm1<T>(v); }, x), std::expm1(x));
        same("log", x, of_one<T>([](Vec<T> v) { return log<T>(v); }, x), std::log(x));
        same("log1p", x, of_one<T>([](Vec<T> v) { return log1p<T>(v); }, x), std::log1p(x));
        same("tanh", x, of_one<T>([](Vec<T> v) { return tanh<T>(v); }, x), std::tanh(x));
        same("sigmoid", x, of_one<T>([](Vec<T> v) { return sigmoid<T>(v); }, x), 1 / (1 + std::exp(-x)));
        same("erf", x, of_one<T>([](Vec<T> v) { return erf<T>(v); }, x), std::erf(x));
    }
}

TEST("every function stays within its bound, float") { sweep_all<float>(); }
TEST("every function stays within its bound, double") { sweep_all<double>(); }
TEST("special values are those of libm, float") { specials<float>(); }
TEST("special values are those of libm, double") { specials<double>(); }

}  // namespace

TEST_MAIN
