// One shared object per instruction set is compiled from this file; which one is loaded is decided by the CPU.
#include "engine.h"

#include "loop.h"

namespace chainrule {

namespace {

std::unique_ptr<Engine> create_by_dtype(const Plan& plan) {
    return plan.dtype == DType::float32 ? create<float>(plan) : create<double>(plan);
}

#if defined(__AVX512F__)
constexpr const char* instruction_set = "avx512";
#elif defined(__AVX2__)
constexpr const char* instruction_set = "avx2";
#elif defined(__ARM_NEON)
constexpr const char* instruction_set = "neon";
#else
constexpr const char* instruction_set = "baseline";
#endif

}  // namespace

extern "C" const EngineTable chainrule_engine = {instruction_set, create_by_dtype};

}  // namespace chainrule
