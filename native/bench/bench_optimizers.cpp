// Nanoseconds per parameter of one update, on 4,096 parameters that stay in the caches.
#include <cstdio>

#include "../src/optimizers/optimizer.h"
#include "../tests/optimizer_settings.h"
#include "timing.h"

using namespace chainrule;

constexpr int n = 4096;

template <class T>
void print(const char* name, double seconds) { std::printf("%-6s %-26s %.3f ns\n", sizeof(T) == 4 ? "float" : "double", name, seconds / n * 1e9); }

template <class T>
void time(const char* name, const Settings& settings) {
    alignas(64) static T value[n], gradient[n], state[3][n];
    T* states[] = {state[0], state[1], state[2]};
    for (int i = 0; i < n; ++i) value[i] = T(i % 17), gradient[i] = (T(i % 19) - T(9.5)) / 8 /* never 0: no denormals */, state[0][i] = state[1][i] = state[2][i] = T(0.5);
    const auto optimizer = make_optimizer<T>(settings);
    int64_t step = 100;
    print<T>(name, median_seconds([&] { optimizer->update({1e-9, ++step}, value, gradient, states, n); touch(value); }));
}

template <class T>
void time_all() {
    time<T>("SGD", optimizer_settings("SGD"));
    time<T>("SGD, clipped", optimizer_settings("SGD", {{"clip_value", 0.5}}));
    time<T>("SGD, momentum", optimizer_settings("SGD", {{"momentum", 0.9}}));
    time<T>("SGD, nesterov", optimizer_settings("SGD", {{"momentum", 0.9}, {"nesterov", 1}}));
    time<T>("Adam", optimizer_settings("Adam"));
    time<T>("Adam, amsgrad", optimizer_settings("Adam", {{"amsgrad", 1}}));
    time<T>("AdamW", optimizer_settings("AdamW", {{"weight_decay", 0.01}}));
    time<T>("RMSprop", optimizer_settings("RMSprop"));
    time<T>("RMSprop, centered, mom.", optimizer_settings("RMSprop", {{"centered", 1}, {"momentum", 0.9}}));
    time<T>("Adagrad", optimizer_settings("Adagrad"));
    time<T>("NAdam", optimizer_settings("NAdam"));
    time<T>("RAdam", optimizer_settings("RAdam"));
    time<T>("Adamax", optimizer_settings("Adamax"));
    time<T>("Adadelta", optimizer_settings("Adadelta"));
    time<T>("Rprop", optimizer_settings("Rprop"));
    time<T>("ASGD", optimizer_settings("ASGD"));
    alignas(64) static T g[n];
    double sum = 0;
    const double seconds = median_seconds([&] { touch(g); sum += sum_of_squares(Matrix<T>(g, 64, n / 64), 0); });
    print<T>("sum of squares", seconds + 0 * sum);
}

int main() {
    time_all<float>();
    time_all<double>();
}
