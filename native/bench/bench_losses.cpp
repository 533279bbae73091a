// Nanoseconds per row of the losses with their gradients, on a batch of 100 rows of 2 and of 10 columns.
#include "../src/losses/loss.h"

#include <cstdio>
#include <cstdlib>

#include "timing.h"

using namespace chainrule;

template <class T>
Matrix<T> allocate(int64_t rows, int64_t columns) {
    const int64_t size = Matrix<T>::size(rows, columns);
    T* p = static_cast<T*>(std::aligned_alloc(64, size_t(round_up(size * int64_t(sizeof(T)), 64) + 64)));
    for (int64_t i = 0; i < size; ++i) p[i] = T(int(i * 7919 % 101) - 50) / 20;
    return Matrix<T>(p, rows, columns);
}

template <class T>
void time_all(int64_t rows, int64_t columns) {
    struct Timed {
        const char* name;
        const char* kind;
        bool classes;
        double label_smoothing;
    };
    const Timed all[] = {{"MSELoss", "MSELoss", false, 0}, {"L1Loss", "L1Loss", false, 0},
                         {"SmoothL1Loss", "SmoothL1Loss", false, 0}, {"HuberLoss", "HuberLoss", false, 0},
                         {"QuantileLoss", "QuantileLoss", false, 0}, {"PoissonNLLLoss", "PoissonNLLLoss", false, 0},
                         {"BCEWithLogits", "BCEWithLogitsLoss", false, 0}, {"CrossEntropy", "CrossEntropyLoss", true, 0},
                         {"NLLLoss", "NLLLoss", true, 0}, {"CE smoothed", "CrossEntropyLoss", true, 0.1}};
    Matrix<T> y = allocate<T>(rows, columns), values = allocate<T>(rows, columns), dy = allocate<T>(rows, columns);
    std::vector<int64_t> indices;
    for (int64_t r = 0; r < rows; ++r) indices.push_back(r * 7919 % columns);
    std::vector<double> partial(size_t(rows / loss_block + 1));
    for (const Timed& timed : all) {
        const Settings settings{timed.kind,
                                {{"mean", 1}, {"beta", 1}, {"delta", 1}, {"quantile", 0.5}, {"log_input", 1}, {"ignore_index", -100},
                                 {"label_smoothing", timed.label_smoothing}},
                                {},
                                {{"weight", {}}, {"pos_weight", {}}}};
        const auto loss = make_loss<T>(settings, columns);
        Target<T> target{values, timed.classes ? indices.data() : nullptr, nullptr};
        double s = median_seconds([&] {
            loss->rows(y, target, dy, loss->denominator(target, rows, columns), partial.data());
            touch(dy.data);
        });
        std::printf("%-6s %-14s %4ld x %-4ld %7.2f ns a row\n", sizeof(T) == 4 ? "float" : "double", timed.name, long(rows), long(columns),
                    s / double(rows) * 1e9);
    }
}

int main() {
    time_all<float>(100, 10);
    time_all<float>(100, 2);
    time_all<float>(1, 2);
    time_all<double>(100, 10);
    time_all<double>(100, 2);
    time_all<float>(100, 1000);
}
