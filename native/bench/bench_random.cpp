// Microseconds for the order of samples, and for a dropout mask over a batch.
#include "../src/masks.h"

#include <cstdio>
#include <cstdlib>

#include "timing.h"

using namespace chainrule;

template <class T>
void time_dropout(int64_t rows, int64_t columns) {
    T* memory = static_cast<T*>(std::aligned_alloc(64, size_t(Matrix<T>::size(rows, columns)) * sizeof(T) + 64));
    Matrix<T> x(memory, rows, columns);
    for (int64_t i = 0; i < Matrix<T>::size(rows, columns); ++i) memory[i] = 1;
    uint64_t pass = 0;
    Halfwords drawn(1, 0);
    const Kept<T> kept(0.0001);
    double s = median_seconds([&] { dropout(drawn, pass++, kept, x, x, 0); touch(memory); });
    std::printf("dropout %-6s %4ld x %-4ld %8.3f us  %.3f ns an element\n", sizeof(T) == 4 ? "float" : "double", long(rows), long(columns), s * 1e6,
                s * 1e9 / double(rows * columns));
    std::free(memory);
}

int main() {
    for (int64_t n : {100, 1000, 10000, 100000, 1000000}) {
        std::vector<int64_t> order(static_cast<size_t>(n));
        std::vector<uint64_t> scratch(size_t(sample_order_scratch(n)) / 8 + 1);
        uint64_t epoch = 0;
        double s = median_seconds([&] { sample_order(1, epoch++, n, order.data(), scratch.data()); touch(order.data()); });
        std::printf("order of %7ld samples %10.2f us  %.2f ns a sample\n", long(n), s * 1e6, s * 1e9 / double(n));
    }
    for (auto [rows, columns] : {std::pair<int64_t, int64_t>{100, 25}, {100, 64}, {100, 256}, {10, 25}, {1, 25}, {100, 8}}) {
        time_dropout<float>(rows, columns);
        time_dropout<double>(rows, columns);
    }
}
