// Nanoseconds per row of the losses with their gradients, on a batch of 100 rows of 2 and of 10 columns.
#include "../src/losses.h"

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
    const char* names[] = {"MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "BCEWithLogits", "CrossEntropy", "NLLLoss", "CE smoothed"};
    Matrix<T> y = allocate<T>(rows, columns), values = allocate<T>(rows, columns), dy = allocate<T>(rows, columns);
    std::vector<int64_t> indices;
    for (int64_t r = 0; r < rows; ++r) indices.push_back(r * 7919 % columns);
    std::vector<double> partial(size_t(rows / loss_block + 1));
    for (int kind = 0; kind < 8; ++kind) {
        Loss loss;
        loss.kind = LossKind(kind < 7 ? kind : 5);
        if (kind == 7) loss.label_smoothing = 0.1;
        Target<T> target{values, kind >= 5 ? indices.data() : nullptr, nullptr};
        double s = median_seconds([&] {
            loss_rows(loss, y, target, dy, loss_denominator(loss, target, rows, columns), partial.data());
            touch(dy.data);
        });
        std::printf("%-6s %-14s %4ld x %-4ld %7.2f ns a row\n", sizeof(T) == 4 ? "float" : "double", names[kind], long(rows), long(columns),
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
