// What a layer is to the engine: an op of the plan with its numbers. One kind a file under layers/, under Python's name.
//
// It reads values and writes one. What it needs, it says itself: which of these numbers its backward pass reads, what
// memory it wants, how threads may split it. The walk over the layers (network.h) knows none of them by name.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "arena.h"
#include "matrices.h"
#include "parameters.h"
#include "plan.h"
#include "share.h"

namespace chainrule {

// A value in the memory of a training step, with the gradient that comes back to it. Rows are samples × positions.
template <class T>
struct Value {
    int64_t columns = 0, positions = 1, capacity = 0;  // capacity: rows in memory
    T* data = nullptr;
    T* gradient = nullptr;
    bool is_relu = false;      // what a ReLU made, its negative part is 0: the gradient has to be masked by it,
    bool reader_masks = false;  // which its only reader does as it writes the gradient; else its writer, before it reads that
    T scale = 1;                // of what the mask lets through: a Dropout's over the ReLU, in training

    // Of samples begin … end - 1.
    FORCE_INLINE Matrix<T> rows(int64_t begin, int64_t end) const { return view(data, begin, end); }
    FORCE_INLINE Matrix<T> gradient_rows(int64_t begin, int64_t end) const { return view(gradient, begin, end); }
    T scale_in(bool training) const { return training ? scale : T(1); }
    // What its reader has to apply.
    ReluMask<T> mask(bool training, int64_t begin) const {
        return {reader_masks ? data + begin * positions * panel_width<T>(columns) : nullptr, scale_in(training)};
    }

private:
    FORCE_INLINE Matrix<T> view(T* from, int64_t begin, int64_t end) const {
        const int width = panel_width<T>(columns);
        Matrix<T> m;
        m.data = from + begin * positions * width;
        m.rows = (end - begin) * positions;
        m.columns = columns;
        m.pitch = capacity * width;
        return m;
    }
};

// What is true of the pass that is running.
struct Pass {
    bool training = true;   // Dropout draws its mask
    int64_t number = 0;     // of all training passes: masks are a function of it
    int64_t first_row = 0;  // which sample of the batch lies in row 0 of the memory
    // back:
    bool add = false;     // add to the gradients of parameters; otherwise overwrite
    bool update = false;  // layers that may do so update their parameters in the same pass
    bool input = false;   // the gradients of the network's inputs are wanted too
    const double* lr = nullptr;  // where there is an update: of each rule
};

// Which numbers a layer's passes read and write; from this, fusion.h decides what may take the place of what.
struct Manners {
    bool reads_x = false;           // backward reads what forward read
    bool reads_y = false;           // backward reads what forward wrote
    bool works_in_place = false;    // forward may write y over x, and backward dx over dy
    bool carries_relu = false;      // a ReLU on its output can ride along
    bool is_relu = false;           // it is the ReLU that others carry
    bool masks_dx = false;          // it can apply the mask of a ReLU to dx as it writes it
    bool writes_dx_over_x = false;  // backward may write dx over x
    bool keeps_zeros = false;       // y is 0 where x is, and dx / dy is `scale` where it is not: behind a ReLU one mask serves both
    double scale = 1;
    bool passes_dy = false;         // dx is dy itself, for every x
};

// How a gradient comes to a value that a layer reads.
struct Coming {
    enum class How : uint8_t { written, added, given };  // given: it is dy, in the same memory
    How how = How::written;
    bool input_only = false;  // nothing before it is trained: it is wanted with the gradients of the inputs alone
};

// Where fusion.h has put a layer.
template <class T>
struct Place {
    std::vector<Value<T>*> x;
    std::vector<Coming> dx;  // for each x
    Value<T>* y = nullptr;
    bool carries_relu = false;  // y is what a ReLU made of it
    bool over_relu = false;     // y lies over x, which a ReLU made
    bool dx_over_x = false;
};

// Which parameters' gradients are there already, on the way back.
struct Seen {
    std::vector<bool> parameter;
    bool start_from_zero = false;  // gradients have to be zero before the pass, and all layers add
};

template <class T>
struct Memory {
    Parameters<T>& parameters;
    const T* zeros;     // as many as the widest value has columns
    T* shared_scratch;  // of who runs
    int64_t batch;
    int64_t block;  // samples: sums that are not one chain are taken over so many, however a batch is divided
};

template <class T>
class Layer {
public:
    explicit Layer(std::vector<int> parameters = {}) : parameters_(std::move(parameters)) {}
    virtual ~Layer() = default;
    virtual Manners manners() const = 0;

    const std::vector<int>& parameters() const { return parameters_; }  // their numbers

    // ---- before the first pass, in this order

    void put(Place<T> place) {
        place_ = std::move(place);
        bind();
    }
    virtual void settle(Parameters<T>&, Seen&) {}  // in the order of the backward pass
    virtual void lay_out(Arena&, int64_t /*batch*/, bool /*threaded*/) {}             // memory of its own (arena.h)
    virtual int64_t shared_scratch(int64_t /*batch*/, bool /*threaded*/) const { return 0; }  // numbers, if only one runs at a time
    virtual void memory_is_there(const Memory<T>&) {}                                  // once bound to addresses
    // The values as they are now, in copies of its own: a small layer has no time to follow pointers.
    void bind() {
        x_.clear();
        for (const Value<T>* value : place_.x) x_.push_back(*value);
        first_x_ = x_[0];
        y_ = *place_.y;
        first_dx_ = place_.dx[0];
    }

    // ---- passes

    // y of x in evaluation mode, in whatever memory. x has the rows of y.
    virtual void infer(const Matrix<T>* x, const Matrix<T>& y) const = 0;

    // Samples begin … end - 1 of what lies in memory. (What is here is for layers with one input.)
    virtual void forward(const Pass&, int64_t begin, int64_t end) {
        const Matrix<T> from = x().rows(begin, end);
        infer(&from, y().rows(begin, end));
    }
    // dx, and the gradients of parameters, by one thread.
    virtual void backward(const Pass& pass, int64_t samples) { backward_inputs(pass, 0, samples); }

    // The same by several threads, by rows: dx first, each thread its own; then the gradients of the parameters.
    virtual void prepare(Share) {}
    virtual bool prepares_forward() const { return false; }  // does the way forward need it too?
    virtual void backward_inputs(const Pass&, int64_t begin, int64_t end) = 0;
    virtual void backward_parameters(const Pass&, int64_t /*samples*/, Share, bool /*prepare_next*/) {}

    // Or by layers: each thread takes its part of this one. Phases are separated by barriers.
    virtual void forward_part(const Pass& pass, int64_t samples, Share share) {
        by_rows(samples, share, [&](int64_t begin, int64_t end) { forward(pass, begin, end); });
    }
    virtual int backward_phases() const { return 1; }
    virtual void backward_part(const Pass& pass, int64_t samples, int /*phase*/, Share share) {
        by_rows(samples, share, [&](int64_t begin, int64_t end) { backward_inputs(pass, begin, end); });
    }

    virtual double operations() const { return 0; }  // of a training step, per sample
    virtual bool is_big() const { return false; }    // its parameters fill a core's cache
    virtual bool takes_whole_batch() const { return false; }  // all rows at once: they depend on each other in training,
    virtual int64_t least_samples() const { return 1; }       // for which it needs so many

protected:
    template <class F>
    static void by_rows(int64_t samples, Share share, F f) {
        const int64_t begin = share.begin(samples, row_block), end = share.end(samples, row_block);
        if (begin < end) f(begin, end);
    }
    FORCE_INLINE bool wants_dx(const Pass& pass, size_t i = 0) const {
        return !coming(i).input_only || pass.input;
    }
    FORCE_INLINE bool adds_dx(size_t i = 0) const { return coming(i).how == Coming::How::added; }
    FORCE_INLINE const Coming& coming(size_t i = 0) const { return i == 0 ? first_dx_ : place_.dx[i]; }

    FORCE_INLINE const Value<T>& x(size_t i = 0) const { return i == 0 ? first_x_ : x_[i]; }
    FORCE_INLINE const Value<T>& y() const { return y_; }
    size_t inputs() const { return x_.size(); }

    Place<T> place_;
    std::vector<int> parameters_;

private:
    Value<T> first_x_, y_;
    Coming first_dx_;
    std::vector<Value<T>> x_;
};

// What a layer is made from.
struct Making {
    const Settings& settings;
    std::vector<ValueShape> x;
    ValueShape y;
    std::vector<ParameterShape> shapes;  // of its parameters,
    std::vector<int> parameters;         // and their numbers
    uint64_t seed;                       // of the plan

    [[noreturn]] void refuse(const std::string& why) const { throw std::invalid_argument("plan: " + settings.kind + ": " + why); }
};

}  // namespace chainrule
