// Convolution and its transpose, twins of chainrule.layers.convolution: windows slide over an image, x of the one and y of the
// other, in any number of dimensions; of the other value each row belongs to a window.
//
//     Convolution             y = windows of x · W + b              dx = dy Wᵀ, added where the windows lie, tap after tap
//     ConvolutionTransposed   y = b + x Wᵀ, added where they lie    dx = windows of dy · W
//
// dW = (windows of the image)ᵀ rows, in both. The products are in products/windows.h, and in products/planes.h for at most
// eight channels. Where windows overlap samples come one after the other, so that each number's sum has one order. Padding is
// an op of its own.
#include <limits>
#include <numeric>

#include "../products/planes.h"
#include "../products/windows.h"
#include "activations.h"
#include "sliding.h"
#include "weighted.h"

namespace chainrule {

template <class T>
class Convolution final : public Weighted<T> {
    using Layer<T>::x, Layer<T>::y, Layer<T>::place_, Layer<T>::wants_dx, Layer<T>::adds_dx;

public:
    Convolution(const Making& making, bool transposed)
        : Weighted<T>(making), transposed_(transposed), channels_(image_of(making).columns), positions_(image_of(making).positions),
          n_out_(rows_of(making).columns), sliding_(making, positions_, rows_of(making).positions) {
        const ParameterShape& weight = making.shapes[0];
        if (making.x.size() != 1) making.refuse("it reads one value");
        if (weight.n_out != n_out_ || weight.n_in != depth() || weight.taps != taps()) making.refuse("the weight does not fit");
        if (this->has_bias_ && (making.shapes[1].n_in != 0 || making.shapes[1].n_out != making.y.columns)) making.refuse("the bias does not fit the weight");
        for (int64_t begin : sliding_.begins) offsets_.push_back(int32_t(begin * panel_width<T>(channels_)));
        if (std::min(channels_, n_out_) > narrow_panel) return;
        pieces_ = planes::Pieces(sliding_.begins, sliding_.run, sliding_.taps, channels_, positions_);
        gathers_planes_ = n_out_ <= narrow_panel && pieces_.pay<T>(0);
        makes_dw_of_planes_ = n_out_ <= narrow_panel && pieces_.pay<T>(narrow_panel);
        scatters_planes_ = channels_ <= narrow_panel && pieces_.pay<T>(n_out_);
    }

    Manners manners() const override {
        Manners m;
        m.reads_x = true;
        m.carries_relu = !transposed_;
        return m;
    }
    double operations() const override { return 6.0 * double(sliding_.windows()) * double(depth()) * double(n_out_); }
    bool is_big() const override { return checked_product(depth(), n_out_) * int64_t(sizeof(T)) > near_cache; }

    void lay_out(Arena& arena, int64_t, bool) override {
        // Columns count in 32 bits; evaluation has memory for k_block samples at most, however few a batch has.
        const Value<T>&image = transposed_ ? y() : x(), &rows = transposed_ ? x() : y();
        const auto most = [](const Value<T>& value) { return matrix_size<T>(std::max(value.capacity, checked_product(k_block, value.positions)), value.columns); };
        if (std::max(most(image), most(rows)) > std::numeric_limits<int32_t>::max())
            throw std::length_error("a batch of images has more numbers than a Convolution can count");
        by_tap_ = arena.take<T>(checked_product(taps(), tap_size()));
    }
    void memory_is_there(const Memory<T>& memory) override {
        Weighted<T>::memory_is_there(memory);
        columns_.place.resize(size_t(depth())), elsewhere_.place.resize(size_t(depth()));
        columns_.of((transposed_ ? y() : x()).rows(0, 1), sliding_.taps);
    }

    void infer(const Matrix<T>* x, const Matrix<T>& y) const override {
        if (transposed_) {
            turn(0, depth());  // evaluation has one thread
            spread(x[0], y);
        } else {
            elsewhere_.of(x[0], sliding_.taps);
            gather(x[0], elsewhere_, y, this->bias(), place_.carries_relu);
        }
        linear::clear_unwritten_padding<T>(y);  // where something else may have lain before
    }
    bool prepares_forward() const override { return transposed_; }
    void prepare(Share share) override {
        if (transposed_ || !this->coming().input_only) turn(share.begin(depth(), 1), share.end(depth(), 1));
    }
    void forward(const Pass&, int64_t begin, int64_t end) override {
        if (transposed_) spread(x().rows(begin, end), y().rows(begin, end));
        else gather(x().rows(begin, end), columns_, y().rows(begin, end), this->bias(), place_.carries_relu);
    }

    void backward(const Pass& pass, int64_t samples) override {
        if (!transposed_ && wants_dx(pass)) turn(0, depth());
        backward_inputs(pass, 0, samples);
        backward_parameters(pass, samples, {}, false);
    }
    void backward_inputs(const Pass& pass, int64_t begin, int64_t end) override {
        const Matrix<T> dy = y().gradient_rows(begin, end);
        if (place_.carries_relu && !y().reader_masks) mask_by_relu<T>(dy, y().rows(begin, end), y().scale_in(pass.training));
        if (!wants_dx(pass)) return;
        const Matrix<T> dx = x().gradient_rows(begin, end);
        if (transposed_) {
            gather(dy, columns_, dx, adds_dx() ? nullptr : this->zeros_, false);
            if (!adds_dx()) linear::clear_unwritten_padding<T>(dx);
        } else {
            scatter(dy, dx, adds_dx());
        }
    }
    // Rows of the weight are divided among threads; the first one has the bias too.
    void backward_parameters(const Pass& pass, int64_t samples, Share share, bool prepare_next) override {
        const windows::DwTiling tiling = dw_tiling();
        const int64_t unit = tiling.group > 0 ? tiling.group : max_tile_rows, begin = share.begin(depth(), unit), end = share.end(depth(), unit);
        const LinearGradient<T> to = this->gradient(pass);
        const Matrix<T> from = x().rows(0, samples), dy = y().gradient_rows(0, samples);
        const Matrix<T>&image = transposed_ ? dy : from, &rows = transposed_ ? from : dy;
        if (share.index == 0) this->bias_of(to, dy, y().positions);
        if (!to.weight || begin == end) return;
        if (makes_dw_of_planes_) planes::dw<T>(pieces_, image, rows, to, begin, end);
        else each_block(image, samples, [&](T* const* window, int64_t first, int64_t n) {
            windows::dw<T>(window, columns_.place.data(), rows.slice(first, first + n), to, depth(), to.add || first > 0, to.update && first + n == rows.rows, begin, end, tiling);
        });
        // What an activation has left in x's padding stands beside dW then.
        if (transposed_) clear_padding(Matrix<T>(to.update ? to.weight_value : to.weight, depth(), n_out_).slice(begin, end));
        if (prepare_next && (transposed_ || !this->coming().input_only)) turn(begin, end);
    }
    // Layer by layer, threads divide samples on the way forward, and what is left to one of them on the way back.
    int backward_phases() const override { return 3; }
    void backward_part(const Pass& pass, int64_t samples, int phase, Share share) override {
        if (phase == 0 && !transposed_ && wants_dx(pass)) turn(share.begin(depth(), 1), share.end(depth(), 1));
        if (phase == 1) this->by_rows(samples, share, [&](int64_t begin, int64_t end) { backward_inputs(pass, begin, end); });
        if (phase == 2) backward_parameters(pass, samples, share, false);
    }

private:
    // Where the numbers of a window lie from its beginning, in a matrix of this pitch: in memory of a step, or elsewhere.
    struct Columns {
        std::vector<int32_t> place;  // of so many as a window has: there is room once all memory is counted
        int64_t pitch = -1;

        void of(const Matrix<T>& image, const std::vector<int32_t>& taps) {
            if (image.pitch == pitch) return;
            pitch = image.pitch;
            auto next = place.begin();
            for (int32_t tap : taps)
                for (int64_t c = 0; c < image.columns; ++c) *next++ = int32_t(tap * image.width() + image.column_offset(c));
        }
    };

    int64_t taps() const { return int64_t(sliding_.taps.size()); }
    int64_t depth() const { return channels_ * taps(); }

    // f(where the windows of these rows begin, the first of them, how many), at most k_block at a time, whole runs if they are shorter.
    template <class F>
    FORCE_INLINE void each_block(const Matrix<T>& image, int64_t samples, F f) const {
        T* window[k_block];
        const int width = image.width();
        const int64_t windows = sliding_.windows(), rows = samples * windows;
        T* sample = image.data;
        const int64_t run = sliding_.run, block = run <= k_block ? k_block / run * run : k_block;
        for (int64_t first = 0, i = 0; first < rows;) {
            const int64_t left = run <= k_block ? rows - first : run - i % run, n = left < block ? left : block;
            for (int64_t r = 0; r < n;) {
                const int64_t here = n - r < windows - i ? n - r : windows - i;
                for (int64_t q = 0; q < here; ++q) window[r + q] = sample + offsets_[size_t(i + q)];
                r += here, i += here;
                if (i == windows) i = 0, sample += positions_ * width;
            }
            f(window, first, n);
            first += n;
        }
    }
    static const ValueShape& image_of(const Making& making) { return making.settings.kind == "Convolution" ? making.x[0] : making.y; }
    static const ValueShape& rows_of(const Making& making) { return making.settings.kind == "Convolution" ? making.y : making.x[0]; }

    // start: of each sum, a bias; null: what is there.
    void gather(const Matrix<T>& image, const Columns& columns, const Matrix<T>& to, const T* start, bool relu) const {
        if (gathers_planes_ && start) return planes::gather<T>(pieces_, image, this->weight_, to, start, relu);
        each_block(image, to.rows / sliding_.windows(), [&](T* const* window, int64_t first, int64_t n) {
            windows::forward<T>(window, columns.place.data(), this->weight_, to.slice(first, first + n), start, relu, sliding_.run, image.width());
        });
    }

    // Rows of the weight that stand side by side in x: the channels of a tap, as far as they lie in one panel, or the taps of one channel.
    windows::DwTiling dw_tiling() const {
        if (channels_ == 1) return sliding_.tap_run % 2 == 1 && sliding_.tap_run > 1 && sliding_.tap_run <= windows::most_side_by_side ? windows::DwTiling{int(sliding_.tap_run), narrow_panel} : windows::DwTiling{};
        const int64_t group = channels_ <= panel<T> ? channels_ : std::gcd(channels_, int64_t(panel<T>));
        return group > 1 ? windows::DwTiling{int(group), 1} : windows::DwTiling{};
    }

    // ---- the way back of windows: tap after tap, of every sample

    void spread(const Matrix<T>& rows, const Matrix<T>& image) const {
        const T* bias = this->bias();
        const int width = image.width(), part = lanes<T> < width ? lanes<T> : width;
        for (int64_t p = 0; p < image.panels(); ++p)
            for (int c = 0; c < width; c += part) {
                const Vec<T> start = load_partial(bias + p * width + c, part);
                for (int64_t r = 0; r < image.rows; ++r) store_partial(image.row(p, r) + c, start, part);
            }
        scatter(rows, image, true);
    }

    void scatter(const Matrix<T>& dy, const Matrix<T>& dx, bool add) const {
        if (scatters_planes_) return planes::scatter<T>(pieces_, dy, by_tap_, tap_size(), dx, add);
        if (!add) clear_rows(dx);
        const int64_t windows = sliding_.windows(), samples = dy.rows / windows;
        const int64_t few = windows < 64 ? (64 + windows - 1) / windows : 1;  // so that tiles are full
        for (int64_t s = 0; s < samples; s += few) {
            const int64_t n = samples - s < few ? samples - s : few;
            const Matrix<T> from = dy.slice(s * windows, (s + n) * windows), to = dx.slice(s * positions_, (s + n) * positions_);
            for (int64_t t = 0; t < taps(); ++t)
                each_block(to, n, [&](T* const* window, int64_t first, int64_t count) {
                    windows::add_dx<T>(from.slice(first, first + count), tap_weight(t), window, int64_t(sliding_.taps[size_t(t)]) * dx.width(), dx.pitch);
                });
        }
    }

    // Wᵀ of each tap: a row for each output, a column for each channel.
    int64_t tap_size() const { return matrix_size<T>(n_out_, channels_); }
    Matrix<T> tap_weight(int64_t t) const { return Matrix<T>(by_tap_ + t * tap_size(), n_out_, channels_); }
    // Of rows begin … end - 1 of the weight.
    void turn(int64_t begin, int64_t end) const {
        for (int64_t k = begin; k < end;) {
            const int64_t t = k / channels_, c = k % channels_, stop = end < (t + 1) * channels_ ? end : (t + 1) * channels_;
            const bool whole = c == 0 && stop == (t + 1) * channels_;
            if (channels_ <= narrow_panel) turn_narrow(t, c, c + stop - k, whole);
            else if (whole) transpose<T>(this->weight_.slice(k, stop), tap_weight(t), 0, n_out_);
            else
                for (int64_t i = k; i < stop; ++i)
                    for (int64_t o = 0; o < n_out_; ++o) tap_weight(t).at(o, i - t * channels_) = this->weight_.at(i, o);
            k = stop;
        }
    }
    // Channels begin … end - 1 of a tap, of at most eight.
    void turn_narrow(int64_t t, int64_t begin, int64_t end, bool whole) const {
        constexpr int64_t step = narrow_panel;
        T* const to = by_tap_ + t * tap_size();
        const Matrix<T> weight = this->weight_.slice(t * channels_, (t + 1) * channels_);
        if (!whole || lanes<T> < narrow_panel) {
            for (int64_t o = 0; o < n_out_; ++o)
                for (int64_t c = begin; c < end; ++c) to[o * step + c] = weight.at(c, o);
            return;
        }
        for (int64_t o = 0; o < n_out_; o += lanes<T>) {
            Vec<T> block[lanes<T>]{};
            for (int64_t c = 0; c < channels_; ++c) block[c] = load_unaligned(weight.data + weight.column_offset(o) + c * weight.width());
            transpose_block<T>(block);
#pragma GCC unroll 16
            for (int i = 0; i < lanes<T>; ++i)
                if (o + i < n_out_) store_partial(to + (o + i) * step, block[i], narrow_panel);
        }
    }

    bool transposed_;
    int64_t channels_, positions_, n_out_;  // of the image, and columns of the other value
    Sliding sliding_;
    planes::Pieces pieces_;  // where one side has at most eight columns
    bool gathers_planes_ = false, makes_dw_of_planes_ = false, scatters_planes_ = false;
    Columns columns_;  // of a window, in the image,
    mutable Columns elsewhere_;
    std::vector<int32_t> offsets_;  // where windows begin in a sample
    T* by_tap_ = nullptr;
};

template <class T>
std::unique_ptr<Layer<T>> make_convolution(const Making& making) {
    const bool transposed = making.settings.kind == "ConvolutionTransposed";
    if (!transposed && making.settings.kind != "Convolution") return nullptr;
    return std::make_unique<Convolution<T>>(making, transposed);
}

template std::unique_ptr<Layer<NUMBER>> make_convolution<NUMBER>(const Making&);

}  // namespace chainrule
