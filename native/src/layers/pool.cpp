// MaxPool, the twin of chainrule.layers.pooling's: the greatest of the positions that have a part in each, channel by channel,
// in any number of dimensions. Of several that are equal the first one counts, NaN before everything else, as in PyTorch.
//
// Which it was is found again on the way back. Behind a ReLU its mask rides along: what is greatest says it.
#include "../matrices.h"
#include "sliding.h"

namespace chainrule {

template <class T>
class MaxPool final : public Layer<T> {
    using Layer<T>::x, Layer<T>::y, Layer<T>::wants_dx, Layer<T>::adds_dx;

public:
    explicit MaxPool(const Making& making) {
        if (making.x.size() != 1 || making.x[0].columns != making.y.columns) making.refuse("it reads one value and writes one with as many columns");
        from_ = Sources(making, making.x[0].positions, making.y.positions);
        for (size_t i = 0; i + 1 < from_.begins.size(); ++i) {
            const int n = from_.begins[i + 1] - from_.begins[i];
            if (n == 0) making.refuse("each position must have a source");
            if (i == 0) size_ = n;
            if (n != size_) size_ = 0;
        }
        covers_once_ = int64_t(from_.sources.size()) == making.x[0].positions;
        std::vector<bool> seen(covers_once_ ? from_.sources.size() : 0, false);
        for (size_t e = 0; covers_once_ && e < seen.size(); ++e) {
            covers_once_ = !seen[size_t(from_.sources[e])];
            seen[size_t(from_.sources[e])] = true;
        }
    }

    Manners manners() const override {
        Manners m;
        m.reads_x = m.masks_dx = true;
        return m;
    }
    void infer(const Matrix<T>* x, const Matrix<T>& y) const override { each_of_size<false, false>(x[0], y, {}, {}); }
    void backward_inputs(const Pass& pass, int64_t begin, int64_t end) override {
        if (!wants_dx(pass)) return;
        const Matrix<T> from = x().rows(begin, end), dy = y().gradient_rows(begin, end), dx = x().gradient_rows(begin, end);
        const ReluMask<T> mask = x().mask(pass.training, begin);
        if (covers_once_ && !adds_dx()) return each_of_size<true, false>(from, dy, dx, mask);
        if (!adds_dx()) clear_rows(dx);
        each_of_size<true, true>(from, dy, dx, mask);
    }

private:
    // Windows of the usual sizes have loops that are written out.
    template <bool back, bool adds>
    void each_of_size(const Matrix<T>& x, const Matrix<T>& y, const Matrix<T>& dx, ReluMask<T> mask) const {
        with_width<T>(y.width(), [&](auto width) ALWAYS_INLINE {
            constexpr int w = decltype(width)::value;
            if (size_ == 2) each<back, adds, w, 2>(x, y, dx, mask);
            else if (size_ == 3) each<back, adds, w, 3>(x, y, dx, mask);
            else if (size_ == 4) each<back, adds, w, 4>(x, y, dx, mask);
            else if (size_ == 9) each<back, adds, w, 9>(x, y, dx, mask);
            else each<back, adds, w, 0>(x, y, dx, mask);
        });
    }

    // Forward writes y; back, y is its gradient, and dx gets it, or gathers it. size: of all windows, or 0.
    template <bool back, bool adds, int w, int size>
    void each(const Matrix<T>& x, const Matrix<T>& y, const Matrix<T>& dx, ReluMask<T> mask) const {
        constexpr int part = lanes<T> < w ? lanes<T> : w;
        const int64_t targets = int64_t(from_.begins.size()) - 1, samples = y.rows / targets, sources = x.rows / (samples > 0 ? samples : 1);
        for (int64_t p = 0; p < y.panels(); ++p)
            for (int64_t s = 0; s < samples; ++s)
                for (int c = 0; c < w; c += part) {
                    const T* from = x.row(p, s * sources) + c;
                    T* to = y.row(p, s * targets) + c;
                    T* into = back ? dx.row(p, s * sources) + c : nullptr;
                    const int32_t* e = from_.sources.data();
                    for (int64_t i = 0; i < targets; ++i, to += w) {
                        const int n = size > 0 ? size : from_.begins[size_t(i) + 1] - from_.begins[size_t(i)];
                        Vec<T> most = load_partial(from + int64_t(e[0]) * w, part), which{};
#pragma GCC unroll 9
                        for (int k = 1; k < n; ++k) {
                            const Vec<T> other = load_partial(from + int64_t(e[k]) * w, part);
                            const auto more = (other > most) | (other != other);
                            most = select<T>(more, other, most);
                            if constexpr (back) which = select<T>(more, broadcast<T>(T(k)), which);
                        }
                        if constexpr (!back) store_partial(to, most, part);
                        else {
                            Vec<T> dy = load_partial(to, part);
                            if (mask.at) dy = mask(dy, most);
#pragma GCC unroll 9
                            for (int k = 0; k < n; ++k) {
                                T* at = into + int64_t(e[k]) * w;
                                const Vec<T> mine = keep<T>(which == broadcast<T>(T(k)), dy);
                                store_partial(at, adds ? load_partial(at, part) + mine : mine, part);
                            }
                        }
                        e += n;
                    }
                }
    }

    int size_ = 0;             // of all windows; 0: they differ
    bool covers_once_ = false;  // each position of x is in one window
    Sources from_;
};

template <class T>
std::unique_ptr<Layer<T>> make_pool(const Making& making) {
    if (making.settings.kind != "MaxPool") return nullptr;
    return std::make_unique<MaxPool<T>>(making);
}

template std::unique_ptr<Layer<NUMBER>> make_pool<NUMBER>(const Making&);

}  // namespace chainrule
