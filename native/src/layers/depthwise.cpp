// Depthwise convolution: each channel has filters of its own. It serves convolutions with groups too, whose rule lays out the
// channels that outputs see as values next to each other: column o of x[j] is the j-th channel of o's group.
//
//     y[i][o] = b[o] + Σ_t Σ_j x[j][window i, tap t][o] W[t, j][o]
//
// Everything is element by element along the columns, so they lie in the lanes, and sums run over taps, then over j.
#include "activations.h"
#include "sliding.h"
#include "weighted.h"

namespace chainrule {

template <class T>
class Depthwise final : public Weighted<T> {
    using Layer<T>::x, Layer<T>::y, Layer<T>::place_, Layer<T>::wants_dx, Layer<T>::adds_dx;

public:
    explicit Depthwise(const Making& making)
        : Weighted<T>(making), positions_(making.x[0].positions), sliding_(making, positions_, making.y.positions) {
        const ParameterShape& weight = making.shapes[0];
        for (const ValueShape& x : making.x)
            if (x.columns != making.y.columns || x.positions != positions_) making.refuse("its inputs must have y's columns, and the same positions");
        if (weight.n_out != making.y.columns || weight.n_in != taps() * int64_t(making.x.size()) || weight.taps != taps()) making.refuse("the weight does not fit");
        if (this->has_bias_ && (making.shapes[1].n_in != 0 || making.shapes[1].n_out != making.y.columns)) making.refuse("the bias does not fit the weight");
        operations_ = 6.0 * double(making.y.size()) * double(weight.n_in);
        // Which windows see a position, tap by tap.
        back_.begins.assign(size_t(positions_) + 1, 0);
        each_sight([&](int64_t p, int64_t, int64_t) { ++back_.begins[size_t(p) + 1]; });
        for (size_t p = 0; p < size_t(positions_); ++p) back_.begins[p + 1] += back_.begins[p];
        std::vector<int32_t> next(back_.begins.begin(), back_.begins.end() - 1);
        back_.windows.resize(size_t(back_.begins.back())), back_.taps.resize(size_t(back_.begins.back()));
        each_sight([&](int64_t p, int64_t i, int64_t t) {
            const size_t at = size_t(next[size_t(p)]++);
            back_.windows[at] = int32_t(i), back_.taps[at] = int32_t(t);
        });
    }

    Manners manners() const override {
        Manners m;
        m.reads_x = m.carries_relu = true;
        return m;
    }
    double operations() const override { return operations_; }

    void infer(const Matrix<T>* x, const Matrix<T>& y) const override { apply(x, y); }
    void forward(const Pass&, int64_t begin, int64_t end) override {
        Matrix<T> from[most_inputs];
        for (size_t j = 0; j < this->inputs(); ++j) from[j] = x(j).rows(begin, end);
        apply(from, y().rows(begin, end));
    }

    void backward(const Pass& pass, int64_t samples) override {
        backward_inputs(pass, 0, samples);
        backward_parameters(pass, samples, {}, false);
    }
    void backward_inputs(const Pass& pass, int64_t begin, int64_t end) override {
        const Matrix<T> dy = y().gradient_rows(begin, end);
        if (place_.carries_relu && !y().reader_masks) mask_by_relu<T>(dy, y().rows(begin, end), y().scale_in(pass.training));
        for (size_t j = 0; j < this->inputs(); ++j)
            if (wants_dx(pass, j)) dx_of(dy, x(j).gradient_rows(begin, end), int64_t(j), adds_dx(j));
    }
    void backward_parameters(const Pass& pass, int64_t samples, Share share, bool) override {
        const LinearGradient<T> to = this->gradient(pass);
        const Matrix<T> dy = y().gradient_rows(0, samples);
        if (share.index == 0) this->bias_of(to, dy, y().positions);
        if (!to.weight) return;
        const int64_t begin = share.begin(this->weight_.rows, 1), end = share.end(this->weight_.rows, 1);
        const int64_t row = slides() ? sliding_.tap_run : 0, rows = row > 0 ? most_rows / row : 0;  // of taps
        for (int64_t k = begin, n; k < end; k += n) {
            n = end - k < most_rows ? end - k : most_rows;
            if (row > 0 && k % row == 0 && end - k >= rows * row) slide_dw(to, dy, samples, k, n = rows * row);
            else dw_of(to, dy, samples, k, n);
        }
    }
    int backward_phases() const override { return 2; }
    void backward_part(const Pass& pass, int64_t samples, int phase, Share share) override {
        if (phase == 0) this->by_rows(samples, share, [&](int64_t begin, int64_t end) { backward_inputs(pass, begin, end); });
        else backward_parameters(pass, samples, share, false);
    }

    static constexpr size_t most_inputs = 64;  // of a group; the rule asks for no more

private:
    static constexpr int64_t most_rows = 9;  // of the weight, whose gradients are made side by side
    static constexpr int together = 4;       // outputs, or positions

    int64_t taps() const { return int64_t(sliding_.taps.size()); }
    template <class F>
    void each_sight(F f) const {
        for (int64_t t = 0; t < taps(); ++t)
            for (int64_t i = 0; i < sliding_.windows(); ++i) f(int64_t(sliding_.begins[size_t(i)]) + sliding_.taps[size_t(t)], i, t);
    }

    void apply(const Matrix<T>* from, const Matrix<T>& to) const {
        if (slides()) return slide(from[0], to);
        const int64_t windows = sliding_.windows(), samples = to.rows / windows;
        const int64_t n_inputs = int64_t(this->inputs());
        const int32_t *begins = sliding_.begins.data(), *taps = sliding_.taps.data();
        each_column_vector(to, [&](auto width, auto part, int64_t column, int64_t) ALWAYS_INLINE {
            constexpr int w = decltype(width)::value, n = decltype(part)::value;
            const int64_t p = column / w, c = column % w;
            const T* weight = this->weight_.row(p, 0) + c;
            const Vec<T> bias = load_partial(this->bias() + p * w + c, n);
            for (int64_t s = 0; s < samples; ++s) {
                T* y = to.row(p, s * windows) + c;
                for (int64_t i = 0; i < windows; i += together) {
                    int64_t at[together];
                    for (int q = 0; q < together; ++q) at[q] = int64_t(begins[i + q < windows ? i + q : windows - 1]) * w;
                    Vec<T> sum[together];
#pragma GCC unroll 8
                    for (int q = 0; q < together; ++q) sum[q] = bias;
                    for (int64_t t = 0; t < this->taps(); ++t)
                        for (int64_t j = 0; j < n_inputs; ++j) {
                            const T* x = from[j].row(p, s * positions_) + c + int64_t(taps[t]) * w;
                            const Vec<T> here = load_partial(weight + (t * n_inputs + j) * w, n);
#pragma GCC unroll 8
                            for (int q = 0; q < together; ++q) sum[q] = fma(load_partial(x + at[q], n), here, sum[q]);
                        }
                    for (int q = 0; q < together && i + q < windows; ++q)
                        store_partial(y + (i + q) * w, place_.carries_relu ? positive_part<T>(sum[q]) : sum[q], n);
                }
            }
        });
    }

    void dx_of(const Matrix<T>& dy, const Matrix<T>& dx, int64_t j, bool adds) const {
        if (slides()) return slide_back(dy, dx, adds);
        const int64_t windows = sliding_.windows(), samples = dy.rows / windows, n_inputs = int64_t(this->inputs());
        each_column_vector(dy, [&](auto width, auto part, int64_t column, int64_t) ALWAYS_INLINE {
            constexpr int w = decltype(width)::value, n = decltype(part)::value;
            const int64_t p = column / w, c = column % w;
            const T* weight = this->weight_.row(p, j) + c;
            for (int64_t s = 0; s < samples; ++s) {
                const T* from = dy.row(p, s * windows) + c;
                T* to = dx.row(p, s * positions_) + c;
                for (int64_t i = 0; i < positions_; ++i, to += w) {
                    Vec<T> sum = adds ? load_partial(to, n) : Vec<T>{};
                    for (int32_t e = back_.begins[size_t(i)]; e < back_.begins[size_t(i) + 1]; ++e)
                        sum = fma(load_partial(from + int64_t(back_.windows[size_t(e)]) * w, n), load_partial(weight + back_.taps[size_t(e)] * n_inputs * w, n), sum);
                    store_partial(to, sum, n);
                }
            }
        });
    }

    // Of `count` rows of the weight from row k on.
    void dw_of(const LinearGradient<T>& to, const Matrix<T>& dy, int64_t samples, int64_t k, int64_t count) const {
        const int64_t windows = sliding_.windows(), n_inputs = int64_t(this->inputs());
        each_column_vector(dy, [&](auto width, auto part, int64_t column, int64_t) ALWAYS_INLINE {
            constexpr int w = decltype(width)::value, n = decltype(part)::value;
            const int64_t p = column / w, c = column % w;
            const int64_t place = (this->weight_.row(p, k) - this->weight_.data) + c;
            Vec<T> sum[most_rows];
            for (int64_t q = 0; q < most_rows; ++q) sum[q] = to.add && q < count ? load_partial(to.weight + place + q * w, n) : Vec<T>{};
            for (int64_t s = 0; s < samples; ++s) {
                const T* here[most_rows];
                for (int64_t q = 0; q < most_rows; ++q) {
                    const int64_t row = k + (q < count ? q : 0);
                    here[q] = x(size_t(row % n_inputs)).rows(s, s + 1).row(p, 0) + c + int64_t(sliding_.taps[size_t(row / n_inputs)]) * w;
                }
                const T* d = dy.row(p, s * windows) + c;
                for (int64_t i = 0; i < windows; ++i, d += w) {
                    const Vec<T> dyi = load_partial(d, n);
                    const int64_t at = int64_t(sliding_.begins[size_t(i)]) * w;
#pragma GCC unroll 16
                    for (int64_t q = 0; q < most_rows; ++q) sum[q] = fma(load_partial(here[q] + at, n), dyi, sum[q]);
                }
            }
            for (int64_t q = 0; q < count; ++q) put_dw(to, place + q * w, sum[q], n);
        });
    }
    // A vector of the gradient where it belongs, or the update by it.
    FORCE_INLINE static void put_dw(const LinearGradient<T>& to, int64_t place, Vec<T> gradient, int n) {
        T* const value = to.weight_value + place;
        if (to.update) store_partial(value, fma(broadcast<T>(-to.lr), gradient, load_partial(value, n)), n);
        else store_partial(to.weight + place, gradient, n);
    }

    // ---- windows side by side, with rows of taps side by side: what several windows read is loaded once. The same chains.

    bool slides() const { return this->inputs() == 1 && sliding_.run > 1 && (sliding_.tap_run == 3 || sliding_.tap_run == 5); }

    // f(taps in a row, as a constant), for the vectors of a row as each_column_vector has them.
    template <class F>
    void each_slide(const Matrix<T>& m, F f) const {
        each_column_vector(m, [&](auto width, auto part, int64_t column, int64_t) ALWAYS_INLINE {
            constexpr int w = decltype(width)::value;
            if (sliding_.tap_run == 3) f(width, part, std::integral_constant<int, 3>{}, column / w, column % w);
            else f(width, part, std::integral_constant<int, 5>{}, column / w, column % w);
        });
    }
    // f(how many as a constant, the first): a run in pieces of 8, 4, 2 and 1.
    template <int Q = 8, class F>
    FORCE_INLINE static void each_piece(int64_t begin, int64_t end, F f) {
        for (; begin + Q <= end; begin += Q) f(std::integral_constant<int, Q>{}, begin);
        if constexpr (Q > 1) each_piece<Q / 2>(begin, end, f);
    }

    void slide(const Matrix<T>& x, const Matrix<T>& y) const {
        const int64_t windows = sliding_.windows(), run = sliding_.run, samples = y.rows / windows;
        each_slide(y, [&](auto width, auto part, auto row, int64_t p, int64_t c) ALWAYS_INLINE {
            constexpr int w = decltype(width)::value, n = decltype(part)::value, R = decltype(row)::value;
            const Vec<T> bias = load_partial(this->bias() + p * w + c, n);
            for (int64_t s = 0; s < samples; ++s)
                for (int64_t first = 0; first < windows; first += run) {
                    const T* const from = x.row(p, s * positions_ + sliding_.begins[size_t(first)]) + c;
                    T* const to = y.row(p, s * windows + first) + c;
                    each_piece(0, run, [&](auto count, int64_t i) ALWAYS_INLINE {
                        constexpr int Q = decltype(count)::value;
                        Vec<T> sum[Q];
#pragma GCC unroll 8
                        for (int q = 0; q < Q; ++q) sum[q] = bias;
                        for (int64_t t = 0; t < taps(); t += R) {
                            const T* at = from + (i + sliding_.taps[size_t(t)]) * w;
                            Vec<T> weight[R];
#pragma GCC unroll 8
                            for (int r = 0; r < R; ++r) weight[r] = load_partial(this->weight_.row(p, t + r) + c, n);
#pragma GCC unroll 16
                            for (int m = 0; m < Q + R - 1; ++m) {
                                const Vec<T> number = load_partial(at + m * w, n);
#pragma GCC unroll 8
                                for (int q = 0; q < Q; ++q)
                                    if (m - q >= 0 && m - q < R) sum[q] = fma(number, weight[m - q], sum[q]);
                            }
                        }
#pragma GCC unroll 8
                        for (int q = 0; q < Q; ++q) store_partial(to + (i + q) * w, place_.carries_relu ? positive_part<T>(sum[q]) : sum[q], n);
                    });
                }
        });
    }

    // A row of windows sends back to a row of positions, for one row of taps after the other.
    void slide_back(const Matrix<T>& dy, const Matrix<T>& dx, bool adds) const {
        if (!adds) clear_rows(dx);
        const int64_t windows = sliding_.windows(), run = sliding_.run, samples = dy.rows / windows;
        each_slide(dy, [&](auto width, auto part, auto row, int64_t p, int64_t c) ALWAYS_INLINE {
            constexpr int w = decltype(width)::value, n = decltype(part)::value, R = decltype(row)::value;
            for (int64_t s = 0; s < samples; ++s)
                for (int64_t t = 0; t < taps(); t += R) {
                    Vec<T> weight[R];
#pragma GCC unroll 8
                    for (int r = 0; r < R; ++r) weight[r] = load_partial(this->weight_.row(p, t + r) + c, n);
                    for (int64_t first = 0; first < windows; first += run) {
                        const T* const from = dy.row(p, s * windows + first) + c;
                        T* const to = dx.row(p, s * positions_ + sliding_.begins[size_t(first)] + sliding_.taps[size_t(t)]) + c;
                        const auto edge = [&](int64_t begin, int64_t end) ALWAYS_INLINE {  // which not all taps see
                            for (int64_t i = begin; i < end; ++i) {
                                Vec<T> sum = load_partial(to + i * w, n);
#pragma GCC unroll 8
                                for (int r = 0; r < R; ++r)
                                    if (i - r >= 0 && i - r < run) sum = fma(load_partial(from + (i - r) * w, n), weight[r], sum);
                                store_partial(to + i * w, sum, n);
                            }
                        };
                        const int64_t inner = run < R - 1 ? run : R - 1;
                        edge(0, inner);
                        each_piece(inner, run, [&](auto count, int64_t i) ALWAYS_INLINE {
                            constexpr int Q = decltype(count)::value;
                            Vec<T> sum[Q];
#pragma GCC unroll 8
                            for (int q = 0; q < Q; ++q) sum[q] = load_partial(to + (i + q) * w, n);
#pragma GCC unroll 16
                            for (int m = Q - 1; m > -R; --m) {
                                const Vec<T> number = load_partial(from + (i + m) * w, n);
#pragma GCC unroll 8
                                for (int q = 0; q < Q; ++q)
                                    if (q - m >= 0 && q - m < R) sum[q] = fma(number, weight[q - m], sum[q]);
                            }
#pragma GCC unroll 8
                            for (int q = 0; q < Q; ++q) store_partial(to + (i + q) * w, sum[q], n);
                        });
                        edge(run, run + R - 1);
                    }
                }
        });
    }

    // Whole rows of taps, from row k of the weight on.
    void slide_dw(const LinearGradient<T>& to, const Matrix<T>& dy, int64_t samples, int64_t k, int64_t count) const {
        const int64_t windows = sliding_.windows(), run = sliding_.run;
        const Matrix<T> image = x().rows(0, samples);
        each_slide(dy, [&](auto width, auto part, auto row, int64_t p, int64_t c) ALWAYS_INLINE {
            constexpr int w = decltype(width)::value, n = decltype(part)::value, R = decltype(row)::value, rows = int(most_rows) / R;
            const int64_t place = (this->weight_.row(p, k) - this->weight_.data) + c;
            Vec<T> sum[rows][R];
#pragma GCC unroll 8
            for (int g = 0; g < rows; ++g)
#pragma GCC unroll 8
                for (int r = 0; r < R; ++r) sum[g][r] = to.add ? load_partial(to.weight + place + (g * R + r) * w, n) : Vec<T>{};
            for (int64_t s = 0; s < samples; ++s)
                for (int64_t first = 0; first < windows; first += run) {
                    const T* here[rows];
                    for (int g = 0; g < rows; ++g) here[g] = image.row(p, s * positions_ + sliding_.begins[size_t(first)] + sliding_.taps[size_t(k + g * R)]) + c;
                    const T* d = dy.row(p, s * windows + first) + c;
                    for (int64_t i = 0; i < run; ++i) {
                        const Vec<T> dyi = load_partial(d + i * w, n);
#pragma GCC unroll 8
                        for (int g = 0; g < rows; ++g)
#pragma GCC unroll 8
                            for (int r = 0; r < R; ++r) sum[g][r] = fma(load_partial(here[g] + (i + r) * w, n), dyi, sum[g][r]);
                    }
                }
            for (int64_t q = 0; q < count; ++q) put_dw(to, place + q * w, sum[q / R][q % R], n);
        });
    }

    struct Sights {
        std::vector<int32_t> begins, windows, taps;
    };
    int64_t positions_;
    Sliding sliding_;
    Sights back_;
    double operations_ = 0;
};

template <class T>
std::unique_ptr<Layer<T>> make_depthwise(const Making& making) {
    if (making.settings.kind != "Depthwise") return nullptr;
    if (making.x.size() > Depthwise<T>::most_inputs) making.refuse("it reads too many values");
    return std::make_unique<Depthwise<T>>(making);
}

template std::unique_ptr<Layer<NUMBER>> make_depthwise<NUMBER>(const Making&);

}  // namespace chainrule
