// Eight channels as planes: rows of eight numbers, one for each position, turned into eight runs of positions, and back. As many
// blocks of 8 × 8 at a time as a vector holds.
#pragma once

#include "microkernel.h"

namespace chainrule {

namespace planes {

inline constexpr int piece = 8;  // positions, and channels

template <class T>
inline constexpr int vector_pieces = lanes<T> > piece ? lanes<T> / piece : 1;

// Blocks of 8 × 8 are turned, one in each piece of the vectors.
template <class T, int S = piece / 2>
FORCE_INLINE void turn(Vec<T> (&a)[piece]) {
    if constexpr (S > 0 && lanes<T> >= piece) {
#pragma GCC unroll 8
        for (int i = 0; i < piece; ++i) {
            if (i & S) continue;
            const Vec<T> even = shuffles::pick(a[i], a[i + S], shuffles::Indices<shuffles::Even<S>, lanes<T>>{});
            a[i + S] = shuffles::pick(a[i], a[i + S], shuffles::Indices<shuffles::Odd<S>, lanes<T>>{});
            a[i] = even;
        }
        turn<T, S / 2>(a);
    }
}

#if defined(__AVX512F__)
// Two rows of eight as one vector, and back.
FORCE_INLINE Vec<float> join(const float* a, const float* b) {
    const HalfVec low = *reinterpret_cast<const HalfVec*>(a), high = *reinterpret_cast<const HalfVec*>(b);
    return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}
FORCE_INLINE void part(float* a, float* b, Vec<float> v) {
    *reinterpret_cast<HalfVec*>(a) = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7);
    *reinterpret_cast<HalfVec*>(b) = __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
}
#endif

// Eight channels of rows row(0), row(1), … (vector_pieces · 8 of them) to planes.
template <class T, class Row>
FORCE_INLINE void to_planes(Row row, T* planes, int64_t pitch, int channels) {
    if constexpr (lanes<T> >= piece) {
        Vec<T> a[piece];
#pragma GCC unroll 8
        for (int i = 0; i < piece; ++i) {
#if defined(__AVX512F__)
            if constexpr (lanes<T> > piece) {
                a[i] = join(row(i), row(i + piece));
                continue;
            }
#endif
            a[i] = load_unaligned(row(i));
        }
        turn<T>(a);
#pragma GCC unroll 8
        for (int c = 0; c < piece; ++c)
            if (c < channels) store_unaligned(planes + c * pitch, a[c]);
    } else {
        for (int c = 0; c < channels; ++c)
            for (int i = 0; i < piece; ++i) planes[c * pitch + i] = row(i)[c];
    }
}
// And back. Beyond the last plane rows get 0.
template <class T, class Row>
FORCE_INLINE void to_rows(const T* planes, int64_t pitch, int channels, bool relu, Row row) {
    if constexpr (lanes<T> >= piece) {
        Vec<T> a[piece]{};
#pragma GCC unroll 8
        for (int c = 0; c < piece; ++c)
            if (c < channels) a[c] = load_unaligned(planes + c * pitch);
        if (relu)
#pragma GCC unroll 8
            for (int c = 0; c < piece; ++c) a[c] = positive_part<T>(a[c]);
        turn<T>(a);
#pragma GCC unroll 8
        for (int i = 0; i < piece; ++i) {
#if defined(__AVX512F__)
            if constexpr (lanes<T> > piece) {
                part(row(i), row(i + piece), a[i]);
                continue;
            }
#endif
            store_unaligned(row(i), a[i]);
        }
    } else {
        for (int i = 0; i < piece; ++i)
            for (int c = 0; c < piece; ++c) {
                const T value = c < channels ? planes[c * pitch + i] : T(0);
                row(i)[c] = relu && value <= 0 ? T(0) : value;
            }
    }
}

// f(the first, a function to where each of vector_pieces · 8 rows begins): `count` rows of memory, `width` apart, in which row i
// is number[i], or i where that is null; where there is none, and behind the last, it is `nobody`.
template <class T, class F>
FORCE_INLINE void each_rows(T* base, int width, const int32_t* number, int64_t count, T* nobody, F f) {
    constexpr int64_t some = vector_pieces<T> * piece;
    int64_t i = 0;
    for (; !number && i + some <= count; i += some) f(i, [at = base + i * width, width](int q) ALWAYS_INLINE { return at + q * width; });
    for (; i < count; i += some) {
        T* row[some];
        for (int64_t q = 0; q < some; ++q) {
            const int64_t r = i + q >= count ? -1 : number ? number[i + q] : i + q;
            row[q] = r < 0 ? nobody : base + r * width;
        }
        f(i, [&row](int q) ALWAYS_INLINE { return row[q]; });
    }
}

}  // namespace planes

}  // namespace chainrule
