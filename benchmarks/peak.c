/* The most multiplications and additions that a core can do: independent fused multiply-adds, with nothing to load. */
#if defined(__AVX512F__)
enum { BYTES = 64, CHAINS = 24 };
#elif defined(__AVX__)
enum { BYTES = 32, CHAINS = 12 };
#else
enum { BYTES = 16, CHAINS = 12 };
#endif

typedef float vector __attribute__((vector_size(BYTES)));

/* Returns the operations done, two for each multiply-add of a number; `sink` keeps the compiler from leaving out any. */
double multiply_add(long rounds, float factor, float *sink) {
    vector chain[CHAINS], by = factor - (vector){0}, plus = by;
    for (int i = 0; i < CHAINS; ++i) chain[i] = by * (float)i;
    for (long round = 0; round < rounds; ++round) {
        _Pragma("GCC unroll 24") for (int i = 0; i < CHAINS; ++i) chain[i] = chain[i] * by + plus;
    }
    for (int i = 0; i < CHAINS; ++i) *sink += chain[i][0];
    return 2.0 * (BYTES / sizeof(float)) * CHAINS * (double)rounds;
}
