// products/windows.h against the naive loops: on odd sizes, whole and in parts, and what stands beside the rows and columns
// that are theirs. A sum of n products is off by at most about n eps of the sum of their sizes.
#include <cmath>
#include <limits>
#include <numeric>

#include "../src/products/windows.h"
#include "check.h"
#include "matrices.h"
#include "naive_convolution.h"

using namespace chainrule;

namespace {

template <class R>
std::vector<R> sizes(std::vector<R> numbers) {
    for (R& v : numbers) v = std::fabs(v);
    return numbers;
}

struct Sizes {
    int64_t channels, taps, n_out, rows;
    int64_t run = 1, tap_run = 1;  // so many windows, and so many taps, stand side by side
};

// One convolution on one image, of which a row has `run` windows.
template <class T>
struct Case {
    using R = Reference<T>;
    int64_t channels, taps, n_out, rows, run, tap_run, depth;
    naive::Windows windows;
    Storage<T> x, y, dy, dx, weight, by_tap, gradient;
    std::vector<T> bias;
    std::vector<R> x_numbers, w_numbers, b_numbers, dy_numbers;
    std::vector<T*> window;        // of x, of every row
    std::vector<int32_t> column;
    std::mt19937 rng;

    explicit Case(const Sizes& s)
        : channels(s.channels), taps(s.taps), n_out(s.n_out), rows(s.rows), run(s.run), tap_run(s.tap_run), depth(channels * taps), windows(windows_of(s)),
          x(windows.positions, channels), y(rows, n_out), dy(rows, n_out, T(0)), dx(windows.positions, channels, T(0)), weight(depth, n_out, T(0)), by_tap(taps * n_out, channels, T(0)),
          gradient(depth, n_out, T(0)), bias(size_t(round_up(n_out, panel<T>) + panel<T>), T(0)), rng(unsigned(channels * 7 + taps * 5 + n_out * 3 + rows)) {
        fill(x, x_numbers), fill(dy, dy_numbers);
        for (int64_t o = 0; o < n_out; ++o) b_numbers.push_back(bias[size_t(o)] = random());
        w_numbers.resize(size_t(depth * n_out));
        for (int64_t k = 0; k < depth; ++k)
            for (int64_t o = 0; o < n_out; ++o) {
                const T w = random();
                weight.matrix.at(k, o) = by_tap.matrix.at(k / channels * n_out + o, k % channels) = w;
                w_numbers[windows.place(o, k % channels, k / channels)] = w;
            }
        for (int64_t r = 0; r < rows; ++r) window.push_back(x.matrix.data + int64_t(windows.begins[size_t(r)]) * x.matrix.width());
        for (double tap : windows.taps)
            for (int64_t c = 0; c < channels; ++c) column.push_back(int32_t(int64_t(tap) * x.matrix.width() + x.matrix.column_offset(c)));
    }

    T random() { return T(std::uniform_real_distribution<double>(-1, 1)(rng)); }
    void fill(Storage<T>& to, std::vector<R>& numbers) {
        for (int64_t r = 0; r < to.matrix.rows; ++r)
            for (int64_t c = 0; c < to.matrix.columns; ++c) numbers.push_back(to.matrix.at(r, c) = random());
    }
    static naive::Windows windows_of(const Sizes& s) {
        naive::Windows all{{}, {}, 1, 0, s.channels, s.n_out};
        const int64_t width = s.run + s.tap_run + 1;
        for (int64_t r = 0; r < s.rows; ++r) all.begins.push_back(double(r / s.run * width + r % s.run));
        for (int64_t t = 0; t < s.taps; ++t) all.taps.push_back(double(t / s.tap_run * width + t % s.tap_run));
        all.positions = int64_t(all.begins.back() + all.taps.back()) + 1;
        return all;
    }

    // Rows of `found` from `first` on are these, given how large the terms are of which each is a sum.
    void compare(const char* what, const Matrix<T>& found, const std::vector<R>& want, const std::vector<R>& size, int64_t terms) const {
        size_t i = 0;
        for (int64_t r = 0; r < found.rows; ++r)
            for (int64_t c = 0; c < found.columns; ++c, ++i)
                if (const R off = std::fabs(R(found.at(r, c)) - want[i]); !(off <= R(terms + 2) * std::numeric_limits<T>::epsilon() * size[i])) {
                    CHECK(false, "%s: %.9g, not %.9g, at (%d, %d); %d channels, %d taps, %d outputs, %d rows", what, double(found.at(r, c)), double(want[i]),
                          int(r), int(c), int(channels), int(taps), int(n_out), int(rows));
                    return;
                }
        CHECK(true);
    }
    // A gradient in Python's order, as the weight lies.
    std::vector<R> as_weight(const std::vector<R>& numbers) const {
        std::vector<R> turned;
        for (int64_t k = 0; k < depth; ++k)
            for (int64_t o = 0; o < n_out; ++o) turned.push_back(numbers[windows.place(o, k % channels, k / channels)]);
        return turned;
    }

    void forward() {
        const auto want = naive::convolution_forward(windows, x_numbers, w_numbers, b_numbers);
        const auto size = naive::convolution_forward(windows, sizes(x_numbers), sizes(w_numbers), sizes(b_numbers));
        windows::forward<T>(window.data(), column.data(), weight.matrix, y.matrix, bias.data(), false);
        compare("y", y.matrix, want, size, depth + 1);
        CHECK(y.guard_intact());
        Storage<T> part(rows, n_out);
        for (int64_t r = 0; r < rows; ++r)  // row by row: the same bits
            windows::forward<T>(window.data() + r, column.data(), weight.matrix, part.matrix.slice(r, r + 1), bias.data(), false);
        CHECK(same(part, y), "y, row by row; %d -> %d", int(channels), int(n_out));
        Storage<T> runs(rows, n_out);
        windows::forward<T>(window.data(), column.data(), weight.matrix, runs.matrix, bias.data(), false, run, x.matrix.width());
        CHECK(same(runs, y) && runs.guard_intact(), "y, %d windows side by side; %d -> %d", int(run), int(channels), int(n_out));
        windows::forward<T>(window.data(), column.data(), weight.matrix, part.matrix, bias.data(), true);
        auto relu = want;
        for (R& v : relu) v = v > 0 ? v : 0;
        compare("y behind a ReLU", part.matrix, relu, size, depth + 1);
        CHECK(part.guard_intact());
    }

    void back() {
        const auto want = naive::convolution_dx(windows, dy_numbers, w_numbers), size = naive::convolution_dx(windows, sizes(dy_numbers), sizes(w_numbers));
        std::vector<T*> into;
        for (double begin : windows.begins) into.push_back(dx.matrix.data + int64_t(begin) * dx.matrix.width());
        for (int64_t t = 0; t < taps; ++t) {
            // A tap's weights, in memory of their own as the layer has them.
            Storage<T> own(n_out, channels, T(0));
            own.fill([&](int64_t o, int64_t c) { return by_tap.matrix.at(t * n_out + o, c); });
            windows::add_dx<T>(dy.matrix, own.matrix, into.data(), int64_t(windows.taps[size_t(t)]) * dx.matrix.width(), dx.matrix.pitch);
        }
        compare("dx", dx.matrix, want, size, n_out * taps);
        CHECK(dx.guard_intact() && dx.padding_zero(), "dx's padding; %d -> %d", int(channels), int(n_out));
    }

    // Block after block of rows, as the layer has them; and the rows of the weight in parts, as threads do.
    void dw(const LinearGradient<T>& to, int64_t begin, int64_t end, windows::DwTiling tiling = {}) {
        for (int64_t first = 0; first < rows; first += k_block) {
            const int64_t stop = std::min(first + k_block, rows);
            windows::dw<T>(window.data() + first, column.data(), dy.matrix.slice(first, stop), to, depth, to.add || first > 0, to.update && stop == rows, begin, end,
                           tiling);
        }
    }
    void parameters() {
        const auto want = as_weight(naive::convolution_dw(windows, x_numbers, dy_numbers));
        const auto size = as_weight(naive::convolution_dw(windows, sizes(x_numbers), sizes(dy_numbers)));
        LinearGradient<T> to;
        to.weight = gradient.matrix.data;
        dw(to, 0, depth);
        compare("dW", gradient.matrix, want, size, rows);
        CHECK(gradient.guard_intact() && gradient.padding_zero(), "dW's padding; %d -> %d", int(channels), int(n_out));

        Storage<T> parts(depth, n_out, T(0));
        to.weight = parts.matrix.data;
        for (int64_t begin = 0; begin < depth; begin += 5) dw(to, begin, std::min(begin + 5, depth));
        CHECK(same(parts, gradient), "dW, in parts; %d -> %d", int(channels), int(n_out));

        std::vector<windows::DwTiling> tilings;  // those that there are for this kernel
        if (channels == 1 && tap_run % 2 == 1 && tap_run > 1 && tap_run <= windows::most_side_by_side) tilings.push_back({int(tap_run), narrow_panel});
        for (int64_t group = 2; group <= std::min<int64_t>(channels, panel<T>); ++group)
            if (channels % group == 0 && (channels <= panel<T> ? group == channels : panel<T> % group == 0)) tilings.push_back({int(group), 1});
        for (const windows::DwTiling& tiling : tilings) {
            Storage<T> grouped(depth, n_out, T(0));
            to.weight = grouped.matrix.data;
            dw(to, 0, depth, tiling);
            CHECK(same(grouped, gradient) && grouped.guard_intact(), "dW, by %d; %d -> %d", tiling.group, int(channels), int(n_out));
            for (int64_t begin = 0; begin < depth; begin += 5) dw(to, begin, std::min(begin + 5, depth), tiling);  // groups that are cut
            CHECK(same(grouped, gradient), "dW, by %d, in parts; %d -> %d", tiling.group, int(channels), int(n_out));
        }
        to.weight = parts.matrix.data;

        auto twice = want, twice_size = size;
        for (R& v : twice) v *= 2;
        for (R& v : twice_size) v *= 2;
        to.add = true;
        dw(to, 0, depth);
        compare("dW added", parts.matrix, twice, twice_size, 2 * rows);

        Storage<T> updated = weight;
        auto after = as_weight(w_numbers), after_size = sizes(after);
        for (size_t i = 0; i < after.size(); ++i) after[i] -= want[i] / 2, after_size[i] += size[i] / 2;
        to.add = false, to.update = true, to.lr = T(0.5), to.weight_value = updated.matrix.data;
        dw(to, 0, depth);
        compare("W updated", updated.matrix, after, after_size, rows + 1);
        CHECK(updated.guard_intact() && updated.padding_zero(), "W's padding; %d -> %d", int(channels), int(n_out));
    }

    static bool same(const Storage<T>& a, const Storage<T>& b) {
        bool equal = true;
        for (int64_t r = 0; r < a.matrix.rows; ++r)
            for (int64_t c = 0; c < a.matrix.columns; ++c) equal = equal && std::memcmp(&a.matrix.at(r, c), &b.matrix.at(r, c), sizeof(T)) == 0;
        return equal;
    }
};

template <class T>
void one(const Sizes& sizes) {
    Case<T> c(sizes);
    c.forward();
    c.back();
    c.parameters();
}

template <class T>
void all() {
    for (int64_t channels : {1, 3, 8, 9, 16, 17, 33, 40})
        for (int64_t n_out : {1, 2, 7, 8, 9, 16, 17, 31, 33, 70})
            for (int64_t taps : {1, 3})
                for (int64_t rows : {1, 13, 14, 40}) one<T>({channels, taps, n_out, rows});
    for (int64_t channels : {1, 2, 5, 8, 9, 40})  // windows side by side, taps side by side, and both
        for (int64_t n_out : {1, 8, 9, 40})
            for (int64_t run : {1, 2, 5, 14})
                for (int64_t tap_run : {1, 2, 3, 5, 7, 9}) one<T>({channels, tap_run * 2, n_out, 70, run, tap_run});
    for (int64_t channels : {1, 6, 40})  // more rows than a block of k, of which the last may be one alone
        for (int64_t n_out : {1, 9, 40})
            for (int64_t rows : {256, 257, 300, 513}) one<T>({channels, 5, n_out, rows, rows == 300 ? 20 : 1, rows == 300 ? 5 : 1});
    for (int64_t n_out : {1, 8, 17, 70}) {  // windows of more numbers than a block
        one<T>({40, 7, n_out, 27});
        one<T>({37, 7, n_out, 5, 5});
        one<T>({1, 300, n_out, 30});
        one<T>({32, 8, n_out, 12});
        one<T>({33, 16, n_out, 26, 13});
    }
    for (int64_t channels : {1, 9, 33}) one<T>({channels, 3, 300, 20, 4, 3});  // and outputs
}

TEST("products through windows equal the naive loops, float") { all<float>(); }
TEST("products through windows equal the naive loops, double") { all<double>(); }

// A row of a narrow panel is half of AVX-512's vector of floats: behind it lies the next one, which may be another thread's.
TEST("a narrow panel's neighbour row stays as it is") {
    const auto untouched = [](auto type) {
        using T = decltype(type);
        Case<T> c({5, 3, 6, 20});
        Storage<T> y(40, 6);
        y.fill([](int64_t r, int64_t) { return -double(r); });
        windows::forward<T>(c.window.data(), c.column.data(), c.weight.matrix, y.matrix.slice(10, 30), c.bias.data(), false);
        for (int64_t r = 0; r < 40; ++r)
            for (int64_t o = 0; o < 6; ++o) CHECK((y.matrix.at(r, o) == T(-r)) == (r < 10 || r >= 30), "row %d", int(r));
    };
    untouched(float());
    untouched(double());
}

}  // namespace

TEST_MAIN
