// What the engine asks of a loss: the twin of the class of the same name in chainrule.losses, made from its settings.
//
// A loss of a batch is Σ_i w_i l_i / denominator, where w_i are the weights of the samples (1 if there are none). The
// denominator is that of the mean: of the elements (MSELoss and its like: m Σ w_i for m outputs), or of the classes'
// weights (CrossEntropyLoss, NLLLoss); 1 for reduction "sum". Where it is 0, value and gradient are 0.
//
// With missing="ignore" a target that is NaN has no share: an element, or of CrossEntropyLoss a row. Value and gradient are
// 0 there, whatever y says, and the denominator is that of what is there.
//
// A row's elements are added in the order of rows.h, in T; the values of rows are weighted and added in double, in
// ascending order within a block of 16 rows, and each block gives one number: so neither the width of the vectors nor
// the number of threads changes a bit.
#pragma once

#include <memory>

#include "../panels.h"
#include "../settings.h"

namespace chainrule {

inline constexpr int64_t loss_block = 16;  // rows that share a partial sum

// What the rows of y are compared with: values of the same shape, or one class index per row.
template <class T>
struct Target {
    Matrix<T> values;
    const int64_t* indices = nullptr;
    const T* sample_weight = nullptr;
    const double* there = nullptr;  // how much of each row is there, if the loss ignores what is missing

    double weight(int64_t r) const { return sample_weight ? double(sample_weight[r]) : 1.0; }

    Target slice(int64_t begin, int64_t end) const {
        Target t = *this;
        if (t.there) t.there += begin;
        if (t.values.data) t.values = t.values.slice(begin, end);
        if (t.indices) t.indices += begin;
        if (t.sample_weight) t.sample_weight += begin;
        return t;
    }
};

template <class T>
class Loss {
public:
    virtual ~Loss() = default;

    virtual bool needs_classes() const { return false; }  // numbers will not do for targets

    virtual bool ignores_missing() const { return false; }
    // How much of a row of targets is there, for the denominator.
    virtual double there(const T*, int64_t columns) const { return double(columns); }

    // By what Σ_i w_i l_i is divided, for a whole batch.
    virtual double denominator(const Target<T>& target, int64_t rows, int64_t columns) const = 0;

    // Value and gradient in one pass, of rows that begin at a multiple of 16 in their batch. Writes the gradient of
    // Σ w l / denominator to dy (which may be y's memory; nowhere if it has none), its padding 0, and to partial[b] the
    // undivided sum of the values of rows 16 b … 16 b + 15. A denominator of 0 or infinity, or 0/0, makes the gradient 0.
    virtual void rows(const Matrix<T>& y, const Target<T>& target, const Matrix<T>& dy, double denominator, double* partial) const = 0;
};

// For outputs of so many columns. Each is known in the file where it is written, by the list at its end: null is none
// of them. make_loss asks all files, and throws std::invalid_argument for a loss that nobody knows.
template <class T>
std::unique_ptr<Loss<T>> make_regression_loss(const Settings& settings, int64_t columns);
template <class T>
std::unique_ptr<Loss<T>> make_classification_loss(const Settings& settings, int64_t columns);

template <class T>
std::unique_ptr<Loss<T>> make_loss(const Settings& settings, int64_t columns) {
    if (auto loss = make_regression_loss<T>(settings, columns)) return loss;
    if (auto loss = make_classification_loss<T>(settings, columns)) return loss;
    throw std::invalid_argument("the engine knows no loss called " + settings.kind);
}

// Units of the engine (see CMakeLists.txt): here only announced, made by the .cpp file of the same name.
#define REGRESSION_LOSSES(LINKAGE, T) LINKAGE template std::unique_ptr<Loss<T>> make_regression_loss<T>(const Settings&, int64_t)
#define CLASSIFICATION_LOSSES(LINKAGE, T) LINKAGE template std::unique_ptr<Loss<T>> make_classification_loss<T>(const Settings&, int64_t)
REGRESSION_LOSSES(extern, float);
REGRESSION_LOSSES(extern, double);
CLASSIFICATION_LOSSES(extern, float);
CLASSIFICATION_LOSSES(extern, double);

}  // namespace chainrule
