// Nanoseconds per element of the elementary functions, on 4,096 numbers that stay in the first-level cache.
#include "../src/elementary.h"

#include <cstdio>

#include "timing.h"

using namespace chainrule;

template <class T, class Function>
void time(const char* name, T low, T high, Function function) {
    constexpr int n = 4096;
    alignas(64) static T x[n], y[n];
    for (int i = 0; i < n; ++i) x[i] = low + (high - low) * T(i) / n;
    double s = median_seconds([&] {
        for (int i = 0; i < n; i += lanes<T>) store(y + i, function(load(x + i)));
        touch(y);
    });
    std::printf("%-7s %-10s %.3f ns\n", sizeof(T) == 4 ? "float" : "double", name, s / n * 1e9);
}

template <class T>
void time_all() {
    time<T>("copy", -1, 1, [](Vec<T> x) ALWAYS_INLINE { return x; });
    time<T>("exp", -5, 5, [](Vec<T> x) ALWAYS_INLINE { return exp<T>(x); });
    time<T>("expm1", -5, 5, [](Vec<T> x) ALWAYS_INLINE { return expm1<T>(x); });
    time<T>("log", T(0.1), 5, [](Vec<T> x) ALWAYS_INLINE { return log<T>(x); });
    time<T>("log_normal", T(0.1), 5, [](Vec<T> x) ALWAYS_INLINE { return elementary::log_normal<T>(x); });
    time<T>("log1p", T(-0.5), 5, [](Vec<T> x) ALWAYS_INLINE { return log1p<T>(x); });
    time<T>("log1p_exp", -5, 5, [](Vec<T> x) ALWAYS_INLINE { return log1p_exp<T>(x); });
    time<T>("tanh", -5, 5, [](Vec<T> x) ALWAYS_INLINE { return tanh<T>(x); });
    time<T>("sigmoid", -5, 5, [](Vec<T> x) ALWAYS_INLINE { return sigmoid<T>(x); });
    time<T>("erf", -5, 5, [](Vec<T> x) ALWAYS_INLINE { return erf<T>(x); });
}

int main() {
    time_all<float>();
    time_all<double>();
}
