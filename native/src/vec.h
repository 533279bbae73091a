// Vectors of the width that the target has, written once for every instruction set.
//
// A Vec<T> holds lanes<T> numbers (64 bytes with AVX-512, 32 with AVX2, 16 elsewhere); +, -, *, /, comparisons and
// `mask ? a : b` are the compiler's own vector extensions. Only what these lack is spelled out below: the fused
// multiply-add, loads and stores of a part of a vector, minima and maxima that let NaN through, and one reduction
// whose order of additions does not depend on the width.
//
// Rules that cost a factor when broken: never a vector wider than the hardware's, never -ffast-math (it reorders the
// accumulators and spills them), and `broadcast` as below (`s - Vec{}` is one instruction, a loop over lanes is not).
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

// Lambdas take it after their parameter list, as [&](int i) ALWAYS_INLINE { … }; [[gnu::always_inline]] there is
// ignored without a word.
#define ALWAYS_INLINE __attribute__((always_inline))
#define NO_INLINE __attribute__((noinline))
#define FORCE_INLINE inline __attribute__((always_inline))

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX2__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif

#if defined(__FMA__) || defined(__AVX512F__) || defined(__ARM_NEON)
#define HAS_FMA 1
#else
#define HAS_FMA 0
#endif

#if defined(__GNUC__) && !defined(__clang__)
// Every function that passes a vector is inlined, so how it would be passed does not matter.
#pragma GCC diagnostic ignored "-Wpsabi"
#endif

namespace chainrule {

template <class T>
inline constexpr int lanes = VECTOR_BYTES / sizeof(T);

template <class T>
struct VecOf {
    typedef T type __attribute__((vector_size(VECTOR_BYTES), may_alias));
    typedef T unaligned __attribute__((vector_size(VECTOR_BYTES), may_alias, aligned(alignof(T))));
};

template <class T>
using Vec = typename VecOf<T>::type;

// The integers as wide as T: float has int32_t, double has int64_t. A comparison of two Vec<T> gives a Mask<T>, whose
// lanes are 0 or -1.
template <class T>
struct IntegerOf;
template <>
struct IntegerOf<float> { using type = int32_t; using unsigned_type = uint32_t; };
template <>
struct IntegerOf<double> { using type = int64_t; using unsigned_type = uint64_t; };
template <class T>
using Integer = typename IntegerOf<T>::type;
template <class T>
using Unsigned = typename IntegerOf<T>::unsigned_type;
template <class T>
using IntVec = Vec<Integer<T>>;
template <class T>
using UnsignedVec = Vec<Unsigned<T>>;
template <class T>
using Mask = IntVec<T>;

// ---- loads, stores, broadcast ------------------------------------------------------------------------------------

template <class T>
FORCE_INLINE Vec<T> broadcast(std::type_identity_t<T> s) { return s - Vec<T>{}; }

template <class T>
FORCE_INLINE Vec<T> load(const T* p) { return *reinterpret_cast<const Vec<T>*>(p); }

template <class T>
FORCE_INLINE void store(T* p, std::type_identity_t<Vec<T>> v) { *reinterpret_cast<Vec<T>*>(p) = v; }

template <class T>
FORCE_INLINE Vec<T> load_unaligned(const T* p) {
    return *reinterpret_cast<const typename VecOf<T>::unaligned*>(p);
}

template <class T>
FORCE_INLINE void store_unaligned(T* p, std::type_identity_t<Vec<T>> v) {
    *reinterpret_cast<typename VecOf<T>::unaligned*>(p) = v;
}

// 0, 1, 2, … in the lanes.
template <class T>
FORCE_INLINE Vec<T> iota() {
    Vec<T> v{};
    for (int i = 0; i < lanes<T>; ++i) v[i] = T(i);
    return v;
}

// Lanes below n are set.
template <class T>
FORCE_INLINE Mask<T> first_lanes(int n) { return iota<Integer<T>>() < broadcast<Integer<T>>(Integer<T>(n)); }

#if defined(__AVX512F__)
typedef float HalfVec __attribute__((vector_size(32), aligned(4), may_alias));
FORCE_INLINE Vec<float> load_half(const float* p) {
    return __builtin_shufflevector(*reinterpret_cast<const HalfVec*>(p), HalfVec{}, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}
FORCE_INLINE void store_half(float* p, Vec<float> v) {
    *reinterpret_cast<HalfVec*>(p) = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7);
}
#endif

// The first n of the lanes; the others are 0 and their memory is not touched.
template <class T>
FORCE_INLINE Vec<T> load_partial(const T* p, int n) {
    if (n >= lanes<T>) return load_unaligned(p);
#if defined(__AVX512F__)
    // Half a vector, the row of a narrow panel, without a mask: what was just written can then be read at once.
    if constexpr (sizeof(T) == 4)
        if (__builtin_constant_p(n) && n == 8) return load_half(p);
    if constexpr (sizeof(T) == 4) return (Vec<T>)_mm512_maskz_loadu_epi32(__mmask16((1u << n) - 1), p);
    else return (Vec<T>)_mm512_maskz_loadu_epi64(__mmask8((1u << n) - 1), p);
#elif defined(__AVX2__)
    if constexpr (sizeof(T) == 4)
        return (Vec<T>)_mm256_maskload_epi32(reinterpret_cast<const int*>(p), (__m256i)first_lanes<float>(n));
    else
        return (Vec<T>)_mm256_maskload_epi64(reinterpret_cast<const long long*>(p), (__m256i)first_lanes<double>(n));
#else
    Vec<T> v{};
    for (int i = 0; i < n; ++i) v[i] = p[i];
    return v;
#endif
}

template <class T>
FORCE_INLINE void store_partial(T* p, std::type_identity_t<Vec<T>> v, int n) {
    if (n >= lanes<T>) return store_unaligned(p, v);
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4)
        if (__builtin_constant_p(n) && n == 8) return store_half(p, v);
    if constexpr (sizeof(T) == 4) _mm512_mask_storeu_epi32(p, __mmask16((1u << n) - 1), (__m512i)v);
    else _mm512_mask_storeu_epi64(p, __mmask8((1u << n) - 1), (__m512i)v);
#elif defined(__AVX2__)
    if constexpr (sizeof(T) == 4)
        _mm256_maskstore_epi32(reinterpret_cast<int*>(p), (__m256i)first_lanes<float>(n), (__m256i)v);
    else
        _mm256_maskstore_epi64(reinterpret_cast<long long*>(p), (__m256i)first_lanes<double>(n), (__m256i)v);
#else
    for (int i = 0; i < n; ++i) p[i] = v[i];
#endif
}

// ---- arithmetic that the extensions lack -------------------------------------------------------------------------

// a b + c with one rounding. Without the hardware for it (the SSE2 baseline) it rounds twice: emulating it is about
// fifty times slower, so the baseline's bits may differ from those of AVX2 and AVX-512, which agree with each other.
FORCE_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
#if defined(__AVX512F__)
    return (Vec<float>)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__) && VECTOR_BYTES == 32
    return (Vec<float>)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__ARM_NEON)
    return (Vec<float>)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    return a * b + c;
#endif
}

FORCE_INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
#if defined(__AVX512F__)
    return (Vec<double>)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif defined(__FMA__) && VECTOR_BYTES == 32
    return (Vec<double>)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#elif defined(__ARM_NEON)
    return (Vec<double>)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
#else
    return a * b + c;
#endif
}

// One number at a time, with the same rounding as the vectors above.
FORCE_INLINE float fma(float a, float b, float c) { return HAS_FMA ? __builtin_fmaf(a, b, c) : a * b + c; }
FORCE_INLINE double fma(double a, double b, double c) { return HAS_FMA ? __builtin_fma(a, b, c) : a * b + c; }

// A value of which the compiler forgets that it is a constant. Without it `zero > x ? zero : x` becomes a comparison and
// a masked move instead of one maximum.
template <class V>
FORCE_INLINE V hide(V v) {
#if defined(__AVX512F__)
    asm("" : "+v"(v));
#elif defined(__SSE2__)
    asm("" : "+x"(v));
#elif defined(__ARM_NEON)
    asm("" : "+w"(v));
#endif
    return v;
}

template <class T>
FORCE_INLINE Vec<T> zero() { return hide(Vec<T>{}); }

// The larger of the bound and x (hidden, or GCC selects under a mask what has an instruction of its own); a NaN in x comes through (a NaN in the bound does not: order matters).
template <class T>
FORCE_INLINE Vec<T> at_least(std::type_identity_t<Vec<T>> bound, std::type_identity_t<Vec<T>> x) {
    bound = hide(bound), x = hide(x);
    return bound > x ? bound : x;
}

template <class T>
FORCE_INLINE Vec<T> at_most(std::type_identity_t<Vec<T>> bound, std::type_identity_t<Vec<T>> x) {
    bound = hide(bound), x = hide(x);
    return bound < x ? bound : x;
}

// max(0, x), NaN for NaN.
template <class T>
FORCE_INLINE Vec<T> positive_part(std::type_identity_t<Vec<T>> x) { return at_least<T>(zero<T>(), x); }

// Where ReLU lets a gradient through, told by its output y: y > 0, or NaN, which must not end as a gradient of 0.
template <class T>
FORCE_INLINE Mask<T> passes_relu(std::type_identity_t<Vec<T>> y) { return ~(y <= Vec<T>{}); }

template <class T>
FORCE_INLINE Vec<T> select(Mask<T> mask, std::type_identity_t<Vec<T>> a, std::type_identity_t<Vec<T>> b) {
    return mask ? a : b;
}

// a where the mask is set, 0 elsewhere.
template <class T>
FORCE_INLINE Vec<T> keep(Mask<T> mask, std::type_identity_t<Vec<T>> a) { return (Vec<T>)(mask & (Mask<T>)a); }

// Is any lane of the mask set?
template <class T>
FORCE_INLINE bool any(Mask<T> mask) {
#if defined(__AVX512F__)
    return _mm512_test_epi64_mask((__m512i)mask, (__m512i)mask) != 0;
#elif defined(__AVX2__)
    return _mm256_testz_si256((__m256i)mask, (__m256i)mask) == 0;
#elif defined(__SSE2__)
    return _mm_movemask_epi8((__m128i)mask) != 0;
#else
    Integer<T> bits = 0;
    for (int i = 0; i < lanes<T>; ++i) bits |= mask[i];
    return bits != 0;
#endif
}

template <class T>
FORCE_INLINE Vec<T> sqrt(std::type_identity_t<Vec<T>> x) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4) return (Vec<T>)_mm512_maskz_sqrt_ps(__mmask16(-1), (__m512)x);
    else return (Vec<T>)_mm512_maskz_sqrt_pd(__mmask8(-1), (__m512d)x);
#elif defined(__AVX2__)
    if constexpr (sizeof(T) == 4) return (Vec<T>)_mm256_sqrt_ps((__m256)x);
    else return (Vec<T>)_mm256_sqrt_pd((__m256d)x);
#elif defined(__SSE2__)
    if constexpr (sizeof(T) == 4) return (Vec<T>)_mm_sqrt_ps((__m128)x);
    else return (Vec<T>)_mm_sqrt_pd((__m128d)x);
#elif defined(__ARM_NEON)
    if constexpr (sizeof(T) == 4) return (Vec<T>)vsqrtq_f32((float32x4_t)x);
    else return (Vec<T>)vsqrtq_f64((float64x2_t)x);
#else
    Vec<T> y{};
    for (int i = 0; i < lanes<T>; ++i) y[i] = sizeof(T) == 4 ? __builtin_sqrtf(x[i]) : __builtin_sqrt(x[i]);
    return y;
#endif
}

template <class T>
FORCE_INLINE Vec<T> abs(std::type_identity_t<Vec<T>> x) {
    return (Vec<T>)((UnsignedVec<T>)x & broadcast<Unsigned<T>>(Unsigned<T>(~Unsigned<T>(0)) >> 1));
}

// While it lives, this thread takes denormal numbers for 0. Gradients of dead units let an optimizer's running means
// decay into denormals, where each operation takes several times as long.
class FlushDenormals {
public:
#if defined(__SSE2__)
    FlushDenormals() : before_(_mm_getcsr()) {
        if ((before_ & flags) != flags) _mm_setcsr(before_ | flags);
    }
    ~FlushDenormals() {
        if ((before_ & flags) != flags) _mm_setcsr(before_);
    }

private:
    static constexpr unsigned flags = 0x8040;  // flush to zero, denormals are zero
    unsigned before_;
#elif defined(__aarch64__)
    FlushDenormals() {
        asm volatile("mrs %0, fpcr" : "=r"(before_));
        asm volatile("msr fpcr, %0" ::"r"(before_ | uint64_t(1) << 24));
    }
    ~FlushDenormals() { asm volatile("msr fpcr, %0" ::"r"(before_)); }

private:
    uint64_t before_;
#endif
};

// ---- integers and bits -------------------------------------------------------------------------------------------

// The same bits read as another vector, such as bits<IntVec<T>>(x).
template <class To, class From>
FORCE_INLINE To bits(From v) {
    static_assert(sizeof(To) == sizeof(From));
    return (To)v;
}

// Numbers to integers and back, lane by lane, towards zero. Between double and int64 this is one instruction with
// AVX-512 only; `nearest` below is fast everywhere.
template <class T>
FORCE_INLINE IntVec<T> to_integer(std::type_identity_t<Vec<T>> x) { return __builtin_convertvector(x, IntVec<T>); }

template <class T>
FORCE_INLINE Vec<T> from_integer(std::type_identity_t<IntVec<T>> i) { return __builtin_convertvector(i, Vec<T>); }

// The nearest integer to x (ties to even), as a number and as an integer. Adding 1.5·2^23 (2^52 for double) pushes the
// fraction out of the significand and leaves the integer in its low bits. Needs |x| < 2^22 (2^51).
template <class T>
struct Nearest {
    Vec<T> number;
    IntVec<T> integer;
};

template <class T>
FORCE_INLINE Nearest<T> nearest(std::type_identity_t<Vec<T>> x) {
    constexpr T shift = sizeof(T) == 4 ? T(0x1.8p23) : T(0x1.8p52);
    Vec<T> shifted = x + broadcast<T>(shift);
    return {shifted - broadcast<T>(shift), bits<IntVec<T>>(shifted) - bits<IntVec<T>>(broadcast<T>(shift))};
}

// ---- sums whose order does not depend on the width ---------------------------------------------------------------

inline constexpr int virtual_lanes = 16;

// Sixteen running sums, whatever the hardware's width: lane i takes the elements i, i + 16, i + 32, … and `sum` halves:
// (0 + 8), (1 + 9), …, then 4, 2, 1. So AVX2 and AVX-512, float and double, add in the same order.
template <class T>
struct Lanes16 {
    static constexpr int vectors = virtual_lanes / lanes<T>;
    Vec<T> v[vectors];

    FORCE_INLINE static Lanes16 zeros() {
        Lanes16 r;
        for (int j = 0; j < vectors; ++j) r.v[j] = Vec<T>{};
        return r;
    }

    FORCE_INLINE static Lanes16 load(const T* p) {
        Lanes16 r;
        for (int j = 0; j < vectors; ++j) r.v[j] = load_unaligned(p + j * lanes<T>);
        return r;
    }

    // The first n of sixteen; the others are 0.
    FORCE_INLINE static Lanes16 load_partial(const T* p, int n) {
        Lanes16 r;
        for (int j = 0; j < vectors; ++j) {
            int rest = n - j * lanes<T>;
            r.v[j] = rest > 0 ? chainrule::load_partial(p + j * lanes<T>, rest) : Vec<T>{};
        }
        return r;
    }

    FORCE_INLINE void add(const Lanes16& a) {
        for (int j = 0; j < vectors; ++j) v[j] += a.v[j];
    }

    FORCE_INLINE void add_product(const Lanes16& a, const Lanes16& b) {
        for (int j = 0; j < vectors; ++j) v[j] = fma(a.v[j], b.v[j], v[j]);
    }

    FORCE_INLINE T sum() const {
        Vec<T> half[vectors];
        for (int j = 0; j < vectors; ++j) half[j] = v[j];
        for (int n = vectors / 2; n > 0; n /= 2)
            for (int j = 0; j < n; ++j) half[j] += half[j + n];
        return fold<lanes<T> / 2>(half[0])[0];
    }

private:
    // v + (v moved down by S lanes), and so on with half of S: lane 0 ends with the sum.
    template <int S>
    FORCE_INLINE static Vec<T> fold(Vec<T> v) {
        if constexpr (S == 0) return v;
        else return fold<S / 2>(v + moved<S>(v, std::make_integer_sequence<int, lanes<T>>{}));
    }
    template <int S, int... I>
    FORCE_INLINE static Vec<T> moved(Vec<T> v, std::integer_sequence<int, I...>) {
        return __builtin_shufflevector(v, v, ((I + S) % lanes<T>)...);
    }
};

// Σ_i f(i) over i < n for an f that gives sixteen values from element i on (and, for the tail, the first few).
template <class T, class Full, class Tail>
FORCE_INLINE T sum16(int64_t n, Full full, Tail tail) {
    Lanes16<T> sums = Lanes16<T>::zeros();
    int64_t i = 0;
    for (; i + virtual_lanes <= n; i += virtual_lanes) sums.add(full(i));
    if (i < n) sums.add(tail(i, int(n - i)));
    return sums.sum();
}

}  // namespace chainrule
