// The products of a Linear against the naive loops, in double: on numbers in [-1, 1] a sum of n products is off by at most
// about n² eps (n terms, partial sums at most n), whatever the order of additions.
#include <cmath>
#include <cstdlib>
#include <limits>
#include <random>

#include "../src/products/row.h"
#include "check.h"
#include "naive_linear.h"

using namespace chainrule;

template <class T>
struct Buffer {
    T* data;
    size_t n;
    explicit Buffer(int64_t size) : n(size_t(size) + 128 / sizeof(T)) {
        data = static_cast<T*>(std::aligned_alloc(128, (n * sizeof(T) + 127) / 128 * 128));
        for (size_t i = 0; i < n; ++i) data[i] = 0;
    }
    ~Buffer() { std::free(data); }
};

template <class T>
struct Owned {
    Buffer<T> buffer;
    Matrix<T> m;
    Owned(int64_t rows, int64_t columns) : buffer(Matrix<T>::size(rows, columns)), m(buffer.data, rows, columns) {}
};

template <class T>
std::vector<T> random_numbers(size_t n, std::mt19937& rng) {
    std::uniform_real_distribution<double> d(-1, 1);
    std::vector<T> v(n);
    for (auto& a : v) a = T(d(rng));
    return v;
}

template <class T>
void compare(const char* what, const Matrix<T>& m, const std::vector<double>& expected, int64_t terms, int64_t batch,
             int64_t n_in, int64_t n_out, bool flipped = false) {
    const double bound = 2.0 * double(terms + 2) * double(terms + 2) * std::numeric_limits<T>::epsilon();
    for (int64_t r = 0; r < m.rows; ++r)
        for (int64_t c = 0; c < m.columns; ++c) {
            double want = expected[size_t(flipped ? c * m.rows + r : r * m.columns + c)], got = m.at(r, c);
            if (!(std::abs(want - got) <= bound)) {
                CHECK(std::abs(want - got) <= bound, "%s batch %d, %d -> %d at (%d, %d): want %.9g got %.9g", what,
                      int(batch), int(n_in), int(n_out), int(r), int(c), want, got);
                return;
            }
        }
    CHECK(true);
}

template <class T>
void padding_is_zero(const char* what, const Matrix<T>& m) {
    for (int64_t r = 0; r < m.rows; ++r)
        for (int64_t c = m.columns; c < m.panels() * m.width(); ++c)
            CHECK(m.row(m.panels() - 1, r)[c % m.width()] == 0, "%s pad (%d, %d) of %d columns", what, int(r), int(c), int(m.columns));
}

template <class T>
std::vector<double> wide(const std::vector<T>& v) { return {v.begin(), v.end()}; }

template <class T>
void one_shape(int64_t batch, int64_t n_in, int64_t n_out, std::mt19937& rng) {
    auto x = random_numbers<T>(size_t(batch * n_in), rng), w = random_numbers<T>(size_t(n_in * n_out), rng),
         b = random_numbers<T>(size_t(n_out), rng), dy = random_numbers<T>(size_t(batch * n_out), rng);
    auto xd = wide(x), wd = wide(w), bd = wide(b), dyd = wide(dy);
    Owned<T> X(batch, n_in), Y(batch, n_out), DY(batch, n_out), DX(batch, n_in), X2(batch, n_in);
    pack(X.m, x.data(), n_in);
    pack(X2.m, x.data(), n_in);
    pack(DY.m, dy.data(), n_out);
    const bool transposed = weight_is_transposed(n_in, n_out);
    const int64_t wr = transposed ? n_in : n_out, wc = transposed ? n_out : n_in;
    Owned<T> W(wr, wc), G(wr, wc), W2(wr, wc), WT(n_out, n_in);
    for (int64_t o = 0; o < n_out; ++o)
        for (int64_t i = 0; i < n_in; ++i)
            (transposed ? W.m.at(i, o) : W.m.at(o, i)) = w[size_t(o * n_in + i)];
    Buffer<T> B(Matrix<T>::size(1, n_out)), GB(Matrix<T>::size(1, n_out)), zeros(Matrix<T>::size(1, n_in + 64)), B2(Matrix<T>::size(1, n_out));
    for (int64_t o = 0; o < n_out; ++o) B.data[o] = B2.data[o] = b[size_t(o)];
    for (int64_t i = 0; i < Matrix<T>::size(wr, wc); ++i) W2.buffer.data[i] = W.buffer.data[i];

    auto y = naive::linear_forward(xd, wd, bd, batch, n_in, n_out);
    linear_forward<T>(X.m, W.m, B.data, Y.m, Finish::plain);
    compare("y", Y.m, y, n_in + 1, batch, n_in, n_out);
    linear_forward<T>(X.m, W.m, B.data, Y.m, Finish::relu);
    auto relu = y;
    for (auto& a : relu) a = a > 0 ? a : 0;
    compare("relu", Y.m, relu, n_in + 1, batch, n_in, n_out);

    auto dx = naive::linear_dx(dyd, wd, batch, n_in, n_out);
    if (dx_needs_transpose(n_in, n_out)) transpose<T>(W.m, WT.m, 0, n_out);
    linear_dx<T>(DY.m, W.m, WT.m, zeros.data, DX.m, {});
    compare("dx", DX.m, dx, n_out, batch, n_in, n_out);
    padding_is_zero("dx", DX.m);
    auto masked = dx;
    const T scale = T(1.25);  // of a Dropout over the ReLU
    for (size_t i = 0; i < masked.size(); ++i) masked[i] = x[i] > 0 ? masked[i] : 0;
    auto scaled = masked;
    for (auto& a : scaled) a *= double(scale);
    if (n_out <= k_block) {
        linear_dx<T>(DY.m, W.m, WT.m, zeros.data, X2.m, {X2.m.data});
        compare("dx over x", X2.m, masked, n_out, batch, n_in, n_out);
        pack(X2.m, x.data(), n_in);
    }
    linear_dx<T>(DY.m, W.m, WT.m, zeros.data, DX.m, {X.m.data});
    compare("masked dx", DX.m, masked, n_out, batch, n_in, n_out);
    linear_dx<T>(DY.m, W.m, WT.m, zeros.data, DX.m, {X.m.data, scale});
    compare("masked and scaled dx", DX.m, scaled, n_out, batch, n_in, n_out);

    if (n_out > 8 ? n_in > 8 : n_in <= 8) {  // products of tiles go on from what dx holds, if they are not told where to start
        pack(DX.m, x.data(), n_in);
        linear_dx<T>(DY.m, W.m, WT.m, nullptr, DX.m, {});
        auto sum = dx;
        for (size_t i = 0; i < sum.size(); ++i) sum[i] += xd[i];
        compare("dx added", DX.m, sum, n_out + 1, batch, n_in, n_out);
        padding_is_zero("dx added", DX.m);
    }

    auto dw = naive::linear_dw(xd, dyd, batch, n_in, n_out), db = naive::linear_db(dyd, batch, n_out);
    LinearGradient<T> to;
    to.weight = G.buffer.data;
    to.bias = GB.data;
    linear_gradient<T>(X.m, DY.m, to, 0, n_in);
    compare("dW", G.m, dw, batch, batch, n_in, n_out, transposed);
    compare("db", Matrix<T>(GB.data, 1, n_out), db, batch, batch, n_in, n_out);
    padding_is_zero("dW", G.m);
    padding_is_zero("db", Matrix<T>(GB.data, 1, n_out));
    to.add = true;
    linear_gradient<T>(X.m, DY.m, to, 0, n_in);
    auto twice = dw;
    for (auto& a : twice) a *= 2;
    compare("dW added", G.m, twice, 2 * batch, batch, n_in, n_out, transposed);
    to.add = false;
    to.update = true;
    to.lr = T(0.5);
    to.weight_value = W2.buffer.data;
    to.bias_value = B2.data;
    auto updated = wd;
    for (size_t i = 0; i < updated.size(); ++i) updated[i] -= 0.5 * dw[i];
    auto updated_bias = bd;
    for (size_t i = 0; i < bd.size(); ++i) updated_bias[i] -= 0.5 * db[i];
    linear_gradient<T>(X.m, DY.m, to, 0, n_in);
    compare("W updated", W2.m, updated, batch + 1, batch, n_in, n_out, transposed);
    compare("b updated", Matrix<T>(B2.data, 1, n_out), updated_bias, batch + 1, batch, n_in, n_out);
    if (!transposed) {
        for (int64_t i = 0; i < Matrix<T>::size(wr, wc); ++i) W2.buffer.data[i] = W.buffer.data[i];
        if (to.bias) linear::narrow_bias_gradient<T>(DY.m, to);
        linear_backward_narrow<T>(X2.m, DY.m, W2.m, X2.m, {X2.m.data, scale}, to);
        compare("W updated in one pass", W2.m, updated, batch + 1, batch, n_in, n_out, transposed);
        compare("dx in one pass", X2.m, scaled, n_out, batch, n_in, n_out);
    }
    if (n_in > 8 && n_out > 8) {
        pack(X2.m, x.data(), n_in);
        for (int64_t i = 0; i < Matrix<T>::size(wr, wc); ++i) W2.buffer.data[i] = W.buffer.data[i];
        Owned<T> packed(k_block + narrow_panel, panel<T>);
        linear_backward_blocks<T>(X.m, DY.m, W2.m, packed.m.data, zeros.data, DX.m, {X.m.data, scale}, to, 0, n_in);
        compare("W updated in blocks", W2.m, updated, batch + 1, batch, n_in, n_out, transposed);
        compare("dx in blocks", DX.m, scaled, n_out, batch, n_in, n_out);
    }
    if (batch == 1) {  // kernels of its own
        linear_row_forward<T>(X.m, W.m, B.data, Y.m, Finish::plain);
        compare("y of a row", Y.m, y, n_in + 1, batch, n_in, n_out);
        linear_row_forward<T>(X.m, W.m, B.data, Y.m, Finish::relu);
        compare("relu of a row", Y.m, relu, n_in + 1, batch, n_in, n_out);
        for (bool with_dx : {true, false}) {
            for (int64_t i = 0; i < Matrix<T>::size(wr, wc); ++i) W2.buffer.data[i] = W.buffer.data[i];
            linear_row_backward<T>(X.m, DY.m, W2.m, with_dx ? DX.m : Matrix<T>{}, {X.m.data, scale}, to);
            compare("W updated by a row", W2.m, updated, batch + 1, batch, n_in, n_out, transposed);
            if (with_dx) compare("dx of a row", DX.m, scaled, n_out, batch, n_in, n_out);
        }
        to.update = false;
        linear_row_backward<T>(X.m, DY.m, W.m, DX.m, {}, to);
        compare("dW of a row", G.m, dw, batch, batch, n_in, n_out, transposed);
        compare("db of a row", Matrix<T>(GB.data, 1, n_out), db, batch, batch, n_in, n_out);
        compare("dx of a row, not masked", DX.m, dx, n_out, batch, n_in, n_out);
        Owned<T> more(3, n_in);  // whose panels lie further apart
        Matrix<T> apart = more.m;
        apart.rows = 1;
        linear_row_backward<T>(X.m, DY.m, W.m, apart, {}, to);
        compare("dx of a row, in memory for more rows", apart, dx, n_out, batch, n_in, n_out);
        to.add = true;
        linear_row_backward<T>(X.m, DY.m, W.m, DX.m, {}, to);
        compare("dW of a row, added", G.m, twice, 2 * batch, batch, n_in, n_out, transposed);
    }
}

template <class T>
void all_shapes() {
    std::mt19937 rng(1);
    const int sizes[] = {1, 2, 3, 7, 8, 9, 10, 16, 17, 25, 31, 33, 40, 50, 64, 100};
    for (int n_in : sizes)
        for (int n_out : sizes)
            for (int batch : {1, 2, 5, 13, 14, 27, 100}) one_shape<T>(batch, n_in, n_out, rng);
    one_shape<T>(300, 257, 301, rng);
    one_shape<T>(600, 3, 7, rng);
    one_shape<T>(257, 300, 5, rng);
    one_shape<T>(5, 1000, 1, rng);
    one_shape<T>(3, 1, 1000, rng);
    one_shape<T>(2, 513, 1025, rng);
}

TEST("products in float equal the naive loops") { all_shapes<float>(); }
TEST("products in double equal the naive loops") { all_shapes<double>(); }

TEST_MAIN
