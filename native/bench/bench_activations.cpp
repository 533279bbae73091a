// Nanoseconds per element of the activations, forward and backward, on a batch of 64 rows and 64 columns; Softmax and
// LogSoftmax in nanoseconds per row of 10 columns too.
#include "../tests/activation_kernels.h"

#include <cstdio>
#include <cstdlib>

#include "../tests/plans.h"
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
void time_all(int64_t rows, int64_t columns, bool per_row) {
    Matrix<T> x = allocate<T>(rows, columns), y = allocate<T>(rows, columns), dy = allocate<T>(rows, columns), dx = allocate<T>(rows, columns);
    const double units = double(per_row ? rows : rows * columns);
    std::vector<std::string> all{"Softmax", "LogSoftmax"};
    all.insert(all.end(), elementwise_kinds.begin(), elementwise_kinds.end());
    for (size_t i = 0; i < (per_row ? 2 : all.size()); ++i) {
        const std::string& kind = all[i];
        const Settings a = settings(kind);
        const Matrix<T>& saved = saves_output<T>(a) ? y : x;
        double forward = median_seconds([&] { activation_forward(a, x, y); touch(y.data); });
        double backward = median_seconds([&] { activation_backward(a, dy, saved, dx); touch(dx.data); });
        std::printf("%-6s %-10s %4ld x %-3ld forward %6.3f ns, backward %6.3f ns per %s\n", sizeof(T) == 4 ? "float" : "double", kind.c_str(), long(rows),
                    long(columns), forward / units * 1e9, backward / units * 1e9, per_row ? "row" : "element");
    }
}

int main() {
    time_all<float>(64, 64, false);
    time_all<double>(64, 64, false);
    time_all<float>(100, 10, true);
    time_all<double>(100, 10, true);
    time_all<float>(100, 3, true);
}
