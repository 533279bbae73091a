// masks.h against the scalar twin: every element, on odd sizes, whole and in slices.
#include "../src/masks.h"

#include <cmath>

#include "check.h"
#include "naive_random.h"

using namespace chainrule;

namespace {

template <class T>
struct Storage {
    std::vector<T> memory;
    Matrix<T> matrix;
    Storage(int64_t rows, int64_t columns) : memory(size_t(Matrix<T>::size(rows, columns)) + 64, T(0)), matrix(memory.data(), rows, columns) {}
};

template <class T>
void compare(int64_t rows, int64_t columns, double p) {
    Storage<T> x(rows, columns), y(rows, columns), z(rows, columns);
    for (int64_t r = 0; r < rows; ++r)
        for (int64_t c = 0; c < columns; ++c) x.matrix.at(r, c) = T(1) + T(r) / 8 - T(c) / 16;
    const uint64_t seed = 0x0123456789abcdef, pass = (uint64_t(1) << 33) + 5;
    Halfwords drawn(seed, 2);
    const Kept<T> kept(p);
    dropout(drawn, pass, kept, x.matrix, y.matrix, 0);
    for (int64_t r = 0; r < rows; ++r)
        for (int64_t c = 0; c < columns; ++c) {
            T expected = x.matrix.at(r, c) * T(naive::dropout_factor(seed, 2, pass, p, columns, r, c));
            CHECK(y.matrix.at(r, c) == expected, "(%ld, %ld) of %ld x %ld, p %g: %g, not %g", long(r), long(c), long(rows), long(columns), p,
                  double(y.matrix.at(r, c)), double(expected));
        }
    const int64_t cut = rows / 2 / 16 * 16;
    dropout(drawn, pass, kept, x.matrix.slice(0, cut), z.matrix.slice(0, cut), 0);
    dropout(drawn, pass, kept, x.matrix.slice(cut, rows), z.matrix.slice(cut, rows), cut);
    CHECK(y.memory == z.memory, "slices differ from the whole");
    dropout(drawn, pass, kept, x.matrix, x.matrix, 0);
    CHECK(y.memory == x.memory, "in place differs");
    Storage<T> sum(rows, columns);
    for (T& v : sum.memory) v = T(0.5);
    dropout<true, T>(drawn, pass, kept, z.matrix, sum.matrix, 0);
    for (int64_t r = 0; r < rows; ++r)
        for (int64_t c = 0; c < columns; ++c)
            CHECK(sum.matrix.at(r, c) == T(0.5) + z.matrix.at(r, c) * T(naive::dropout_factor(seed, 2, pass, p, columns, r, c)), "added");
}

template <class T>
void compare_sizes() {
    for (int64_t rows : {1, 3, 7, 8, 17, 33, 100})
        for (int64_t columns : {1, 2, 7, 8, 9, 16, 17, 25, 33, 50, 64, 100, 257, 1024, 1500})
            for (double p : {0.0, 0.5 / 65536, 0.1, 0.5, 0.999, 1.0}) compare<T>(rows, columns, p);
}

TEST("every element is kept or dropped as in the scalar twin, float") { compare_sizes<float>(); }
TEST("every element is kept or dropped as in the scalar twin, double") { compare_sizes<double>(); }

// What is drawn ahead must not be taken for another pass or another number of rows, nor be missed when passes go back.
TEST("passes in any order, of any number of rows") {
    Halfwords drawn(7, 1);
    const Kept<float> kept(0.5);
    for (uint64_t pass : {0, 1, 2, 3, 2, 30, 31, 5, 5, 6, 7, 8, 9, 10})
        for (int64_t rows : {1, 1, 2, 1, 3, 40})
            for (int64_t columns : {1, 25, 64}) {
                Storage<float> x(rows, columns);
                for (float& v : x.memory) v = 1;
                dropout(drawn, pass, kept, x.matrix, x.matrix, 0);
                for (int64_t r = 0; r < rows; ++r)
                    for (int64_t c = 0; c < columns; ++c)
                        CHECK(x.matrix.at(r, c) == float(naive::dropout_factor(7, 1, pass, 0.5, columns, r, c)), "pass %ld", long(pass));
            }
}

TEST("a fraction p is dropped") {
    Storage<float> x(1000, 100);
    for (float& v : x.memory) v = 1;
    Halfwords drawn(1, 0);
    dropout(drawn, 0, Kept<float>(0.3), x.matrix, x.matrix, 0);
    double dropped = 0;
    for (int64_t r = 0; r < 1000; ++r)
        for (int64_t c = 0; c < 100; ++c) dropped += x.matrix.at(r, c) == 0;
    // standard deviation √(p (1 - p) / n) = 0.00145; five of them
    CHECK(dropped / 1e5 > 0.3 - 0.00725 && dropped / 1e5 < 0.3 + 0.00725, "%g", dropped / 1e5);
}

TEST("what is dropped is x · 0: NaN and infinity are not lost") {
    const float strange[] = {NAN, INFINITY, -1};
    Storage<float> x(1, 63), y(1, 63);
    for (int64_t c = 0; c < 63; ++c) x.matrix.at(0, c) = strange[c % 3];
    Halfwords drawn(1, 0);
    dropout(drawn, 0, Kept<float>(1.0), x.matrix, y.matrix, 0);
    for (int64_t c = 0; c < 63; ++c) CHECK(c % 3 == 2 ? y.matrix.at(0, c) == 0 : std::isnan(y.matrix.at(0, c)));
}

}  // namespace

TEST_MAIN
