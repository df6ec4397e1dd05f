// Adds up, for every row, the values of its leaves in all trees.
//
// A group takes a tile of ROWS rows at a time, and the trees a chunk at a time, as many as shared memory holds. Rows lie
// there feature by feature, so that 32 threads read 32 banks whatever features they ask for. ILP trees of a thread are
// walked side by side: they do not wait for each other. Where a tile has fewer rows than the group has threads, SPLITS
// threads share a row, each with its own trees.
//
// A node is two words, the bits of the threshold and a link: bit 0 says that missing values go left, bit 1 that it is
// a leaf; above them the feature and the left child, counted from the chunk's first node. A leaf is its own child, so
// that all walk a tree's whole depth without a branch; its first word is its value or, where leaves have N_VALUES > 1 values,
// its place among the chunk's leaves.
//
// With RANKS a row's values are codes of 8 bits in registers, the number of thresholds of their feature below them, and
// a node is one word: from the lowest bit on the side of missing values, the left child as the distance of its bytes
// from those of the tree's root, from bit 12 the feature, in the upper 8 bits the code of the threshold, so that
// comparing codes with the whole node compares codes. A leaf's code is the largest: nothing goes right. All nodes have
// values, beside them.
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
const uint32_t ROWS = THREADS / SPLITS;
const uint32_t n_rows = sizes[0];
const uint32_t n_chunks = sizes[1];
const uint32_t lane = THREAD % ROWS;
const uint32_t split = THREAD / ROWS;

#if STAGED
#if RANKS
#define NODE(at) BYTES_AT(uint32_t, staged_nodes, at)
#else
#define NODE(at) staged_nodes[at]
#endif
#define HEAD(tree) staged_trees[(tree) - first_tree]
#define LEAF_VALUE(i) staged_values[i]
#else
#define NODE(at) VIEW(uint2, nodes)[at]
#define HEAD(tree) trees[tree]
#define LEAF_VALUE(i) LOAD(values, i)
#endif

#if RANKS
#define NODE_TYPE uint32_t
#define X_TYPE uint32_t
#define ROW_VALUE(node) picked_code(low_codes, high_codes, node)
#define GOES_RIGHT(value, node, CHECKED) \
    ((value) > (node) && !(CHECKED && ((node) & 1u) && (value) == 0xFF000000u))
#define FIRST(root) ((root) * 4u)
#define NEXT(node, root, right) ((root) * 4u + ((node) & 0xFFCu) + ((right) ? 4u : 0u))
#define VALUE_OF(leaf_at, k) LEAF_VALUE((leaf_at) / 4u * N_VALUES + (k))
#else
#define NODE_TYPE uint2
#define X_TYPE float
#if TILED
#define FEATURE_VALUE(feature) BYTES_AT(float, tile_rows, (feature) * (ROWS * 4u) + lane * 4u)
#else
#define FEATURE_VALUE(feature) LOAD(X, (uint64_t)MIN(first_row + lane, n_rows - 1u) * N_FEATURES + (feature))
#endif
#define ROW_VALUE(node) FEATURE_VALUE(((node).y >> FEATURE_AT) & FEATURE_MASK)
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
#define PROJECT(x, node_number)                                                                                \
    x = 0.0f;                                                                                                  \
    for (uint32_t w = 0u; w < WIDTH; w++) {                                                                    \
        const uint64_t place = (uint64_t)(first_node + (node_number)) * WIDTH + w;                             \
        const float other = FEATURE_VALUE(LOAD(direction_feature, place));                                     \
        x = ADD(x, MUL(other, LOAD(direction_weight, place)));                                                 \
    }
#else
#define PROJECT(x, node_number)
#endif

// CHECKED is 0 where the tile has no missing value.
#define WALK(CHECKED)                                                                                          \
    for (uint32_t tree = first_tree + split * ILP; tree < last_tree; tree += SPLITS * ILP) {                   \
        uint32_t roots[ILP];                                                                                   \
        uint32_t at[ILP];                                                                                      \
        uint32_t depth = 0u;                                                                                   \
        UNROLL for (uint32_t j = 0u; j < ILP; j++) {                                                           \
            const uint32_t head = HEAD(MIN(tree + j, last_tree - 1u));                                         \
            roots[j] = head & 0xFFFFFFu;                                                                       \
            depth = MAX(depth, head >> 24);                                                                    \
            at[j] = FIRST(roots[j]);                                                                           \
        }                                                                                                      \
        for (uint32_t d = 0u; d < depth; d++) {                                                                \
            NODE_TYPE visited[ILP];                                                                            \
            X_TYPE asked[ILP];                                                                                 \
            UNROLL for (uint32_t j = 0u; j < ILP; j++) visited[j] = NODE(at[j]);                               \
            UNROLL for (uint32_t j = 0u; j < ILP; j++) {                                                       \
                asked[j] = ROW_VALUE(visited[j]);                                                              \
                PROJECT(asked[j], at[j])                                                                       \
            }                                                                                                  \
            UNROLL for (uint32_t j = 0u; j < ILP; j++)                                                         \
                at[j] = NEXT(visited[j], roots[j], GOES_RIGHT(asked[j], visited[j], CHECKED));                 \
        }                                                                                                      \
        UNROLL for (uint32_t j = 0u; j < ILP; j++)                                                             \
            UNROLL for (uint32_t k = 0u; k < N_VALUES; k++) {                                                  \
                const int32_t value = VALUE_OF(at[j], k);                                                      \
                sums[k] += tree + j < last_tree ? value : 0;                                                   \
            }                                                                                                  \
    }

#if STAGED
uint32_t held = n_chunks;
#endif
for (uint32_t tile = GROUP; tile * ROWS < n_rows; tile += N_GROUPS) {
    const uint32_t first_row = tile * ROWS;
    TOTAL sums[N_VALUES];
    UNROLL for (uint32_t k = 0u; k < N_VALUES; k++) sums[k] = 0;
    BARRIER();
    if (THREAD == 0u) any_missing[0] = TILED || RANKS ? 0u : 1u;
    bool missing = false;
#if RANKS
    const uint64_t first_word = (uint64_t)MIN(first_row + lane, n_rows - 1u) * N_WORDS;
    const uint32_t low_codes = LOAD(X, first_word);
    const uint32_t high_codes = N_WORDS > 1u ? LOAD(X, first_word + N_WORDS - 1u) : 0u;
    UNROLL for (uint32_t b = 0u; b < 32u; b += 8u)
        missing = missing || (low_codes >> b & 255u) == 255u || (high_codes >> b & 255u) == 255u;
#elif TILED
    // Neighbouring threads take 8 rows: fewer read memory in one piece, more write to different banks.
    for (uint32_t i = THREAD; i < ROWS * N_FEATURES; i += THREADS) {
        const uint32_t row = i / (8u * N_FEATURES) * 8u + i % 8u;
        const uint32_t feature = i / 8u % N_FEATURES;
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
        UNROLL for (uint32_t k = 0u; k < N_VALUES; k++)
            partial[((split - 1u) * N_VALUES + k) * ROWS + lane] = sums[k];
    BARRIER();
    if (split == 0u)
        for (uint32_t other = 0u; other < SPLITS - 1u; other++)
            UNROLL for (uint32_t k = 0u; k < N_VALUES; k++) {
                const TOTAL part = partial[(other * N_VALUES + k) * ROWS + lane];
                sums[k] += part;
            }
#endif
    if (split == 0u && first_row + lane < n_rows)
        UNROLL for (uint32_t k = 0u; k < N_VALUES; k++) totals[(uint64_t)(first_row + lane) * N_VALUES + k] = sums[k];
}
