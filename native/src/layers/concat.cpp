// Concat, the twin of chainrule.layers.Concat: the columns of several values side by side; dx_k is its part of dy.
#include "layers.h"

namespace chainrule {

// Columns of one matrix to, or added to, columns of another with as many rows.
template <bool adds, class T>
void move_columns(const Matrix<T>& from, int64_t from_column, const Matrix<T>& to, int64_t to_column, int64_t count) {
    const int64_t from_width = from.width(), to_width = to.width();
    while (count > 0) {  // what lies in one panel of either
        const int64_t left = from_width - from_column % from_width, room = to_width - to_column % to_width;
        int64_t n = left < room ? left : room;
        n = n < count ? n : count;
        const T* source = from.data + from.column_offset(from_column);
        T* target = to.data + to.column_offset(to_column);
        for (int64_t r = 0; r < from.rows; ++r, source += from_width, target += to_width)
            for (int64_t c = 0; c < n; c += lanes<T>) {
                const int part = int(n - c < lanes<T> ? n - c : lanes<T>);
                const Vec<T> mine = load_partial(source + c, part);
                store_partial(target + c, adds ? load_partial(target + c, part) + mine : mine, part);
            }
        from_column += n, to_column += n, count -= n;
    }
}

template <class T>
void clear_padding(const Matrix<T>& m) {
    const int width = m.width(), used = int((m.columns - 1) % width) + 1;
    for (int64_t r = 0; r < m.rows; ++r)
        for (int c = used; c < width; c += lanes<T>) store_partial(m.row(m.panels() - 1, r) + c, Vec<T>{}, width - c < lanes<T> ? width - c : lanes<T>);
}

template <class T>
class Concat final : public Layer<T> {
    using Layer<T>::x, Layer<T>::y, Layer<T>::inputs, Layer<T>::wants_dx, Layer<T>::adds_dx;

public:
    explicit Concat(const Making& making) {
        int64_t columns = 0;
        for (const ValueShape& x : making.x) {
            if (x.positions != making.y.positions) making.refuse("all that it reads must have as many positions");
            columns += x.columns;
        }
        if (columns != making.y.columns) making.refuse("the output must have the columns of all inputs together");
    }

    Manners manners() const override { return {}; }
    void infer(const Matrix<T>* x, const Matrix<T>& y) const override {
        join([&](size_t k) { return x[k]; }, y);
    }
    void forward(const Pass&, int64_t begin, int64_t end) override {
        join([&](size_t k) { return x(k).rows(begin, end); }, y().rows(begin, end));
    }
    void backward_inputs(const Pass& pass, int64_t begin, int64_t end) override {
        const Matrix<T> dy = y().gradient_rows(begin, end);
        int64_t column = 0;
        for (size_t k = 0; k < inputs(); column += x(k++).columns) {
            if (!wants_dx(pass, k)) continue;
            const Matrix<T> dx = x(k).gradient_rows(begin, end);
            if (adds_dx(k)) {
                move_columns<true>(dy, column, dx, 0, dx.columns);
            } else {
                move_columns<false>(dy, column, dx, 0, dx.columns);
                clear_padding(dx);
            }
        }
    }

private:
    template <class At>
    void join(At at, const Matrix<T>& y) const {
        int64_t column = 0;
        for (size_t k = 0; k < inputs(); ++k) {
            const Matrix<T> x = at(k);
            move_columns<false>(x, 0, y, column, x.columns);
            column += x.columns;
        }
    }
};

template <class T>
std::unique_ptr<Layer<T>> make_concat(const Making& making) {
    if (making.settings.kind != "Concat") return nullptr;
    return std::make_unique<Concat<T>>(making);
}

template std::unique_ptr<Layer<NUMBER>> make_concat<NUMBER>(const Making&);

}  // namespace chainrule
