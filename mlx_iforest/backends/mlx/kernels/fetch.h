// Rows that lie in the host's page-locked memory, read over the bus into an array of the device.
//
// `place` is an address of the host, lower half first, and the number of words of 32 bits that lie there.
// ---- body ----
const uint64_t n_words = place[2];
const uint64_t step = (uint64_t)N_GROUPS * THREADS;
const float* const host = AT_ADDRESS(const float, place);
// Many loads of a thread are under way at once: the bus answers late.
const uint32_t AHEAD = 8u;
uint64_t i = (uint64_t)GROUP * THREADS + THREAD;
for (; i + (AHEAD - 1u) * step < n_words; i += AHEAD * step) {
    float words[AHEAD];
    UNROLL for (uint32_t k = 0u; k < AHEAD; k++) words[k] = host[i + k * step];
    UNROLL for (uint32_t k = 0u; k < AHEAD; k++) rows[i + k * step] = words[k];
}
for (; i < n_words; i += step) rows[i] = host[i];
