// Sum and Multiply, the twins of the classes in chainrule.layers.joins: values of one shape, element by element.
//
//     Sum       y = x_1 + … + x_n     dx_k = dy
//     Multiply  y = x_1 · … · x_n     dx_k = dy · the product of the others, from the first to the last
#include "../matrices.h"
#include "layers.h"

namespace chainrule {

template <class T>
class Join : public Layer<T> {
public:
    explicit Join(const Making& making) {
        for (const ValueShape& x : making.x)
            if (x.columns != making.y.columns || x.positions != making.y.positions) making.refuse("all that it reads and writes must be of one shape");
    }

protected:
    using Layer<T>::x, Layer<T>::y, Layer<T>::inputs, Layer<T>::wants_dx, Layer<T>::adds_dx;

    // to = f(from, to's old numbers)
    template <class F>
    static void combine(const Matrix<T>& from, const Matrix<T>& to, F f) {
        const Matrix<T> a = from, b = to;
        each_run(a, [&](int64_t p, int64_t i) ALWAYS_INLINE {
            T* at = b.data + p * b.pitch + i;
            store_unaligned(at, f(load_unaligned(a.data + p * a.pitch + i), load_unaligned(at)));
        });
    }
    template <class F>
    static void combine(const Matrix<T>& one, const Matrix<T>& other, const Matrix<T>& to, F f) {
        const Matrix<T> a = one, b = other, c = to;
        each_run(a, [&](int64_t p, int64_t i) ALWAYS_INLINE {
            store_unaligned(c.data + p * c.pitch + i, f(load_unaligned(a.data + p * a.pitch + i), load_unaligned(b.data + p * b.pitch + i)));
        });
    }
    // y = f(f(x_1, x_2), x_3) …; at(k) is x_k
    template <class At, class F>
    static void fold_inputs(size_t n, At at, const Matrix<T>& y, F f) {
        if (n == 1) return copy_rows<T>(at(0), y);
        combine(at(0), at(1), y, f);
        for (size_t k = 2; k < n; ++k) combine(at(k), y, [&](auto a, auto b) ALWAYS_INLINE { return f(b, a); });
    }
};

template <class T>
class Sum final : public Join<T> {
    using Join<T>::x, Join<T>::y, Join<T>::inputs, Join<T>::wants_dx, Join<T>::adds_dx;

public:
    using Join<T>::Join;

    Manners manners() const override {
        Manners m;
        m.passes_dy = true;
        return m;
    }
    void infer(const Matrix<T>* x, const Matrix<T>& y) const override {
        this->fold_inputs(inputs(), [&](size_t k) { return x[k]; }, y, plus);
    }
    void forward(const Pass&, int64_t begin, int64_t end) override {
        this->fold_inputs(inputs(), [&](size_t k) { return x(k).rows(begin, end); }, y().rows(begin, end), plus);
    }
    void backward_inputs(const Pass& pass, int64_t begin, int64_t end) override {
        const Matrix<T> dy = y().gradient_rows(begin, end);
        for (size_t k = 0; k < inputs(); ++k) {
            if (!wants_dx(pass, k) || this->coming(k).how == Coming::How::given) continue;
            if (adds_dx(k)) add_rows_of<T>(dy, x(k).gradient_rows(begin, end));
            else copy_rows<T>(dy, x(k).gradient_rows(begin, end));
        }
    }

private:
    static constexpr auto plus = [](auto a, auto b) ALWAYS_INLINE { return a + b; };
};

template <class T>
class Multiply final : public Join<T> {
    using Join<T>::x, Join<T>::y, Join<T>::inputs, Join<T>::wants_dx, Join<T>::adds_dx;

public:
    using Join<T>::Join;

    Manners manners() const override {
        Manners m;
        m.reads_x = true;
        return m;
    }
    void infer(const Matrix<T>* x, const Matrix<T>& y) const override {
        this->fold_inputs(inputs(), [&](size_t k) { return x[k]; }, y, times);
    }
    void forward(const Pass&, int64_t begin, int64_t end) override {
        this->fold_inputs(inputs(), [&](size_t k) { return x(k).rows(begin, end); }, y().rows(begin, end), times);
    }
    void backward_inputs(const Pass& pass, int64_t begin, int64_t end) override {
        const Matrix<T> dy = y().gradient_rows(begin, end);
        for (size_t k = 0; k < inputs(); ++k) {
            if (!wants_dx(pass, k)) continue;
            if (adds_dx(k)) backward_of<true>(k, dy, begin, end);
            else backward_of<false>(k, dy, begin, end);
        }
    }

private:
    template <bool adds>
    void backward_of(size_t k, const Matrix<T>& dy, int64_t begin, int64_t end) const {
        const Matrix<T> d = dy, dx = x(k).gradient_rows(begin, end);
        each_run(d, [&](int64_t p, int64_t i) ALWAYS_INLINE {
            Vec<T> mine = load_unaligned(d.data + p * d.pitch + i);
            for (size_t j = 0; j < inputs(); ++j)
                if (j != k) {
                    const Matrix<T> other = x(j).rows(begin, end);
                    mine = mine * load_unaligned(other.data + p * other.pitch + i);
                }
            T* at = dx.data + p * dx.pitch + i;
            store_unaligned(at, adds ? load_unaligned(at) + mine : mine);
        });
    }
    static constexpr auto times = [](auto a, auto b) ALWAYS_INLINE { return a * b; };
};

template <class T>
std::unique_ptr<Layer<T>> make_join(const Making& making) {
    if (making.settings.kind == "Sum") return std::make_unique<Sum<T>>(making);
    if (making.settings.kind == "Multiply") return std::make_unique<Multiply<T>>(making);
    return nullptr;
}

template std::unique_ptr<Layer<NUMBER>> make_join<NUMBER>(const Making&);

}  // namespace chainrule
