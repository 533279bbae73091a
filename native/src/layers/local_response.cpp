// LocalResponseNorm, twin of chainrule.layers.normalization.local_response: each number is divided by a power of what its
// neighbours say, those of its row in the columns nearby.
//
//     D = k + α/size Σ x²;  y = x D^-β;  dx = dy D^-β - 2 α β/size x Σ' dy y / D
//
// Σ goes over columns c - size/2 … c + (size - 1)/2 as far as there are any, Σ' over those that have c among theirs.
#include <algorithm>

#include "../elementary.h"
#include "layers.h"

namespace chainrule {

template <class T>
class LocalResponse final : public Layer<T> {
    using Layer<T>::x, Layer<T>::y, Layer<T>::wants_dx, Layer<T>::adds_dx;

public:
    explicit LocalResponse(const Making& making)
        : size_(int64_t(making.settings.number("size"))), share_(making.settings.number("alpha") / double(size_)), beta_(making.settings.number("beta")),
          k_(making.settings.number("k")) {
        if (making.x.size() != 1 || making.x[0].columns != making.y.columns || making.x[0].positions != making.y.positions) making.refuse("it reads one value and writes one like it");
        if (!(size_ >= 1)) making.refuse("size must be at least 1");
        size_ = std::min(size_, 2 * making.y.columns);  // which all windows reach
    }

    Manners manners() const override {
        Manners m;
        m.reads_x = true;
        return m;
    }
    double operations() const override { return double(y().columns) * double(y().positions) * (30 + 6 * double(size_)); }
    void lay_out(Arena& arena, int64_t, bool) override { theirs_ = arena.take<T>(matrix_size<T>(y().capacity, y().columns)); }

    void infer(const Matrix<T>* x, const Matrix<T>& y) const override {
        each(x[0], [&](int64_t r, int64_t c, Vec<T> d, Vec<T> here, int n) ALWAYS_INLINE { store_partial(&y.at(r, c), here * power(d), n); });
    }
    void backward_inputs(const Pass& pass, int64_t begin, int64_t end) override {
        if (!wants_dx(pass)) return;
        Value<T> aside = y();
        aside.gradient = theirs_;
        const Matrix<T> from = x().rows(begin, end), dy = y().gradient_rows(begin, end), dx = x().gradient_rows(begin, end), theirs = aside.gradient_rows(begin, end);
        const bool adds = adds_dx();
        each(from, [&](int64_t r, int64_t c, Vec<T> d, Vec<T> here, int n) ALWAYS_INLINE {
            const Vec<T> mine = load_partial(&dy.at(r, c), n) * power(d);
            store_partial(&theirs.at(r, c), mine * here / d, n);
            store_partial(&dx.at(r, c), adds ? load_partial(&dx.at(r, c), n) + mine : mine, n);
        });
        for (int64_t r = 0; r < from.rows; ++r)
            for (int64_t c = 0; c < from.columns; ++c) {
                T sum = 0;
                window((size_ - 1) / 2, size_ / 2, c, [&](int64_t j) { sum += theirs.at(r, j); });
                dx.at(r, c) -= T(2 * share_ * beta_) * from.at(r, c) * sum;
            }
    }

private:
    template <class F>
    FORCE_INLINE void window(int64_t before, int64_t after, int64_t c, F f) const {
        for (int64_t j = std::max(c - before, int64_t(0)), last = std::min(c + after, y().columns - 1); j <= last; ++j) f(j);
    }
    Vec<T> power(Vec<T> d) const { return exp<T>(broadcast<T>(T(-beta_)) * log<T>(d)); }

    // f(row, first column, D, x, how many) for vectors of columns; D is 1 in what is beyond them.
    template <class F>
    void each(const Matrix<T>& from, F f) const {
        const int width = from.width(), step = lanes<T> < width ? lanes<T> : width;
        for (int64_t r = 0; r < from.rows; ++r)
            for (int64_t c = 0; c < from.panels() * width; c += step) {
                alignas(64) T d[lanes<T>];
                std::fill_n(d, lanes<T>, T(1));
                for (int i = 0; i < step && c + i < from.columns; ++i) {
                    T sum = 0;
                    window(size_ / 2, (size_ - 1) / 2, c + i, [&](int64_t j) { sum += from.at(r, j) * from.at(r, j); });
                    d[i] = T(k_) + T(share_) * sum;
                }
                f(r, c, load(d), load_partial(&from.at(r, c), step), step);
            }
    }

    int64_t size_;
    double share_, beta_, k_;
    T* theirs_ = nullptr;  // dy y / D
};

template <class T>
std::unique_ptr<Layer<T>> make_local_response(const Making& making) {
    if (making.settings.kind != "LocalResponseNorm") return nullptr;
    return std::make_unique<LocalResponse<T>>(making);
}

template std::unique_ptr<Layer<NUMBER>> make_local_response<NUMBER>(const Making&);

}  // namespace chainrule
