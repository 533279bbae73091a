// All layers: a new one gets its line here, and its file beside this one.
#pragma once

#include "../layer.h"

namespace chainrule {

template <class T> using Maker = std::unique_ptr<Layer<T>> (*)(const Making&);

// Each of a layer's file; null for a kind that it does not know.
template <class T> std::unique_ptr<Layer<T>> make_activation(const Making&);
template <class T> std::unique_ptr<Layer<T>> make_batch_norm(const Making&);
template <class T> std::unique_ptr<Layer<T>> make_convolution(const Making&);
template <class T> std::unique_ptr<Layer<T>> make_depthwise(const Making&);  // convolution with groups
template <class T> std::unique_ptr<Layer<T>> make_dropout(const Making&);
template <class T> std::unique_ptr<Layer<T>> make_glu(const Making&);
template <class T> std::unique_ptr<Layer<T>> make_join(const Making&);  // Sum, Multiply, Concat
template <class T> std::unique_ptr<Layer<T>> make_linear(const Making&);
template <class T> std::unique_ptr<Layer<T>> make_local_response(const Making&);
template <class T> std::unique_ptr<Layer<T>> make_normalization(const Making&);  // LayerNorm, RMSNorm, GroupNorm
template <class T> std::unique_ptr<Layer<T>> make_pool(const Making&);  // MaxPool
template <class T> std::unique_ptr<Layer<T>> make_positions(const Making&);
template <class T> std::unique_ptr<Layer<T>> make_shape(const Making&);  // Reshape, Permute, Columns, ChannelsLast, ChannelsFirst
template <class T> std::unique_ptr<Layer<T>> make_softmax(const Making&);  // LogSoftmax too

template <class T>
std::unique_ptr<Layer<T>> make_layer(const Making& making) {
    constexpr Maker<T> makers[] = {make_linear<T>, make_activation<T>, make_convolution<T>, make_depthwise<T>, make_normalization<T>, make_batch_norm<T>, make_pool<T>, make_positions<T>, make_dropout<T>,
                                   make_join<T>, make_softmax<T>, make_shape<T>, make_glu<T>, make_local_response<T>};
    for (Maker<T> make : makers)
        if (auto layer = make(making)) return layer;
    making.refuse("the engine has no such op");
}

}  // namespace chainrule
