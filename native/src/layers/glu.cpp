// GLU, the twin of the class in chainrule.layers.glu: x = [a, b], y = a s with s = sigmoid(b); dx = [dy s, dy a s (1 - s)].
#include "../elementary.h"
#include "../matrices.h"
#include "layers.h"

namespace chainrule {

template <class T>
class GLU final : public Layer<T> {
    using Layer<T>::x, Layer<T>::y, Layer<T>::wants_dx, Layer<T>::adds_dx;

public:
    explicit GLU(const Making& making) {
        if (making.x.size() != 1 || making.x[0].columns != 2 * making.y.columns || making.x[0].positions != making.y.positions)
            making.refuse("it reads one value and writes half of its columns");
    }

    Manners manners() const override {
        Manners m;
        m.reads_x = true;
        return m;
    }
    void infer(const Matrix<T>* x, const Matrix<T>& y) const override {
        each_part(x[0], y, [&](int64_t a, int64_t b, int64_t c, int n) ALWAYS_INLINE {
            store_partial(y.data + c, load_partial(x[0].data + a, n) * sigmoid<T>(load_partial(x[0].data + b, n)), n);
        });
        clear_padding(y);
    }
    void backward_inputs(const Pass& pass, int64_t begin, int64_t end) override {
        if (!wants_dx(pass)) return;
        const Matrix<T> from = x().rows(begin, end), dy = y().gradient_rows(begin, end), dx = x().gradient_rows(begin, end);
        if (adds_dx()) return backward_of<true>(from, dy, dx);
        backward_of<false>(from, dy, dx);
        clear_padding(dx);
    }

private:
    template <bool adds>
    static void backward_of(const Matrix<T>& x, const Matrix<T>& dy, const Matrix<T>& dx) {
        each_part(x, dy, [&](int64_t a, int64_t b, int64_t c, int n) ALWAYS_INLINE {
            const Vec<T> s = sigmoid<T>(load_partial(x.data + b, n)), d = load_partial(dy.data + c, n) * s;
            const Vec<T> db = d * load_partial(x.data + a, n) * (broadcast<T>(1) - s);
            store_partial(dx.data + a, adds ? load_partial(dx.data + a, n) + d : d, n);
            store_partial(dx.data + b, adds ? load_partial(dx.data + b, n) + db : db, n);
        });
    }

    // f(where a lies, where b lies, where y lies, numbers), for up to a vector of each row: what lies in one panel of all.
    template <class F>
    static void each_part(const Matrix<T>& x, const Matrix<T>& y, F f) {
        const int64_t half = y.columns, from = x.width(), to = y.width();
        for (int64_t column = 0, count; column < half; column += count) {
            count = half - column;
            for (int64_t room : {from - column % from, from - (half + column) % from, to - column % to}) count = room < count ? room : count;
            const int64_t a = x.column_offset(column), b = x.column_offset(half + column), c = y.column_offset(column);
            for (int64_t r = 0; r < y.rows; ++r)
                for (int64_t i = 0; i < count; i += lanes<T>)
                    f(a + r * from + i, b + r * from + i, c + r * to + i, int(count - i < lanes<T> ? count - i : lanes<T>));
        }
    }
};

template <class T>
std::unique_ptr<Layer<T>> make_glu(const Making& making) {
    if (making.settings.kind != "GLU") return nullptr;
    return std::make_unique<GLU<T>>(making);
}

template std::unique_ptr<Layer<NUMBER>> make_glu<NUMBER>(const Making&);

}  // namespace chainrule
