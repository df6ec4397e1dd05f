// Adds up, for every row, the values of its leaves in all trees.
//
// A group takes a tile of ROWS rows at a time, and the trees a chunk at a time, as many as shared memory holds. Rows lie
// there feature by feature, so that 32 threads read 32 banks whatever features they ask for. ILP trees and RPT rows of
// a thread are walked side by side: they do not wait for each other. Where a tile has fewer rows than the group has
// threads, SPLITS threads share a row, each with its own trees.
//
// A node is two words, the bits of the threshold and a link: bit 0 says that missing values go left, bit 1 that it is
// a leaf; above them the feature and the left child, counted from the chunk's first node. A leaf is its own child, so
// that all walk a tree's whole depth without a branch; its first word is its value or, where leaves have N_VALUES > 1 values,
// its place among the chunk's leaves.
//
// With RANKS a row's values are codes, the number of thresholds of their feature below them, and a node is one word:
// from the lowest bit on the side of missing values, the left child as the distance of its bytes from those of the
// tree's root, the feature, the code of the threshold. Codes lie in the same upper bits, so that comparing them with
// the whole node compares codes. A leaf's code is the largest: nothing goes right. All nodes have values, beside them.
//
// sizes: rows, chunks. chunks: of each the first tree, node and leaf, and those behind the last. trees: the root,
// counted from the chunk's first node, and the depth in the upper 8 bits.
FUNCTION uint32_t first_word(uint2 node) { return node.x; }

// In the upper 8 bits, the code that bits 12 to 14 of a node ask for; bit 15 is 0.
FUNCTION uint32_t picked_code(uint32_t low_codes, uint32_t high_codes, uint32_t node) {
#ifdef __CUDACC__
    uint32_t codes;
    asm("prmt.b32 %0, %1, %2, %3;" : "=r"(codes) : "r"(low_codes), "r"(high_codes), "r"(node));
    return codes & 0xFF000000u;
#else
    return ((node & 0x4000u ? high_codes : low_codes) >> ((node >> 9) & 24u)) << 24;
#endif
}
// ---- body ----
#if WIDE
#define TOTAL int64_t
#else
#define TOTAL int32_t
#endif
const uint32_t ROW_LANES = THREADS / SPLITS;
const uint32_t ROWS = ROW_LANES * RPT;
const uint32_t n_rows = sizes[0];
const uint32_t n_chunks = sizes[1];
const uint32_t lane = THREAD % ROW_LANES;
const uint32_t split = THREAD / ROW_LANES;

#if STAGED
#if RANKS
#define NODE(at) BYTES_AT(uint32_t, staged_nodes, at)
#else
#define NODE(at) staged_nodes[at]
#endif
#define HEAD(tree) staged_trees[(tree) - first_tree]
#define LEAF_VALUE(i) staged_values[i]
#elif RANKS
#define NODE(at) LOAD(nodes, (at) / 4u)
#define HEAD(tree) trees[tree]
#define LEAF_VALUE(i) LOAD(values, i)
#else
#define NODE(at) VIEW(uint2, nodes)[at]
#define HEAD(tree) trees[tree]
#define LEAF_VALUE(i) LOAD(values, i)
#endif

#define ROW(r) ((r) * ROW_LANES + lane)
#define DEVICE_VALUE(r, feature) LOAD(X, (uint64_t)MIN(first_row + ROW(r), n_rows - 1u) * N_FEATURES + (feature))
#define FEATURE(link) (((link) >> FEATURE_AT) & FEATURE_MASK)

#if RANKS
#define NODE_TYPE uint32_t
#define X_TYPE uint32_t
#if REGISTERS
#define ROW_VALUE(r, node) picked_code(low_codes[r], high_codes[r], node)
#else
#define ROW_VALUE(r, node) BYTES_AT(uint32_t, tile_rows, FEATURE(node) * (ROWS * 4u) + ROW(r) * 4u)
#endif
#define GOES_RIGHT(value, node, CHECKED) \
    ((value) > (node) && !(CHECKED && ((node) & 1u) && (value) == MISSING_CODE << RANK_AT))
#define FIRST(root) ((root) * 4u)
#define NEXT(node, root, right) ((root) * 4u + ((node) & LEFT_MASK) + ((right) ? 4u : 0u))
#define VALUE_OF(leaf_at, k) LEAF_VALUE((leaf_at) / 4u * N_VALUES + (k))
#else
#define NODE_TYPE uint2
#define X_TYPE float
#if TILED
#define FEATURE_VALUE(r, feature) BYTES_AT(float, tile_rows, (feature) * (ROWS * 4u) + ROW(r) * 4u)
#else
#define FEATURE_VALUE(r, feature) DEVICE_VALUE(r, feature)
#endif
#define ROW_VALUE(r, node) FEATURE_VALUE(r, FEATURE((node).y))
#define GOES_RIGHT(value, node, CHECKED) \
    (!((value) <= BITS_TO_FLOAT((node).x)) && !((node).y & 2u) && !(CHECKED && (value) != (value) && ((node).y & 1u)))
#define FIRST(root) (root)
#define NEXT(node, root, right) (((node).y >> LEFT_AT) + ((right) ? 1u : 0u))
#if N_VALUES == 1
#define VALUE_OF(leaf_at, k) (int32_t)first_word(NODE(leaf_at))
#else
#define VALUE_OF(leaf_at, k) LEAF_VALUE(first_word(NODE(leaf_at)) * N_VALUES + (k))
#endif
#endif

#if WIDTH
#define PROJECT(x, r, node_number)                                                                             \
    x = 0.0f;                                                                                                  \
    for (uint32_t w = 0u; w < WIDTH; w++) {                                                                    \
        const uint64_t place = (uint64_t)(first_node + (node_number)) * WIDTH + w;                             \
        const float other = FEATURE_VALUE(r, LOAD(direction_feature, place));                                  \
        x = ADD(x, MUL(other, LOAD(direction_weight, place)));                                                 \
    }
#else
#define PROJECT(x, r, node_number)
#endif

// CHECKED is 0 where the tile has no missing value.
#define WALK(CHECKED)                                                                                          \
    for (uint32_t tree = first_tree + split * ILP; tree < last_tree; tree += SPLITS * ILP) {                   \
        uint32_t roots[ILP];                                                                                   \
        uint32_t at[ILP * RPT];                                                                                \
        uint32_t depth = 0u;                                                                                   \
        UNROLL for (uint32_t j = 0u; j < ILP; j++) {                                                           \
            const uint32_t head = HEAD(MIN(tree + j, last_tree - 1u));                                         \
            roots[j] = head & 0xFFFFFFu;                                                                       \
            depth = MAX(depth, head >> 24);                                                                    \
            UNROLL for (uint32_t r = 0u; r < RPT; r++) at[j * RPT + r] = FIRST(roots[j]);                      \
        }                                                                                                      \
        for (uint32_t d = 0u; d < depth; d++) {                                                                \
            NODE_TYPE visited[ILP * RPT];                                                                      \
            X_TYPE asked[ILP * RPT];                                                                           \
            UNROLL for (uint32_t c = 0u; c < ILP * RPT; c++) visited[c] = NODE(at[c]);                         \
            UNROLL for (uint32_t c = 0u; c < ILP * RPT; c++) {                                                 \
                asked[c] = ROW_VALUE(c % RPT, visited[c]);                                                     \
                PROJECT(asked[c], c % RPT, at[c])                                                              \
            }                                                                                                  \
            UNROLL for (uint32_t c = 0u; c < ILP * RPT; c++)                                                   \
                at[c] = NEXT(visited[c], roots[c / RPT], GOES_RIGHT(asked[c], visited[c], CHECKED));           \
        }                                                                                                      \
        UNROLL for (uint32_t c = 0u; c < ILP * RPT; c++)                                                       \
            UNROLL for (uint32_t k = 0u; k < N_VALUES; k++) {                                                         \
                const int32_t value = VALUE_OF(at[c], k);                                                      \
                sums[c % RPT * N_VALUES + k] += tree + c / RPT < last_tree ? value : 0;                               \
            }                                                                                                  \
    }

#if STAGED
uint32_t held = n_chunks;
#endif
for (uint32_t tile = GROUP; tile * ROWS < n_rows; tile += N_GROUPS) {
    const uint32_t first_row = tile * ROWS;
    TOTAL sums[RPT * N_VALUES];
    UNROLL for (uint32_t i = 0u; i < RPT * N_VALUES; i++) sums[i] = 0;
    BARRIER();
    if (THREAD == 0u) any_missing[0] = TILED || REGISTERS ? 0u : 1u;
    bool missing = false;
#if REGISTERS
    uint32_t low_codes[RPT];
    uint32_t high_codes[RPT];
    UNROLL for (uint32_t r = 0u; r < RPT; r++) {
        const uint64_t first_word = (uint64_t)MIN(first_row + ROW(r), n_rows - 1u) * N_WORDS;
        low_codes[r] = LOAD(X, first_word);
        high_codes[r] = N_WORDS > 1u ? LOAD(X, first_word + N_WORDS - 1u) : 0u;
        UNROLL for (uint32_t b = 0u; b < 32u; b += 8u)
            missing = missing || (low_codes[r] >> b & 255u) == MISSING_CODE || (high_codes[r] >> b & 255u) == MISSING_CODE;
    }
#elif TILED && RANKS
    for (uint32_t i = THREAD; i < ROWS * N_WORDS; i += THREADS) {
        const uint32_t row = i / (LOAD_ROWS * N_WORDS) * LOAD_ROWS + i % LOAD_ROWS;
        const uint32_t word = i / LOAD_ROWS % N_WORDS;
        const uint32_t codes = LOAD(X, (uint64_t)MIN(first_row + row, n_rows - 1u) * N_WORDS + word);
        UNROLL for (uint32_t b = 0u; b < 32u / CODE_BITS; b++) {
            const uint32_t code = codes >> (b * CODE_BITS) & ((1u << CODE_BITS) - 1u);
            missing = missing || code == MISSING_CODE;
            tile_rows[(word * (32u / CODE_BITS) + b) * ROWS + row] = code << RANK_AT;
        }
    }
#elif TILED
    // Neighbouring threads take LOAD_ROWS rows: fewer read memory in one piece, more write to different banks.
    for (uint32_t i = THREAD; i < ROWS * N_FEATURES; i += THREADS) {
        const uint32_t row = i / (LOAD_ROWS * N_FEATURES) * LOAD_ROWS + i % LOAD_ROWS;
        const uint32_t feature = i / LOAD_ROWS % N_FEATURES;
        const float x = LOAD(X, (uint64_t)MIN(first_row + row, n_rows - 1u) * N_FEATURES + feature);
        missing = missing || x != x;
        tile_rows[feature * ROWS + row] = x;
    }
#endif
    BARRIER();
    if (missing) any_missing[0] = 1u;
    for (uint32_t chunk = 0u; chunk < n_chunks; chunk++) {
        const uint32_t first_tree = chunks[3u * chunk];
        const uint32_t last_tree = chunks[3u * chunk + 3u];
        const uint32_t first_node = chunks[3u * chunk + 1u];
#if STAGED
        if (held != chunk) {
            held = chunk;
            BARRIER();
            const uint32_t n_nodes = chunks[3u * chunk + 4u] - first_node;
#if RANKS
            for (uint32_t i = THREAD; i < n_nodes; i += THREADS) staged_nodes[i] = LOAD(nodes, first_node + i);
#else
            for (uint32_t i = THREAD; i < n_nodes; i += THREADS) staged_nodes[i] = VIEW(uint2, nodes)[first_node + i];
#endif
            for (uint32_t i = THREAD; i < last_tree - first_tree; i += THREADS) staged_trees[i] = trees[first_tree + i];
#if VALUES
            const uint32_t first_value = chunks[3u * chunk + 2u] * N_VALUES;
            const uint32_t n_values = chunks[3u * chunk + 5u] * N_VALUES - first_value;
            for (uint32_t i = THREAD; i < n_values; i += THREADS) staged_values[i] = LOAD(values, first_value + i);
#endif
        }
#endif
        BARRIER();
        const uint32_t is_checked = any_missing[0];
        if (is_checked) {
            WALK(1)
        } else {
            WALK(0)
        }
    }
#if SPLITS > 1
    if (split > 0u)
        UNROLL for (uint32_t i = 0u; i < RPT * N_VALUES; i++)
            partial[((split - 1u) * RPT * N_VALUES + i) * ROW_LANES + lane] = sums[i];
    BARRIER();
    if (split == 0u)
        for (uint32_t other = 0u; other < SPLITS - 1u; other++)
            UNROLL for (uint32_t i = 0u; i < RPT * N_VALUES; i++) {
                const TOTAL part = partial[(other * RPT * N_VALUES + i) * ROW_LANES + lane];
                sums[i] += part;
            }
#endif
    if (split == 0u)
        UNROLL for (uint32_t r = 0u; r < RPT; r++)
            if (first_row + ROW(r) < n_rows)
                UNROLL for (uint32_t k = 0u; k < N_VALUES; k++)
                    totals[(uint64_t)(first_row + ROW(r)) * N_VALUES + k] = sums[r * N_VALUES + k];
}
