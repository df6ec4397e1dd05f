// The SIMD operations of a GPU that has none, such as Apple's before the A14 and the one that a hosted Mac shows: each
// thread says its value in shared memory. Follows the language's own header. The body declares `lanes`, THREADS words.
FUNCTION uint32_t over_lanes(SHARED_POINTER(uint32_t) lanes, uint32_t me, uint32_t operation, uint32_t mine) {
    const uint32_t first = me & ~31u;
    lanes[me] = mine;
    SIMD_BARRIER();
    uint32_t all = operation == 3u ? 0u : lanes[first];
    for (uint32_t lane = operation == 3u ? 0u : 1u; lane < 32u; lane++) {
        const uint32_t other = lanes[first + lane];
        if (operation == 0u) all = MIN(all, other);
        if (operation == 1u) all = MAX(all, other);
        if (operation == 2u) all += other;
        if (operation == 3u) all |= other << lane;
    }
    // The next operation writes where others still read.
    SIMD_BARRIER();
    return all;
}
FUNCTION uint32_t from_lane(SHARED_POINTER(uint32_t) lanes, uint32_t me, uint32_t lane, uint32_t mine) {
    lanes[me] = mine;
    SIMD_BARRIER();
    const uint32_t theirs = lanes[(me & ~31u) + lane];
    SIMD_BARRIER();
    return theirs;
}

#undef SIMD_MIN
#undef SIMD_MAX
#undef SIMD_SUM
#undef SIMD_BALLOT
#undef SIMD_SHUFFLE
#define SIMD_MIN(u) (over_lanes(lanes, THREAD, 0u, static_cast<uint32_t>(u)))
#define SIMD_MAX(u) (over_lanes(lanes, THREAD, 1u, static_cast<uint32_t>(u)))
#define SIMD_SUM(u) (over_lanes(lanes, THREAD, 2u, static_cast<uint32_t>(u)))
#define SIMD_BALLOT(p) (over_lanes(lanes, THREAD, 3u, (p) ? 1u : 0u))
#define SIMD_SHUFFLE(x, lane) (from_lane(lanes, THREAD, static_cast<uint32_t>(lane), static_cast<uint32_t>(x)))
