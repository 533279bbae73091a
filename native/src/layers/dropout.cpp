// Dropout, the twin of chainrule.layers.Dropout. Its mask is drawn anew wherever it is needed. Behind a ReLU it works in
// place, and the zeros that it leaves are mask enough: whoever applies the ReLU's mask to a gradient scales it too.
//
// DropoutOfChannels has one number of the mask for each column of a sample, for all of its positions (Dropout1d to 3d).
#include "../masks.h"
#include "../matrices.h"
#include "layers.h"

namespace chainrule {

template <class T>
class Dropout final : public Layer<T> {
    using Layer<T>::x, Layer<T>::y, Layer<T>::place_, Layer<T>::wants_dx, Layer<T>::adds_dx;

public:
    Dropout(const Making& making, bool of_channels)
        : of_channels_(of_channels), kept_(checked_p(making)), halfwords_(making.seed, uint32_t(making.settings.number("stream"))) {
        if (making.x.size() != 1 || making.x[0].columns != making.y.columns || making.x[0].positions != making.y.positions)
            making.refuse("it reads one value and writes one like it");
    }

    Manners manners() const override {
        Manners m;
        m.works_in_place = m.keeps_zeros = true;
        m.scale = double(kept_.factor);
        return m;
    }
    void infer(const Matrix<T>* x, const Matrix<T>& y) const override {
        if (x[0].data != y.data) copy_rows<T>(x[0], y);
    }
    void memory_is_there(const Memory<T>& memory) override {
        const int64_t columns = x().columns;
        const bool in_place = x().data == y().data;
        if (!of_channels_ && memory.batch == 1 && x().positions == 1 && in_place && columns > narrow_panel && Halfwords::draws_ahead(columns)) row_ = columns;
    }
    void forward(const Pass& pass, int64_t begin, int64_t end) override {
        if (row_ > 0 && pass.training) return row(pass);
        const Matrix<T> from = x().rows(begin, end), to = y().rows(begin, end);
        if (pass.training) draw<false>(pass, from, to, begin);
        else infer(&from, to);
    }
    void backward_inputs(const Pass& pass, int64_t begin, int64_t end) override {
        if (!wants_dx(pass) || place_.over_relu) return;
        const Matrix<T> dy = y().gradient_rows(begin, end), dx = x().gradient_rows(begin, end);
        if (!pass.training) {
            if (adds_dx()) add_rows_of<T>(dy, dx);
            else if (dx.data != dy.data) copy_rows<T>(dy, dx);
        } else if (adds_dx()) {
            draw<true>(pass, dy, dx, begin);
        } else {
            draw<false>(pass, dy, dx, begin);
        }
    }

private:
    static double checked_p(const Making& making) {
        const double p = making.settings.number("p");
        if (!(p >= 0 && p <= 1)) making.refuse("p must lie in [0, 1]");
        return p;
    }

    template <bool adds>
    void draw(const Pass& pass, const Matrix<T>& from, const Matrix<T>& to, int64_t begin) {
        if (!adds && from.data != to.data) clear_padding(to);
        if (begin == 0) return draw<adds>(halfwords_, uint64_t(pass.number), from, to, pass.first_row);
        Halfwords halfwords = halfwords_.another();  // several threads come here at a time, and one of them has row 0
        draw<adds>(halfwords, uint64_t(pass.number), from, to, pass.first_row + begin);
    }
    template <bool adds>
    void draw(Halfwords& halfwords, uint64_t pass, const Matrix<T>& from, const Matrix<T>& to, int64_t first_sample) const {
        const int64_t positions = x().positions;
        if (of_channels_) dropout_of_channels<adds, T>(halfwords, pass, kept_, from, to, positions, first_sample);
        else dropout<adds, T>(halfwords, pass, kept_, from, to, first_sample * positions);
    }

    // A batch of one small row, which lies there as one run: making views of it would take as long as dropping.
    FORCE_INLINE void row(const Pass& pass) {
        const uint16_t* const drawn = halfwords_.at(uint64_t(pass.number), 0, row_);
        T* const y = this->y().data;
        for (int64_t c = 0; c < row_; c += lanes<T>) store_unaligned(y + c, load_unaligned(y + c) * kept_.mask(drawn + c));
    }

    bool of_channels_;
    Kept<T> kept_;
    int64_t row_ = 0;  // its columns
    Halfwords halfwords_;
};

template <class T>
std::unique_ptr<Layer<T>> make_dropout(const Making& making) {
    const bool of_channels = making.settings.kind == "DropoutOfChannels";
    if (making.settings.kind != "Dropout" && !of_channels) return nullptr;
    return std::make_unique<Dropout<T>>(making, of_channels);
}

template std::unique_ptr<Layer<NUMBER>> make_dropout<NUMBER>(const Making&);

}  // namespace chainrule
