// Softmax and LogSoftmax as layers.
#include "softmax.h"
#include "layers.h"
#include "../matrices.h"

namespace chainrule {

template <class T>
class Softmax final : public Layer<T> {
    using Layer<T>::x, Layer<T>::y, Layer<T>::wants_dx, Layer<T>::adds_dx;

public:
    Softmax(const Making& making, bool logarithm) : logarithm_(logarithm), rows_(making.x[0].positions), columns_(making.x[0].columns) {
        if (making.x.size() != 1 || columns_ != making.y.columns || rows_ != making.y.positions) making.refuse("it reads one value and writes one like it");
    }

    Manners manners() const override {
        Manners m;
        m.reads_y = m.works_in_place = true;
        return m;
    }
    void lay_out(Arena& arena, int64_t batch, bool) override {
        if (adds_dx()) aside_ = arena.take<T>(matrix_size<T>(checked_product(batch, rows_), columns_));
    }
    void infer(const Matrix<T>* x, const Matrix<T>& y) const override { softmax_forward<T>(logarithm_, x[0], y); }
    void backward_inputs(const Pass& pass, int64_t begin, int64_t end) override {
        if (!wants_dx(pass)) return;
        Value<T> into = x();
        if (adds_dx()) into.gradient = aside_;
        softmax_backward<T>(logarithm_, y().gradient_rows(begin, end), y().rows(begin, end), into.gradient_rows(begin, end));
        if (adds_dx()) add_rows_of<T>(into.gradient_rows(begin, end), x().gradient_rows(begin, end));
    }

private:
    bool logarithm_;
    int64_t rows_, columns_;
    T* aside_ = nullptr;
};

template <class T>
std::unique_ptr<Layer<T>> make_softmax(const Making& making) {
    if (making.settings.kind != "Softmax" && making.settings.kind != "LogSoftmax") return nullptr;
    return std::make_unique<Softmax<T>>(making, making.settings.kind == "LogSoftmax");
}

template std::unique_ptr<Layer<NUMBER>> make_softmax<NUMBER>(const Making&);

}  // namespace chainrule
