// The kernels of the activation that Python speaks of, whichever header they are in.
#pragma once

#include <stdexcept>

#include "../src/layers/activations.h"
#include "../src/layers/softmax.h"

inline bool is_softmax(const chainrule::Settings& s) { return s.kind == "Softmax" || s.kind == "LogSoftmax"; }

// Calls function(f) with the struct of activations.h.
template <class T, class Function>
void with_elementwise(const chainrule::Settings& s, Function function) {
    if (!chainrule::with_activation<T>(s, function)) throw std::invalid_argument(s.kind);
}

// Does backward read y rather than x?
template <class T>
bool saves_output(const chainrule::Settings& s) {
    bool saves = true;
    if (!is_softmax(s)) with_elementwise<T>(s, [&](auto f) { saves = decltype(f)::saves_output; });
    return saves;
}

template <class T>
void activation_forward(const chainrule::Settings& s, const chainrule::Matrix<T>& x, const chainrule::Matrix<T>& y) {
    if (is_softmax(s)) return chainrule::softmax_forward<T>(s.kind == "LogSoftmax", x, y);
    with_elementwise<T>(s, [&](auto f) { chainrule::activation_forward<T>(f, x, y); });
}

template <class T>
void activation_backward(const chainrule::Settings& s, const chainrule::Matrix<T>& dy, const chainrule::Matrix<T>& saved, const chainrule::Matrix<T>& dx) {
    if (is_softmax(s)) return chainrule::softmax_backward<T>(s.kind == "LogSoftmax", dy, saved, dx);
    with_elementwise<T>(s, [&](auto f) { chainrule::activation_backward<false, T>(f, dy, saved, dx); });
}
