/* Vectors of TILE_BYTES for the templates of tiles, under the names that TILE gives: `lanes`;
 * `loose` for such anywhere in memory; LANES of them. Included by each template, once for each
 * width. */

typedef real TILE(lanes) __attribute__((vector_size(TILE_BYTES)));
typedef real TILE(loose) __attribute__((vector_size(TILE_BYTES), aligned(sizeof(real)), may_alias));
#ifdef COHORT_DOUBLE
typedef int64_t TILE(bits) __attribute__((vector_size(TILE_BYTES)));
#else
typedef int32_t TILE(bits) __attribute__((vector_size(TILE_BYTES)));
#endif
enum { TILE(LANES) = TILE_BYTES / sizeof(real) };

/* Macros, since functions that pass such registers by value warn of their ABI. */
#define LOAD(from) ((TILE(lanes))(*(const TILE(loose) *)(from)))
#define STORE(to, v) (*(TILE(loose) *)(to) = (v))
/* max(0, v), NaN kept: clears the bits of those below 0. */
#define POSITIVE(v) ((TILE(lanes))((TILE(bits))(v) & ~(TILE(bits))((v) < 0)))
