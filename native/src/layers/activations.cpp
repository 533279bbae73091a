// Layers that work element by element. Each is a loop around a struct of activations.h.
#include "activations.h"
#include "layers.h"

namespace chainrule {

template <class T, class F>
class Elementwise final : public Layer<T> {
    using Layer<T>::x, Layer<T>::y, Layer<T>::wants_dx, Layer<T>::adds_dx;

public:
    explicit Elementwise(const F& function) : function_(function) {}

    Manners manners() const override {
        Manners m;
        m.reads_x = !F::saves_output;
        m.reads_y = F::saves_output;
        m.works_in_place = true;
        m.is_relu = std::is_same_v<F, ReLU<T>>;
        return m;
    }
    void infer(const Matrix<T>* x, const Matrix<T>& y) const override { activation_forward<T>(function_, x[0], y); }
    void backward_inputs(const Pass& pass, int64_t begin, int64_t end) override {
        if (!wants_dx(pass)) return;
        const Matrix<T> dy = y().gradient_rows(begin, end), dx = x().gradient_rows(begin, end);
        const Matrix<T> saved = F::saves_output ? y().rows(begin, end) : x().rows(begin, end);
        if (adds_dx()) activation_backward<true, T>(function_, dy, saved, dx);
        else activation_backward<false, T>(function_, dy, saved, dx);
    }

private:
    F function_;
};

template <class T>
std::unique_ptr<Layer<T>> make_activation(const Making& making) {
    std::unique_ptr<Layer<T>> layer;
    with_activation<T>(making.settings, [&](auto function) { layer = std::make_unique<Elementwise<T, decltype(function)>>(function); });
    if (layer && (making.x.size() != 1 || making.x[0].columns != making.y.columns || making.x[0].positions != making.y.positions))
        making.refuse("it reads one value and writes one like it");
    return layer;
}

template std::unique_ptr<Layer<NUMBER>> make_activation<NUMBER>(const Making&);

}  // namespace chainrule
