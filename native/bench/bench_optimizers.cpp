// Nanoseconds per parameter of one update, on 4,096 parameters that stay in the caches.
#include "../src/optimizers.h"

#include <cstdio>

#include "timing.h"

using namespace chainrule;

template <class T>
void time(const char* name, Optimizer o) {
    constexpr int n = 4096;
    alignas(64) static T value[n], gradient[n], state[3][n];
    T* states[] = {state[0], state[1], state[2]};
    for (int i = 0; i < n; ++i) value[i] = T(i % 17), gradient[i] = (T(i % 19) - T(9.5)) / 8 /* never 0: no denormals */, state[0][i] = state[1][i] = state[2][i] = T(0.5);
    int64_t step = 100;
    double s = median_seconds([&] { optimizer_update(o, optimizer_step(o, 1e-9, ++step), value, gradient, states, n); touch(value); });
    std::printf("%-6s %-22s %.3f ns\n", sizeof(T) == 4 ? "float" : "double", name, s / n * 1e9);
}

template <class T>
void time_all() {
    Optimizer o;
    time<T>("SGD", o);
    o.momentum = 0.9, time<T>("SGD, momentum", o);
    o.nesterov = true, time<T>("SGD, nesterov", o);
    o = {}, o.kind = OptimizerKind::Adam, time<T>("Adam", o);
    o.amsgrad = true, time<T>("Adam, amsgrad", o);
    o = {}, o.kind = OptimizerKind::AdamW, o.weight_decay = 0.01, time<T>("AdamW", o);
    o = {}, o.kind = OptimizerKind::RMSprop, time<T>("RMSprop", o);
    o.centered = true, o.momentum = 0.9, time<T>("RMSprop, centered, mom.", o);
    o = {}, o.kind = OptimizerKind::Adagrad, time<T>("Adagrad", o);
    alignas(64) static T g[4096];
    double sum = 0, s = median_seconds([&] { touch(g); sum += sum_of_squares(g, 4096); });
    std::printf("%-6s %-22s %.3f ns\n", sizeof(T) == 4 ? "float" : "double", "sum of squares", s / 4096 * 1e9 + 0 * sum);
    s = median_seconds([&] { sum += optimizer_step(o, 0.1, 100000).step_size; Optimizer a; a.kind = OptimizerKind::Adam; touch(&a); sum += optimizer_step(a, 0.1, 100000).step_size; });
    std::printf("       %-22s %.1f ns a step\n", "bias corrections", s * 1e9 + 0 * sum);
}

int main() {
    time_all<float>();
    time_all<double>();
}
