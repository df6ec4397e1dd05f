// The code of every value: how many thresholds of its feature lie below it; 255 where it is missing.
//
// A feature's thresholds, filled up with infinities to 2 ** STEPS - 1, lie in the order of a complete binary search
// tree, which spreads what 32 threads ask for over the banks. A thread makes one word of the codes of a row.
// ---- body ----
const uint32_t n_rows = sizes[0];
const uint32_t PER_WORD = 4u;
const uint32_t WIDTH = (1u << STEPS) - 1u;
for (uint32_t i = THREAD; i < N_FEATURES * WIDTH; i += THREADS) staged[i] = LOAD(thresholds, i);
BARRIER();
const uint64_t n_words = (uint64_t)n_rows * N_WORDS;
for (uint64_t i = (uint64_t)GROUP * THREADS + THREAD; i < n_words; i += (uint64_t)N_GROUPS * THREADS) {
    const uint64_t row = i / N_WORDS;
    const uint32_t first = (uint32_t)(i % N_WORDS) * PER_WORD;
    uint32_t at[PER_WORD];
    float x[PER_WORD];
    UNROLL for (uint32_t b = 0u; b < PER_WORD; b++) {
        at[b] = 0u;
        x[b] = LOAD(X, row * N_FEATURES + MIN(first + b, N_FEATURES - 1u));
    }
    for (uint32_t step = 0u; step < STEPS; step++)
        UNROLL for (uint32_t b = 0u; b < PER_WORD; b++) {
            const float threshold = staged[MIN(first + b, N_FEATURES - 1u) * WIDTH + at[b]];
            at[b] = 2u * at[b] + (threshold < x[b] ? 2u : 1u);
        }
    uint32_t word = 0u;
    UNROLL for (uint32_t b = 0u; b < PER_WORD; b++) {
        const uint32_t code = first + b >= N_FEATURES ? 0u : x[b] != x[b] ? 255u : at[b] - WIDTH;
        word |= code << (8u * b);
    }
    codes[i] = word;
}
