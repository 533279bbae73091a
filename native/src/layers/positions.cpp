// Positions: each position of y is a weighted sum of positions of x, the same for every channel. Padding, average pools,
// upsampling and mirroring are this, in any number of dimensions, each with a table that Python's rule makes.
//
//     y[i] = Σ_e weight[e] x[source[e]], e = begins[i] … begins[i + 1] - 1;  `elsewhere` where there is none
#include "../matrices.h"
#include "sliding.h"

namespace chainrule {

template <class T>
class Positions final : public Layer<T> {
    using Layer<T>::x, Layer<T>::y, Layer<T>::wants_dx, Layer<T>::adds_dx;

    struct Table {
        Sources from;
        std::vector<T> weights;
    };

public:
    explicit Positions(const Making& making) : elsewhere_(T(making.settings.number("elsewhere"))) {
        if (making.x.size() != 1 || making.x[0].columns != making.y.columns) making.refuse("it reads one value and writes one with as many columns");
        there_.from = Sources(making, making.x[0].positions, making.y.positions);
        for (double weight : making.settings.array("weights")) there_.weights.push_back(T(weight));
        if (there_.weights.size() != there_.from.sources.size()) making.refuse("there must be a weight for each source");
        std::vector<int32_t> entry;
        back_.from = there_.from.turned(making.x[0].positions, entry);
        for (int32_t e : entry) back_.weights.push_back(there_.weights[size_t(e)]);
    }

    Manners manners() const override {
        Manners m;
        m.masks_dx = true;
        return m;
    }
    void infer(const Matrix<T>* x, const Matrix<T>& y) const override {
        mix<false>(there_, x[0], y, elsewhere_, {});
        if (elsewhere_ != 0) clear_padding(y);
    }
    void backward_inputs(const Pass& pass, int64_t begin, int64_t end) override {
        if (!wants_dx(pass)) return;
        const ReluMask<T> mask = x().mask(pass.training, begin);
        if (adds_dx()) mix<true>(back_, y().gradient_rows(begin, end), x().gradient_rows(begin, end), 0, mask);
        else mix<false>(back_, y().gradient_rows(begin, end), x().gradient_rows(begin, end), 0, mask);
    }

private:
    template <bool adds>
    static void mix(const Table& table, const Matrix<T>& from, const Matrix<T>& to, T elsewhere, ReluMask<T> mask) {
        with_width<T>(to.width(), [&](auto width) ALWAYS_INLINE {
            constexpr int w = decltype(width)::value, part = lanes<T> < w ? lanes<T> : w, n = w / part;  // half a vector in a narrow panel
            const int64_t targets = int64_t(table.from.begins.size()) - 1, samples = to.rows / targets;
            const int64_t sources = from.rows / (samples > 0 ? samples : 1);
            const int32_t *begins = table.from.begins.data(), *source = table.from.sources.data();
            for (int64_t p = 0; p < to.panels(); ++p)
                for (int64_t s = 0; s < samples; ++s) {
                    const T* x = from.row(p, s * sources);
                    T* y = to.row(p, s * targets);
                    for (int64_t i = 0; i < targets; ++i, y += w) {
                        Vec<T> sum[n];
                        for (int v = 0; v < n; ++v) sum[v] = adds ? load_partial(y + v * lanes<T>, part) : Vec<T>{};
                        const int32_t begin = begins[i], end = begins[i + 1];
                        if (!adds && begin == end)
                            for (int v = 0; v < n; ++v) sum[v] = broadcast<T>(elsewhere);
                        for (int32_t e = begin; e < end; ++e) {
                            const T* at = x + int64_t(source[e]) * w;
                            const Vec<T> weight = broadcast<T>(table.weights[size_t(e)]);
                            for (int v = 0; v < n; ++v) sum[v] = fma(weight, load_partial(at + v * lanes<T>, part), sum[v]);
                        }
                        if (mask.at)
                            for (int v = 0; v < n; ++v) sum[v] = mask(sum[v], load_partial(mask.at + (y - to.data) + v * lanes<T>, part));
                        for (int v = 0; v < n; ++v) store_partial(y + v * lanes<T>, sum[v], part);
                    }
                }
        });
    }

    Table there_, back_;
    T elsewhere_;
};

template <class T>
std::unique_ptr<Layer<T>> make_positions(const Making& making) {
    if (making.settings.kind != "Positions") return nullptr;
    return std::make_unique<Positions<T>>(making);
}

template std::unique_ptr<Layer<NUMBER>> make_positions<NUMBER>(const Making&);

}  // namespace chainrule
