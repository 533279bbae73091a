// Eight numbers, what a narrow panel's row holds, in as few registers as they fill and no wider: what is written this way
// can be read again at once, which masked stores of half a vector cannot.
#pragma once

#include "vec.h"

namespace chainrule {

template <class T>
struct Eight {
    static constexpr int width = lanes<T> > 8 ? 8 : lanes<T>, parts = 8 / width;
    typedef T Part __attribute__((vector_size(width * sizeof(T))));
    typedef T Unaligned __attribute__((vector_size(width * sizeof(T)), aligned(alignof(T)), may_alias));
    Part v[parts];

    FORCE_INLINE static Eight zeros() { return all(0); }
    FORCE_INLINE static Eight all(T s) {
        Eight r;
        for (int j = 0; j < parts; ++j) r.v[j] = s - Part{};
        return r;
    }
    FORCE_INLINE static Eight load(const T* p) {
        Eight r;
        for (int j = 0; j < parts; ++j) r.v[j] = *reinterpret_cast<const Unaligned*>(p + j * width);
        return r;
    }
    FORCE_INLINE void store(T* p) const {
        for (int j = 0; j < parts; ++j) *reinterpret_cast<Unaligned*>(p + j * width) = v[j];
    }

    // a b + c, rounded once where the machine can
    FORCE_INLINE static Eight fma(const Eight& a, const Eight& b, const Eight& c) {
        Eight r;
        for (int j = 0; j < parts; ++j) {
#if defined(__AVX512F__)
            if constexpr (sizeof(T) == 4) {
                r.v[j] = (Part)_mm256_fmadd_ps((__m256)a.v[j], (__m256)b.v[j], (__m256)c.v[j]);
                continue;
            }
#endif
            if constexpr (width == lanes<T>) r.v[j] = chainrule::fma((Vec<T>)a.v[j], (Vec<T>)b.v[j], (Vec<T>)c.v[j]);
        }
        return r;
    }
    FORCE_INLINE friend Eight operator+(const Eight& a, const Eight& b) { return each([](auto x, auto y) { return x + y; }, a, b); }
    FORCE_INLINE friend Eight operator-(const Eight& a, const Eight& b) { return each([](auto x, auto y) { return x - y; }, a, b); }
    FORCE_INLINE friend Eight operator*(const Eight& a, const Eight& b) { return each([](auto x, auto y) { return x * y; }, a, b); }
    // max(0, x), and NaN for NaN
    FORCE_INLINE Eight positive_part() const { return each([](auto x, auto) { return x <= Part{} ? Part{} : x; }, *this, *this); }
    // this where y is what a ReLU let through, else 0
    FORCE_INLINE Eight where_passed(const Eight& y) const { return each([](auto d, auto z) { return z <= Part{} ? Part{} : d; }, *this, y); }

    // By halves: 0 + 4, 1 + 5, …, then 2, then 1. The order of vec.h's Lanes16.
    FORCE_INLINE T sum() const {
        T a[8];
        store(a);
        const T b[4] = {a[0] + a[4], a[1] + a[5], a[2] + a[6], a[3] + a[7]};
        return (b[0] + b[2]) + (b[1] + b[3]);
    }

private:
    template <class F>
    FORCE_INLINE static Eight each(F f, const Eight& a, const Eight& b) {
        Eight r;
        for (int j = 0; j < parts; ++j) r.v[j] = f(a.v[j], b.v[j]);
        return r;
    }
};

}  // namespace chainrule
