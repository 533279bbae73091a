// Dropout, the twin of chainrule.layers.Dropout. Its mask is drawn anew wherever it is needed; behind a ReLU it works in
// place, and the zeros that it leaves are mask enough: the ReLU's own is drawn from them.
#include "../masks.h"
#include "../matrices.h"
#include "layers.h"

namespace chainrule {

template <class T>
class Dropout final : public Layer<T> {
    using Layer<T>::x, Layer<T>::y, Layer<T>::place_, Layer<T>::wants_dx, Layer<T>::adds_dx;

public:
    explicit Dropout(const Making& making)
        : p_(making.settings.number("p")), stream_(uint32_t(making.settings.number("stream"))), seed_(making.seed) {
        if (!(p_ >= 0 && p_ <= 1)) making.refuse("p must lie in [0, 1]");
        if (making.x.size() != 1 || making.x[0].columns != making.y.columns || making.x[0].positions != making.y.positions)
            making.refuse("it reads one value and writes one like it");
    }

    Manners manners() const override {
        Manners m;
        m.works_in_place = m.keeps_zeros = true;
        return m;
    }
    void infer(const Matrix<T>* x, const Matrix<T>& y) const override {
        if (x[0].data != y.data) copy_rows<T>(x[0], y);
    }
    void forward(const Pass& pass, int64_t begin, int64_t end) override {
        const Matrix<T> from = x().rows(begin, end), to = y().rows(begin, end);
        if (pass.training) draw<false>(pass, from, to, begin);
        else infer(&from, to);
    }
    void backward_inputs(const Pass& pass, int64_t begin, int64_t end) override {
        if (!wants_dx(pass)) return;
        const Matrix<T> dy = y().gradient_rows(begin, end), dx = x().gradient_rows(begin, end);
        if (!pass.training) {
            if (adds_dx()) add_rows_of<T>(dy, dx);
            else if (dx.data != dy.data) copy_rows<T>(dy, dx);
        } else if (place_.over_relu) {
            dropout_scale<T>(p_, dx);
        } else if (adds_dx()) {
            draw<true>(pass, dy, dx, begin);
        } else {
            draw<false>(pass, dy, dx, begin);
        }
    }

private:
    template <bool adds>
    void draw(const Pass& pass, const Matrix<T>& from, const Matrix<T>& to, int64_t begin) const {
        if (!adds && from.data != to.data) clear_padding(to);
        dropout<adds, T>(seed_, stream_, uint64_t(pass.number), p_, from, to, (pass.first_row + begin) * x().positions);
    }

    double p_;
    uint32_t stream_;  // of random numbers: 0, 1, … in the network
    uint64_t seed_;
};

template <class T>
std::unique_ptr<Layer<T>> make_dropout(const Making& making) {
    if (making.settings.kind != "Dropout") return nullptr;
    return std::make_unique<Dropout<T>>(making);
}

template std::unique_ptr<Layer<NUMBER>> make_dropout<NUMBER>(const Making&);

}  // namespace chainrule
