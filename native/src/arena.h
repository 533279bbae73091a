// One piece of memory for everything that a network needs while it runs.
//
// The same `lay_out` function runs twice: with an empty arena it only counts (with checks for overflow and against a
// limit), then the memory is taken at once, set to zero, and the second run hands out the addresses. Nothing is
// allocated after that.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <string>

namespace chainrule {

class Arena {
public:
    static constexpr int64_t alignment = 128;  // two cache lines: what prefetchers fetch together

    Arena() = default;
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;
    ~Arena() { std::free(taken_); }

    // Room for n numbers, and 128 bytes behind them that vectors may read and write.
    template <class T>
    T* take(int64_t n) {
        int64_t bytes = 0;
        if (n < 0 || __builtin_mul_overflow(n, int64_t(sizeof(T)), &bytes) ||
            __builtin_add_overflow(bytes, 2 * alignment - 1, &bytes))
            throw std::length_error("the network's memory cannot be counted in 64 bits");
        bytes = bytes / alignment * alignment;
        T* at = base_ ? reinterpret_cast<T*>(base_ + used_) : nullptr;
        if (__builtin_add_overflow(used_, bytes, &used_))
            throw std::length_error("the network's memory cannot be counted in 64 bits");
        return at;
    }

    int64_t used() const { return used_; }

    // Takes what was counted; the next `take` starts at the beginning.
    void allocate(int64_t limit) {
        if (used_ > limit)
            throw std::length_error("the network needs " + std::to_string(used_) + " bytes, and the limit is " +
                                    std::to_string(limit));
        bytes_ = used_;
        // calloc's pages are zero without being written, so what is never used costs nothing. (Huge pages were tried:
        // no faster.)
        taken_ = std::calloc(size_t(bytes_ + alignment), 1);
        if (!taken_) throw std::bad_alloc();
        base_ = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(taken_) / alignment + 1) * alignment);
        used_ = 0;
    }

    int64_t bytes() const { return bytes_; }

private:
    void* taken_ = nullptr;
    char* base_ = nullptr;
    int64_t used_ = 0, bytes_ = 0;
};

// a · b, refusing what does not fit: sizes come from outside.
inline int64_t checked_product(int64_t a, int64_t b) {
    int64_t product = 0;
    if (a < 0 || b < 0 || __builtin_mul_overflow(a, b, &product))
        throw std::length_error("the network's memory cannot be counted in 64 bits");
    return product;
}

}  // namespace chainrule
