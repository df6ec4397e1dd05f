// Grows isolation trees, each by one group of threads, level by level; growing_kernels.py is the same on the CPU.
//
// A SIMD group takes one node of the level at a time: its lanes read 32 rows together, agree on the range, and send
// the rows to either side; all SIMD groups take the few large nodes together. The order of a node's rows changes
// nothing, so those that go right are laid from the back.
//
// plan: seed (2 words), first tree, rows, features, columns a tree, rows a tree, depth limit, where rows come from;
// then the rows of each tree, where they are given. sizes:
// the number of nodes of each tree. nodes: each for all trees side by side, features (with the side of missing values
// in the highest bit), thresholds, counts and left shares. scratch: of each tree two orders of its rows, values, and
// of each node where its rows begin, its number and how many rows go left.
//
// Shared: in `keys` those of the tree's rows (0) and splits (2), and of the rounds that permute rows (4) and features
// (12); the large nodes of the level; in `sums`, `lows` and `highs` what the threads tell each other.

#define ROTATE(x, r) (((x) << (r)) | ((x) >> (32 - (r))))
#define MIX(x0, x1, r) x0 += x1; x1 = ROTATE(x1, r) ^ x0;
#define MIX_EVEN(x0, x1) MIX(x0, x1, 13) MIX(x0, x1, 15) MIX(x0, x1, 26) MIX(x0, x1, 6)
#define MIX_ODD(x0, x1) MIX(x0, x1, 17) MIX(x0, x1, 29) MIX(x0, x1, 16) MIX(x0, x1, 24)
// The counter in x0 and x1 becomes the draw.
#define THREEFRY(key0, key1, x0, x1) { \
    const uint32_t key2 = (key0) ^ (key1) ^ 0x1BD11BDAu; \
    x0 += (key0); x1 += (key1); \
    MIX_EVEN(x0, x1) x0 += (key1); x1 += key2 + 1u; \
    MIX_ODD(x0, x1) x0 += key2; x1 += (key0) + 2u; \
    MIX_EVEN(x0, x1) x0 += (key0); x1 += (key1) + 3u; \
    MIX_ODD(x0, x1) x0 += (key1); x1 += key2 + 4u; \
    MIX_EVEN(x0, x1) x0 += key2; x1 += (key0) + 5u; }
#define PERMUTE(x, round_keys, size, mask, shift) do { \
    for (uint32_t r = 0u; r < 4u; r++) { \
        x = (x * keys[(round_keys) + 2u * r] + keys[(round_keys) + 2u * r + 1u]) & (mask); \
        x ^= x >> (shift); \
    } } while (x >= (size))
// Whole numbers in the order of the floats, and back.
#define TO_KEY(bits) (((bits) & 0x80000000u) ? ~(bits) : (bits) | 0x80000000u)
#define FROM_KEY(key) (((key) & 0x80000000u) ? (key) ^ 0x80000000u : ~(key))
#define IS_RANGE(low, high) (BITS_TO_FLOAT(FROM_KEY(low)) < BITS_TO_FLOAT(FROM_KEY(high)))
#define GOES_LEFT(x) ((x) <= t || (to_left && (x) != (x)))
#define VALUE(row, feature) LOAD(X, (uint64_t)(row) * n_features + (feature))

// ---- body ----
const uint32_t NONE = 0xFFFFFFFFu;
const uint32_t LEAF = 0x7FFFFFFFu;
const uint32_t ATTEMPTS = 4u;
const uint32_t IN_FLIGHT = 6u;
const uint32_t SIMD_GROUPS = THREADS / 32u;

const uint32_t first_tree = plan[2];
const uint32_t n_samples = plan[3];
const uint32_t n_features = plan[4];
const uint32_t n_columns = plan[5];
const uint32_t subsample = plan[6];
const uint32_t max_depth = plan[7];
const uint32_t row_source = plan[8];  // 0: all, 1: permuted, 2: with replacement, 3: the table
POINTER(const uint32_t) row_table = plan + 9u;
const uint32_t most = 2u * subsample - 1u;
// Rows from which on a node is a fair share of the level's work for a SIMD group, or more.
const uint32_t large = MAX((uint32_t)LARGE, (subsample + SIMD_GROUPS - 1u) / SIMD_GROUPS);

const uint64_t at_tree = (uint64_t)GROUP * (3u * (uint64_t)subsample + 3u * (uint64_t)most);
POINTER(uint32_t) values = scratch + at_tree;
POINTER(uint32_t) orders = values + subsample;
POINTER(uint32_t) starts = orders + 2u * (uint64_t)subsample;
POINTER(uint32_t) heaps = starts + most;
POINTER(uint32_t) lefts = heaps + most;
POINTER(uint32_t) features = nodes + (uint64_t)GROUP * most;
POINTER(uint32_t) thresholds = features + (uint64_t)N_GROUPS * most;
POINTER(uint32_t) counts = thresholds + (uint64_t)N_GROUPS * most;
POINTER(uint32_t) shares = counts + (uint64_t)N_GROUPS * most;

if (THREAD < 9u) {
    const uint32_t stream = THREAD < 4u ? 1u : THREAD < 8u ? 2u : 0u;
    uint32_t key0 = first_tree + GROUP;
    uint32_t key1 = stream;
    THREEFRY(plan[0], plan[1], key0, key1)
    if (stream != 0u) {
        uint32_t multiplier = THREAD & 3u;
        uint32_t increment = 0u;
        THREEFRY(key0, key1, multiplier, increment)
        keys[4u + 2u * THREAD] = multiplier | 1u;
        keys[5u + 2u * THREAD] = increment;
    }
    if (THREAD == 0u || THREAD == 8u) {
        keys[THREAD / 4u] = key0;
        keys[THREAD / 4u + 1u] = key1;
    }
}
BARRIER();

uint32_t row_bits = 1u;
while (((uint64_t)1u << row_bits) < n_samples) row_bits++;
const uint32_t row_mask = 0xFFFFFFFFu >> (32u - row_bits);
uint32_t feature_bits = 1u;
while (((uint64_t)1u << feature_bits) < n_features) feature_bits++;
const uint32_t feature_mask = 0xFFFFFFFFu >> (32u - feature_bits);
for (uint32_t i = THREAD; i < subsample; i += THREADS) {
    uint32_t row = i;
    if (row_source == 1u) {
        PERMUTE(row, 4u, n_samples, row_mask, (row_bits + 1u) / 2u);
    } else if (row_source == 2u) {
        uint32_t other = 0u;
        THREEFRY(keys[0], keys[1], row, other)
        row = MULHI(row, n_samples);
    } else if (row_source == 3u) {
        row = row_table[(uint64_t)GROUP * subsample + i];
    }
    orders[i] = row;
}
if (THREAD == 0u) {
    starts[0] = 0u;
    heaps[0] = 1u;
    lefts[0] = 0u;
    features[0] = LEAF;
    thresholds[0] = 0u;
    counts[0] = subsample;
    shares[0] = 0u;
}
DEVICE_BARRIER();

uint32_t level_first = 0u;
uint32_t level_end = 1u;
for (uint32_t depth = 0u; depth < max_depth && level_first < level_end; depth++) {
    POINTER(uint32_t) order = orders + (uint64_t)(depth & 1u) * subsample;
    POINTER(uint32_t) next_order = orders + (uint64_t)((depth + 1u) & 1u) * subsample;
    uint32_t n_large = 0u;
    for (uint32_t base = level_first; base < level_end && subsample >= large; base += THREADS) {
        const bool is_large = base + THREAD < level_end && counts[MIN(base + THREAD, level_end - 1u)] >= large;
        const uint32_t ballot = SIMD_BALLOT(is_large);
        if (LANE == 0u) sums[SIMD_GROUP] = POPCOUNT(ballot);
        BARRIER();
        uint32_t before = n_large + POPCOUNT(ballot & ((1u << LANE) - 1u));
        for (uint32_t g = 0u; g < SIMD_GROUPS; g++) {
            before += g < SIMD_GROUP ? sums[g] : 0u;
            n_large += sums[g];
        }
        if (is_large) large_nodes[before] = base + THREAD;
        BARRIER();
    }
    // First the large nodes, all threads together, then the others, as many at a time as there are SIMD groups.
    uint32_t turn = 0u;
    while (turn < n_large || level_first + (turn - n_large) * SIMD_GROUPS + SIMD_GROUP < level_end) {
        const bool together = turn < n_large;
        uint32_t node = level_first + (turn - n_large) * SIMD_GROUPS + SIMD_GROUP;
        if (together) node = large_nodes[turn];
        const uint32_t size = counts[node];
        turn++;
        if (size > 1u && together == (size >= large)) {
            const uint32_t first = starts[node];
            const uint32_t me = together ? THREAD : LANE;
            const uint32_t width = together ? THREADS : 32u;
            // Each lane makes the draws of one attempt.
            uint32_t words0 = heaps[node];
            uint32_t words1 = LANE;
            THREEFRY(keys[2], keys[3], words0, words1)
            uint32_t feature = 0u;
            uint32_t word = 0u;
            uint32_t low = 0u;
            uint32_t high = 0u;
            bool missing = false;
            bool found = false;
            bool possible = true;
            for (uint32_t attempt = 0u; attempt <= ATTEMPTS && possible && !found; attempt++) {
                const uint32_t word0 = SIMD_SHUFFLE(words0, attempt);
                word = SIMD_SHUFFLE(words1, attempt);
                uint32_t column = NONE;
                if (attempt == ATTEMPTS) {
                    // Twice over the columns, 32 at a time: for the number of those that vary here, and to pick one.
                    uint32_t total = 0u;
                    uint32_t target = 0u;
                    for (uint32_t pass = 0u; pass < 2u && possible; pass++) {
                        for (uint32_t block = 0u; block < n_columns && column == NONE; block += 32u) {
                            const uint32_t mine = block + LANE;
                            uint32_t f = mine < n_columns ? mine : 0u;
                            if (n_columns < n_features) {
                                PERMUTE(f, 12u, n_features, feature_mask, (feature_bits + 1u) / 2u);
                            }
                            uint32_t lowest = 0xFFFFFFFFu;
                            uint32_t highest = 0u;
                            const uint32_t stride = width / 32u * IN_FLIGHT;
                            for (uint32_t base = me / 32u * IN_FLIGHT; base < size; base += stride) {
                                float x[IN_FLIGHT];
                                UNROLL for (uint32_t k = 0u; k < IN_FLIGHT; k++) {
                                    const uint32_t i = base + k < size ? base + k : size - 1u;
                                    x[k] = VALUE(order[first + i], f);
                                }
                                UNROLL for (uint32_t k = 0u; k < IN_FLIGHT; k++) {
                                    if (x[k] == x[k]) {
                                        const uint32_t key = TO_KEY(FLOAT_TO_BITS(x[k]));
                                        lowest = MIN(lowest, key);
                                        highest = MAX(highest, key);
                                    }
                                }
                            }
                            if (together) {
                                lows[THREAD] = lowest;
                                highs[THREAD] = highest;
                                BARRIER();
                                for (uint32_t g = 0u; g < SIMD_GROUPS; g++) {
                                    lowest = MIN(lowest, lows[32u * g + LANE]);
                                    highest = MAX(highest, highs[32u * g + LANE]);
                                }
                                BARRIER();
                            }
                            const uint32_t varies = mine < n_columns && IS_RANGE(lowest, highest) ? 1u : 0u;
                            const uint32_t of_block = SIMD_SUM(varies);
                            if (pass == 0u) {
                                total += of_block;
                            } else if (target >= of_block) {
                                target -= of_block;
                            } else {
                                for (uint32_t lane = 0u; lane < 32u; lane++) {
                                    const uint32_t of_lane = SIMD_SHUFFLE(varies, lane);
                                    if (column == NONE && target < of_lane) column = block + lane;
                                    target -= column == NONE ? of_lane : 0u;
                                }
                            }
                        }
                        target = MULHI(word0, total);
                        possible = total > 0u;
                    }
                } else {
                    column = MULHI(word0, n_columns);
                }
                if (possible) {
                    feature = column;
                    if (n_columns < n_features) {
                        PERMUTE(feature, 12u, n_features, feature_mask, (feature_bits + 1u) / 2u);
                    }
                    low = 0xFFFFFFFFu;
                    high = 0u;
                    bool any_missing = false;
                    for (uint32_t base = 0u; base < size; base += width * IN_FLIGHT) {
                        // Places behind the end read the last row again, which changes no range.
                        const uint32_t steps = (size - base + width - 1u) / width;
                        float x[IN_FLIGHT];
                        UNROLL for (uint32_t k = 0u; k < IN_FLIGHT; k++) {
                            const uint32_t i = base + width * k + me;
                            if (k < steps) x[k] = VALUE(order[first + (i < size ? i : size - 1u)], feature);
                        }
                        UNROLL for (uint32_t k = 0u; k < IN_FLIGHT; k++) {
                            const uint32_t i = base + width * k + me;
                            if (k < steps) {
                                const uint32_t bits = FLOAT_TO_BITS(x[k]);
                                if (i < size) values[first + i] = bits;
                                if (x[k] == x[k]) {
                                    const uint32_t key = TO_KEY(bits);
                                    low = MIN(low, key);
                                    high = MAX(high, key);
                                } else {
                                    any_missing = true;
                                }
                            }
                        }
                    }
                    low = SIMD_MIN(low);
                    high = SIMD_MAX(high);
                    missing = SIMD_BALLOT(any_missing) != 0u;
                    if (together) {
                        if (LANE == 0u) {
                            lows[SIMD_GROUP] = low;
                            highs[SIMD_GROUP] = high;
                            sums[SIMD_GROUP] = missing ? 1u : 0u;
                        }
                        BARRIER();
                        for (uint32_t g = 0u; g < SIMD_GROUPS; g++) {
                            low = MIN(low, lows[g]);
                            high = MAX(high, highs[g]);
                            missing = missing || sums[g] != 0u;
                        }
                        BARRIER();
                    }
                    found = IS_RANGE(low, high);
                }
            }
            if (found) {
                const float lower = BITS_TO_FLOAT(FROM_KEY(low));
                const float upper = BITS_TO_FLOAT(FROM_KEY(high));
                const float half_lower = MUL(lower, 0.5f);
                const float extent = SUB(MUL(upper, 0.5f), half_lower);
                const float u = MUL((float)(word >> 8), 5.9604644775390625e-08f);
                float t = MUL(2.0f, ADD(half_lower, MUL(u, extent)));
                if (t < lower || t >= upper) t = lower;
                t = ADD(t, 0.0f);
                const bool to_left = (word & 1u) == 1u;
                // Where the next rows go, from the front and from the back.
                uint32_t left_at = 0u;
                uint32_t right_at = 0u;
                if (together) {
                    uint32_t of_simd = 0u;
                    uint32_t left_of_simd = 0u;
                    for (uint32_t i = THREAD; i < size; i += THREADS) {
                        const float x = BITS_TO_FLOAT(values[first + i]);
                        of_simd++;
                        left_of_simd += GOES_LEFT(x) ? 1u : 0u;
                    }
                    of_simd = SIMD_SUM(of_simd);
                    left_of_simd = SIMD_SUM(left_of_simd);
                    if (LANE == 0u) {
                        lows[SIMD_GROUP] = left_of_simd;
                        highs[SIMD_GROUP] = of_simd - left_of_simd;
                    }
                    BARRIER();
                    for (uint32_t g = 0u; g < SIMD_GROUP; g++) {
                        left_at += lows[g];
                        right_at += highs[g];
                    }
                    BARRIER();
                }
                for (uint32_t base = me - LANE; base < size; base += width * IN_FLIGHT) {
                    const uint32_t steps = (size - base + width - 1u) / width;
                    float x[IN_FLIGHT];
                    uint32_t row[IN_FLIGHT];
                    UNROLL for (uint32_t k = 0u; k < IN_FLIGHT; k++) {
                        const uint32_t i = base + width * k + LANE;
                        if (k < steps && i < size) {
                            x[k] = BITS_TO_FLOAT(values[first + i]);
                            row[k] = order[first + i];
                        }
                    }
                    UNROLL for (uint32_t k = 0u; k < IN_FLIGHT; k++) {
                        if (k < steps) {
                            const bool there = base + width * k + LANE < size;
                            const bool goes_left = there && GOES_LEFT(x[k]);
                            const uint32_t ballot = SIMD_BALLOT(goes_left);
                            const uint32_t before = POPCOUNT(ballot & ((1u << LANE) - 1u));
                            const uint32_t from_back = size - 1u - (right_at + LANE - before);
                            if (there) next_order[first + (goes_left ? left_at + before : from_back)] = row[k];
                            left_at += POPCOUNT(ballot);
                            right_at += MIN(32u, size - (base + width * k)) - POPCOUNT(ballot);
                        }
                    }
                }
                // The last of the SIMD groups knows all that the others did.
                if ((!together || SIMD_GROUP == SIMD_GROUPS - 1u) && LANE == 0u) {
                    const uint32_t n_left = left_at;
                    const bool missing_left = missing ? to_left : n_left >= size - n_left;
                    features[node] = feature | (missing_left ? 0x80000000u : 0u);
                    thresholds[node] = FLOAT_TO_BITS(t);
                    const float tiny = 1.17549435e-38f;
                    shares[node] = FLOAT_TO_BITS(SUB(MUL(t, 0.5f), half_lower) / (extent > tiny ? extent : tiny));
                    lefts[node] = n_left;
                }
            }
        }
    }
    DEVICE_BARRIER();
    // Children are numbered in the order of their parents; they are leaves until they split.
    uint32_t n_nodes = level_end;
    for (uint32_t base = level_first; base < level_end; base += THREADS) {
        const uint32_t node = base + THREAD;
        const uint32_t n_left = node < level_end ? lefts[node] : 0u;
        const uint32_t ballot = SIMD_BALLOT(n_left > 0u);
        if (LANE == 0u) sums[SIMD_GROUP] = POPCOUNT(ballot);
        BARRIER();
        uint32_t before = POPCOUNT(ballot & ((1u << LANE) - 1u));
        uint32_t all = 0u;
        for (uint32_t g = 0u; g < SIMD_GROUPS; g++) {
            before += g < SIMD_GROUP ? sums[g] : 0u;
            all += sums[g];
        }
        if (n_left > 0u) {
            for (uint32_t side = 0u; side < 2u; side++) {
                const uint32_t child = n_nodes + 2u * before + side;
                starts[child] = starts[node] + (side == 0u ? 0u : n_left);
                heaps[child] = 2u * heaps[node] + side;
                lefts[child] = 0u;
                features[child] = LEAF;
                thresholds[child] = 0u;
                counts[child] = side == 0u ? n_left : counts[node] - n_left;
                shares[child] = 0u;
            }
        }
        n_nodes += 2u * all;
        DEVICE_BARRIER();
    }
    level_first = level_end;
    level_end = n_nodes;
}
if (THREAD == 0u) sizes[GROUP] = level_end;
