// Reshape, Permute and the like: the same numbers in another order. What changes no order (Flatten, Unflatten) is no op at all.
//
//     Reshape        a sample's numbers, position by position, as another number of positions and columns
//     Permute        column c of y is column `columns[c]` of x
//     Columns        column c of y is column `sources[c]` of x, at each position; one may come several times
//     ChannelsLast   an image from channel by channel in one row, as Python has it, to a row for each position
//     ChannelsFirst  and back
#include "../matrices.h"
#include "../planes.h"
#include "layers.h"

namespace chainrule {

// Both are a table: where each number of a sample of y lies in one of x.
template <class T>
class Rearranged final : public Layer<T> {
    using Layer<T>::x, Layer<T>::y, Layer<T>::wants_dx, Layer<T>::adds_dx;

public:
    Rearranged(const Making& making, bool permutes) : from_(making.x[0]), to_(making.y) {
        if (making.x.size() != 1 || from_.size() != to_.size()) making.refuse("it reads one value and writes one of as many numbers");
        if (!permutes) return;
        const std::vector<double>& columns = making.settings.array("columns");
        if (from_.positions != 1 || to_.positions != 1 || int64_t(columns.size()) != from_.columns) making.refuse("there must be a place for every column");
        std::vector<bool> taken(columns.size(), false);
        for (double c : columns) {
            if (!(c >= 0 && c < double(columns.size())) || c != double(int64_t(c)) || taken[size_t(c)]) making.refuse("its columns must be a permutation");
            taken[size_t(c)] = true;
            source_.push_back(int64_t(c));
        }
    }

    Manners manners() const override { return {}; }
    void infer(const Matrix<T>* x, const Matrix<T>& y) const override {
        clear_padding(y);
        each_number(x[0], y, [](const T& from, T& to) { to = from; });
    }
    void backward_inputs(const Pass& pass, int64_t begin, int64_t end) override {
        if (!wants_dx(pass)) return;
        const Matrix<T> dy = y().gradient_rows(begin, end), dx = x().gradient_rows(begin, end);
        if (adds_dx()) return each_number(dx, dy, [](T& to, const T& from) { to += from; });
        clear_padding(dx);
        each_number(dx, dy, [](T& to, const T& from) { to = from; });
    }

private:
    // f(number of x, the number of y that it is), sample by sample.
    template <class F>
    void each_number(const Matrix<T>& x, const Matrix<T>& y, F f) const {
        const int64_t samples = y.rows / to_.positions, n = to_.size();
        for (int64_t s = 0; s < samples; ++s) {
            int64_t row = s * to_.positions, column = 0;
            for (int64_t i = 0; i < n; ++i) {
                const int64_t from = source_.empty() ? i : source_[size_t(i)];
                f(x.at(s * from_.positions + from / from_.columns, from % from_.columns), y.at(row, column));
                if (++column == to_.columns) column = 0, ++row;
            }
        }
    }

    ValueShape from_, to_;
    std::vector<int64_t> source_;  // Permute
};

template <class T>
class PickedColumns final : public Layer<T> {
    using Layer<T>::x, Layer<T>::y, Layer<T>::wants_dx, Layer<T>::adds_dx;

public:
    explicit PickedColumns(const Making& making) {
        if (making.x.size() != 1 || making.x[0].positions != making.y.positions) making.refuse("it reads one value and writes one with as many positions");
        for (double c : making.settings.array("sources")) {
            if (!(c >= 0 && c < double(making.x[0].columns)) || c != double(int64_t(c))) making.refuse("its sources must be columns of x");
            sources_.push_back(int64_t(c));
        }
        if (int64_t(sources_.size()) != making.y.columns) making.refuse("there must be a source for every column");
    }

    Manners manners() const override { return {}; }
    void infer(const Matrix<T>* x, const Matrix<T>& y) const override {
        clear_padding(y);
        for (int64_t c = 0; c < y.columns; ++c) {
            const T* from = &x[0].at(0, sources_[size_t(c)]);
            T* to = &y.at(0, c);
            for (int64_t r = 0; r < y.rows; ++r) to[r * y.width()] = from[r * x[0].width()];
        }
    }
    void backward_inputs(const Pass& pass, int64_t begin, int64_t end) override {
        if (!wants_dx(pass)) return;
        const Matrix<T> dy = y().gradient_rows(begin, end), dx = x().gradient_rows(begin, end);
        if (!adds_dx()) clear_rows(dx);
        for (int64_t c = 0; c < dy.columns; ++c) {
            const T* from = &dy.at(0, c);
            T* to = &dx.at(0, sources_[size_t(c)]);
            for (int64_t r = 0; r < dy.rows; ++r) to[r * dx.width()] += from[r * dy.width()];
        }
    }

private:
    std::vector<int64_t> sources_;
};

template <class T>
class Channels final : public Layer<T> {
    using Layer<T>::x, Layer<T>::y, Layer<T>::wants_dx, Layer<T>::adds_dx;

public:
    Channels(const Making& making, bool last) : image_(last ? making.y : making.x[0]), last_(last) {
        const ValueShape& row = last ? making.x[0] : making.y;
        if (making.x.size() != 1 || row.positions != 1 || row.columns != image_.size()) making.refuse("a row must hold an image's numbers");
    }

    Manners manners() const override { return {}; }
    void infer(const Matrix<T>* x, const Matrix<T>& y) const override {
        clear_padding(y);
        move(x[0], y, last_, false);
    }
    void forward(const Pass&, int64_t begin, int64_t end) override {
        // y's padding is 0 from the start, and stays finite unless dy lies there too, which may be NaN all over.
        if (y().gradient == y().data) clear_padding(y().rows(begin, end));
        move(x().rows(begin, end), y().rows(begin, end), last_, false);
    }
    void backward_inputs(const Pass& pass, int64_t begin, int64_t end) override {
        if (!wants_dx(pass)) return;
        const Matrix<T> dy = y().gradient_rows(begin, end), dx = x().gradient_rows(begin, end);
        if (!adds_dx()) clear_padding(dx);
        move(dy, dx, !last_, adds_dx());
    }

private:
    void move(const Matrix<T>& from, const Matrix<T>& to, bool last, bool adds) const {
        if (image_.columns == 1) return each_number(last ? from : to, last ? to : from, last, adds);
        if (!adds && image_.positions % lanes<T> == 0 && image_.columns % lanes<T> == 0) return each_block(last ? from : to, last ? to : from, last);
        if (last) to_image(from, to, adds);
        else to_row(from, to, adds);
    }
    // One channel: a row as it is, number by number.
    void each_number(const Matrix<T>& rows, const Matrix<T>& images, bool last, bool adds) const {
        const int64_t width = rows.width();
        for (int64_t s = 0; s < rows.rows; ++s) {
            T* image = images.row(0, s * image_.positions);
            for (int64_t p = 0; p < image_.positions; p += width) {
                T* row = rows.row(p / width, s);
                const int64_t n = image_.positions - p < width ? image_.positions - p : width;
                for (int64_t i = 0; i < n; ++i, image += narrow_panel) {
                    T &to = last ? *image : row[i], from = last ? row[i] : *image;
                    to = adds ? to + from : from;
                }
            }
        }
    }
    // Whole vectors of either: turned where they are.
    void each_block(const Matrix<T>& rows, const Matrix<T>& images, bool last) const {
        for (int64_t s = 0; s < rows.rows; ++s)
            for (int64_t c = 0; c < image_.columns; c += lanes<T>)
                for (int64_t p = 0; p < image_.positions; p += lanes<T>) {
                    T* const in_image = &images.at(s * image_.positions + p, c);
                    const int64_t width = images.width();
                    Vec<T> a[lanes<T>];
#pragma GCC unroll 16
                    for (int i = 0; i < lanes<T>; ++i) a[i] = load_unaligned(last ? &rows.at(s, (c + i) * image_.positions + p) : in_image + i * width);
                    transpose_block<T>(a);
#pragma GCC unroll 16
                    for (int i = 0; i < lanes<T>; ++i) store_unaligned(last ? in_image + i * width : &rows.at(s, (c + i) * image_.positions + p), a[i]);
                }
    }
    // Eight channels at a time lie in planes for a moment: a row has them as they are, an image turned.
    static constexpr int64_t some = 256;  // positions

    // f(where a row has its numbers from `at` on, where they go or come from, how many), panel after panel.
    template <class F>
    FORCE_INLINE static void each_segment(const Matrix<T>& rows, int64_t s, int64_t at, T* other, int64_t count, F f) {
        const int64_t width = rows.width();
        T* in_row = &rows.at(s, at);
        int64_t left = width - (rows.is_narrow() ? at : at % panel<T>);
        for (T* const stop = other + count; other < stop; left = width) {
            const int64_t n = left < stop - other ? left : stop - other;
            f(in_row, other, n);
            in_row += rows.pitch - (width - left), other += n;
        }
    }
    static constexpr int64_t plane = some + 2 * planes::piece;

    void to_image(const Matrix<T>& rows, const Matrix<T>& images, bool adds) const {
        const auto put = [adds](const T* from, T* to, int64_t n) ALWAYS_INLINE {
            if (n == panel<T> && !adds)
                for (int i = 0; i < panel<T>; ++i) to[i] = from[i];
            else
                for (int64_t i = 0; i < n; ++i) to[i] = adds ? to[i] + from[i] : from[i];
        };
        each_eight(images, [&](int64_t s, int64_t c, int64_t begin, int64_t end, T* base, int channels, auto width) ALWAYS_INLINE {
            alignas(64) T planes[planes::piece * plane], nobody[planes::piece];
            const int64_t at = c * image_.positions + begin, n = end - begin;
            // Whole planes lie one behind the other in a row, and then here too.
            const bool is_whole = !adds && n == image_.positions;
            const int64_t pitch = is_whole ? n : plane;
            if (adds) planes::each_rows<T>(base, decltype(width)::value, nullptr, n, nobody, [&](int64_t i, auto row) ALWAYS_INLINE { planes::to_planes<T>(row, planes + i, pitch, channels); });
            if (is_whole) each_segment(rows, s, at, planes, channels * n, put);
            for (int q = 0; q < channels && !is_whole; ++q) each_segment(rows, s, at + q * image_.positions, planes + q * pitch, n, put);
            planes::each_rows<T>(base, decltype(width)::value, nullptr, n, nobody, [&](int64_t i, auto row) ALWAYS_INLINE { planes::to_rows<T>(planes + i, pitch, channels, false, row); });
        });
    }
    void to_row(const Matrix<T>& images, const Matrix<T>& rows, bool adds) const {
        each_eight(images, [&](int64_t s, int64_t c, int64_t begin, int64_t end, T* base, int channels, auto width) ALWAYS_INLINE {
            alignas(64) T planes[planes::piece * plane], zeros[planes::piece]{};
            planes::each_rows<T>(base, decltype(width)::value, nullptr, end - begin, zeros, [&](int64_t i, auto row) ALWAYS_INLINE { planes::to_planes<T>(row, planes + i, plane, channels); });
            for (int q = 0; q < channels; ++q)
                each_segment(rows, s, (c + q) * image_.positions + begin, planes + q * plane, end - begin, [&](T* to, const T* from, int64_t n) ALWAYS_INLINE {
                    for (int64_t i = 0; i < n; ++i) to[i] = adds ? to[i] + from[i] : from[i];
                });
        });
    }
    // f(sample, first of eight channels, positions from … to, where they lie, how many channels there are, the panel's width)
    template <class F>
    FORCE_INLINE void each_eight(const Matrix<T>& images, F f) const {
        with_width<T>(images.width(), [&](auto width) ALWAYS_INLINE {
            for (int64_t s = 0; s < images.rows / image_.positions; ++s)
                for (int64_t c = 0; c < image_.columns; c += planes::piece)
                    for (int64_t begin = 0; begin < image_.positions; begin += some)
                        f(s, c, begin, begin + some < image_.positions ? begin + some : image_.positions, &images.at(s * image_.positions + begin, c),
                          int(image_.columns - c < planes::piece ? image_.columns - c : planes::piece), width);
        });
    }

    ValueShape image_;
    bool last_;
};

template <class T>
std::unique_ptr<Layer<T>> make_shape(const Making& making) {
    if (making.settings.kind == "ChannelsLast" || making.settings.kind == "ChannelsFirst")
        return std::make_unique<Channels<T>>(making, making.settings.kind == "ChannelsLast");
    if (making.settings.kind == "Columns") return std::make_unique<PickedColumns<T>>(making);
    const bool permutes = making.settings.kind == "Permute";
    if (!permutes && making.settings.kind != "Reshape") return nullptr;
    return std::make_unique<Rearranged<T>>(making, permutes);
}

template std::unique_ptr<Layer<NUMBER>> make_shape<NUMBER>(const Making&);

}  // namespace chainrule
