// Networks whose layers have eight units or fewer: a chain of Linears and activations, a squared error, nothing else.
//
// There a step is a few dozen instructions, and the way from layer to layer takes longer than the layers. So a step is one
// function here, over numbers that stay in registers and the nearest cache, in the same memory as everywhere else:
//
//     one sample        a layer's units lie in the lanes; the data set's row is read where it lies. Where each layer has one
//                       unit, there are no lanes.
//     many samples      sixteen samples lie in the lanes, and every weight is one number for all of them. Gradients are sums
//                       of sixteen lanes each, over all rows.
//
// Sums over units go as in products/ (k ascending; of one sample, four chains); gradients over many samples do not, but in
// an order that no machine changes: lane i takes rows i, i + 16, …, then halves.
#pragma once

#include <memory>
#include <vector>

#include "arena.h"
#include "fusion.h"
#include "layers/activations.h"
#include "parameters.h"

namespace chainrule {

template <class T>
class Tiny {
public:
    virtual ~Tiny() = default;
    virtual void lay_out(Arena& arena) = 0;
    virtual void memory_is_there(Parameters<T>& parameters) = 0;

    // Does it make steps of so many rows?
    virtual bool takes(int64_t rows) const = 0;
    // Rows first … of the data; leaves gradients, or, if update, the parameters after a step of plain SGD.
    // Returns the undivided sum of the losses.
    virtual double step(const T* x, const T* target, const int64_t* order, int64_t first, int64_t rows, double denominator, bool update, T lr) = 0;
};

// Null: the plan is not of that kind.
template <class T>
std::unique_ptr<Tiny<T>> make_tiny(const Plan& plan);

extern template std::unique_ptr<Tiny<float>> make_tiny<float>(const Plan&);  // here only announced: tiny.cpp makes it
extern template std::unique_ptr<Tiny<double>> make_tiny<double>(const Plan&);

}  // namespace chainrule
