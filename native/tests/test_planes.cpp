// products/planes.h against products/windows.h, whose chains it makes too: the same bits; and dW against sixteen lanes by hand.
#include <algorithm>

#include "../src/products/planes.h"
#include "../src/products/windows.h"
#include "check.h"
#include "matrices.h"

using namespace chainrule;

namespace {

struct Grid {
    int64_t height, width, down, across;  // of the image, and of the kernel
    int64_t windows() const { return (height - down + 1) * (width - across + 1); }
};

template <class T>
struct Case {
    int64_t channels, n_out, samples, windows, positions, run, depth;
    std::vector<int32_t> begins, taps, columns;
    planes::Pieces pieces;
    Storage<T> x, y, dy, dx, weight;
    std::vector<T> bias;
    std::mt19937 rng;

    Case(const Grid& g, int64_t channels_, int64_t n_out_, int64_t samples_)
        : channels(channels_), n_out(n_out_), samples(samples_), windows(g.windows()), positions(g.height * g.width), run(g.width - g.across + 1),
          depth(channels_ * g.down * g.across), x(samples_ * positions, channels_), y(samples_ * windows, n_out_), dy(samples_ * windows, n_out_, T(0)),
          dx(samples_ * positions, channels_, T(0)), weight(depth, n_out_, T(0)), bias(size_t(round_up(n_out_, panel<T>) + panel<T>), T(0)), rng(unsigned(channels_ * 9 + n_out_)) {
        for (int64_t i = 0; i + g.down <= g.height; ++i)
            for (int64_t j = 0; j < run; ++j) begins.push_back(int32_t(i * g.width + j));
        for (int64_t i = 0; i < g.down; ++i)
            for (int64_t j = 0; j < g.across; ++j) taps.push_back(int32_t(i * g.width + j));
        for (int32_t tap : taps)
            for (int64_t c = 0; c < channels; ++c) columns.push_back(int32_t(tap * x.matrix.width() + x.matrix.column_offset(c)));
        pieces = planes::Pieces(begins, run, taps, channels, positions);
        for (Storage<T>* m : {&x, &dy, &weight}) m->fill([&](int64_t, int64_t) { return random(); });
        for (int64_t o = 0; o < n_out; ++o) bias[size_t(o)] = random();
    }
    T random() { return T(std::uniform_real_distribution<double>(-1, 1)(rng)); }

    std::vector<T*> windows_of(const Matrix<T>& image, int64_t s) const {
        std::vector<T*> found;
        for (int32_t begin : begins) found.push_back(image.row(0, s * positions + begin));
        return found;
    }
    static bool same(const Storage<T>& a, const Storage<T>& b) {
        bool equal = a.guard_intact() && b.guard_intact();
        for (int64_t r = 0; r < a.matrix.rows; ++r)
            for (int64_t c = 0; c < a.matrix.columns; ++c) equal = equal && a.matrix.at(r, c) == b.matrix.at(r, c);
        return equal;
    }
    void check(bool holds, const char* what) const {
        CHECK(holds, "%s: %d windows, %d side by side, %d positions, %d taps, %d -> %d, %d samples", what, int(windows), int(run), int(positions), int(taps.size()), int(channels), int(n_out), int(samples));
    }

    void gather(bool relu) {
        Storage<T> want(samples * windows, n_out);
        for (int64_t s = 0; s < samples; ++s)
            windows::forward<T>(windows_of(x.matrix, s).data(), columns.data(), weight.matrix, want.matrix.slice(s * windows, (s + 1) * windows), bias.data(), relu);
        planes::gather<T>(pieces, x.matrix, weight.matrix, y.matrix, bias.data(), relu);
        check(same(y, want), "y");
    }
    void scatter(bool add) {
        Storage<T> want(samples * positions, channels, T(0));
        for (Storage<T>* m : {&want, &dx}) m->fill([&](int64_t r, int64_t c) { return add ? T(r % 7) - T(c) : T(0); });
        std::vector<T> turned(taps.size() * size_t(n_out) * planes::piece, T(0));
        for (size_t t = 0; t < taps.size(); ++t) {
            Storage<T> own(n_out, channels, T(0));
            own.fill([&](int64_t o, int64_t c) { return turned[(t * size_t(n_out) + size_t(o)) * planes::piece + size_t(c)] = weight.matrix.at(int64_t(t) * channels + c, o); });
            for (int64_t s = 0; s < samples; ++s)
                windows::add_dx<T>(dy.matrix.slice(s * windows, (s + 1) * windows), own.matrix, windows_of(want.matrix, s).data(), int64_t(taps[t]) * want.matrix.width(), want.matrix.pitch);
        }
        planes::scatter<T>(pieces, dy.matrix, turned.data(), n_out * planes::piece, dx.matrix, add);
        check(same(dx, want) && dx.padding_zero(), add ? "dx, added" : "dx");
    }

    // Of each group of samples sixteen lanes, which take pieces of eight in turn, and halve.
    T by_hand(int64_t k, int64_t o, T start) const {
        const int64_t tap = taps[size_t(k / channels)], c = k % channels;
        T all = start;
        for (int64_t first = 0; first < samples; first += pieces.samples) {
            T lane[16]{};
            int64_t j = 0;
            for (int64_t s = first; s < std::min(first + pieces.samples, samples); ++s) {
                std::vector<int64_t> order;  // windows as pieces have them; -1: none
                if (run % planes::piece == 0) for (int64_t i = 0; i < windows; ++i) order.push_back(i);
                else
                    for (int32_t p = begins.front(); p <= begins.back(); ++p) {
                        const auto found = std::find(begins.begin(), begins.end(), p);
                        order.push_back(found == begins.end() ? -1 : found - begins.begin());
                    }
                order.resize(size_t(round_up(int64_t(order.size()), 16)), -1);
                for (int64_t i : order) {
                    if (i >= 0) lane[j] = chainrule::fma(x.matrix.at(s * positions + begins[size_t(i)] + tap, c), dy.matrix.at(s * windows + i, o), lane[j]);
                    j = (j + 1) % 16;
                }
            }
            for (int half = 8; half > 0; half /= 2)
                for (int i = 0; i < half; ++i) lane[i] += lane[i + half];
            all += lane[0];
        }
        return all;
    }
    void dw() {
        Storage<T> gradient(depth, n_out, T(0)), value = weight;
        LinearGradient<T> to;
        to.weight = gradient.matrix.data, to.weight_value = value.matrix.data, to.lr = T(0.5);
        const auto equal = [&](const Storage<T>& found, auto want) {
            bool all = found.guard_intact() && found.padding_zero();
            for (int64_t k = 0; k < depth; ++k)
                for (int64_t o = 0; o < n_out; ++o) all = all && found.matrix.at(k, o) == want(k, o);
            return all;
        };
        planes::dw<T>(pieces, x.matrix, dy.matrix, to, 0, depth);
        check(equal(gradient, [&](int64_t k, int64_t o) { return by_hand(k, o, 0); }), "dW");
        Storage<T> parts(depth, n_out, T(0));
        to.weight = parts.matrix.data;
        for (int64_t begin = 0; begin < depth; begin += 5) planes::dw<T>(pieces, x.matrix, dy.matrix, to, begin, std::min(begin + 5, depth));
        check(same(parts, gradient), "dW, in parts");
        to.add = true;
        planes::dw<T>(pieces, x.matrix, dy.matrix, to, 0, depth);
        check(equal(parts, [&](int64_t k, int64_t o) { return by_hand(k, o, gradient.matrix.at(k, o)); }), "dW, added");
        to.add = false, to.update = true, to.weight = gradient.matrix.data;
        const Storage<T> before = gradient;
        planes::dw<T>(pieces, x.matrix, dy.matrix, to, 0, depth);
        check(equal(value, [&](int64_t k, int64_t o) { return chainrule::fma(T(-0.5), before.matrix.at(k, o), weight.matrix.at(k, o)); }), "W, updated");
    }
};

constexpr Grid grids[] = {{28, 28, 5, 5}, {12, 12, 5, 5}, {10, 18, 3, 3}, {7, 9, 3, 2}, {1, 40, 1, 3}, {1, 100, 1, 1}, {4, 25, 4, 2}};

template <class T>
void all() {
    int taken = 0;
    for (const Grid& grid : grids)
        for (int64_t samples : {1, 2, 5, 17}) {
            for (int64_t channels : {1, 2, 3, 7, 8, 9, 17, 33})
                for (int64_t n_out : {1, 2, 3, 5, 6, 7, 8}) {
                    Case<T> c(grid, channels, n_out, samples);
                    if (c.pieces.template pay<T>(0)) c.gather(samples % 2 == 0), ++taken;
                    if (samples < 17 && c.pieces.template pay<T>(planes::piece)) c.dw(), ++taken;
                }
            for (int64_t channels : {1, 2, 3, 5, 6, 7, 8})
                for (int64_t n_out : {1, 8, 9, 16, 33}) {
                    Case<T> c(grid, channels, n_out, samples);
                    if (c.pieces.template pay<T>(n_out)) c.scatter(false), c.scatter(true), ++taken;
                }
        }
    CHECK(taken > 500, "only %d were of a size for planes", taken);
}

TEST("products of planes are those of windows, float") { all<float>(); }
TEST("products of planes are those of windows, double") { all<double>(); }

TEST("pieces pay where windows stand side by side, on images that fit") {
    const auto pay = [](const Grid& g, int64_t step) {
        std::vector<int32_t> begins, taps;
        for (int64_t i = 0; i + g.down <= g.height; i += step)
            for (int64_t j = 0; j + g.across <= g.width; j += step) begins.push_back(int32_t(i * g.width + j));
        for (int64_t t = 0; t < g.across; ++t) taps.push_back(int32_t(t));
        return planes::Pieces(begins, step == 1 ? g.width - g.across + 1 : 1, taps, 3, g.height * g.width).pay<float>(8);
    };
    CHECK(pay({28, 28, 5, 5}, 1) && pay({8, 8, 3, 3}, 1) && pay({1, 50, 1, 5}, 1));
    CHECK(!pay({28, 28, 5, 5}, 2) && !pay({5, 5, 5, 5}, 1) && !pay({6, 5, 3, 3}, 1) && !pay({300, 300, 3, 3}, 1));
}

}  // namespace

TEST_MAIN
