/* The ways to sum that keep the bits: size of a bucket, whether backward is waited for, and whether
 * messages are packed. */
#include "comm/reducer_internal.h"

/* How many buckets there would be of LENGTH floats each: what tells ways apart. */
static size_t count_of(const cohort_reducer *reducer, size_t bucket_bytes)
{
    const size_t length = bucket_bytes / sizeof(float);
    return length ? reducer->length / length : 0;
}

/* Appends WAY unless it is one of the COUNT there are. */
static size_t add_way(cohort_reducer_way *ways, size_t count, const cohort_reducer *reducer,
                      cohort_reducer_way way)
{
    const size_t buckets = count_of(reducer, way.bucket_bytes);
    /* A single bucket is complete when backward ends. */
    if (way.is_late && buckets <= 1)
        return count;
    for (size_t i = 0; i < count; i++) {
        const size_t others = count_of(reducer, ways[i].bucket_bytes);
        const bool is_same = others == buckets || (others <= 1 && buckets <= 1);
        if (is_same && ways[i].is_late == way.is_late && ways[i].is_packed == way.is_packed)
            return count;
    }
    ways[count] = way;
    return count + 1;
}

size_t cohort_reducer_ways(cohort_reducer_way ways[COHORT_REDUCER_WAYS],
                           const cohort_reducer *reducer)
{
    const size_t bytes = reducer->bucket_length * sizeof(float);
    const bool has_messages = reducer->layout.far_count > 1;
    const cohort_reducer_way others[] = {
        {bytes / 4, false, false}, {4 * bytes, false, false}, {16 * bytes, false, false},
        {bytes, true, false},      {bytes, false, true},      {4 * bytes, false, true},
        {16 * bytes, false, true},
    };
    size_t count = 1;
    ways[0] = (cohort_reducer_way){bytes, reducer->is_late, reducer->is_packed};
    if (reducer->comm->size == 1 || reducer->mode == COHORT_REDUCER_MPI)
        return count;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (has_messages || !others[i].is_packed)
            count = add_way(ways, count, reducer, others[i]);
    return count;
}

cohort_status cohort_reducer_choose(cohort_reducer *reducer, cohort_reducer_way way)
{
    if (reducer->comm->size == 1 || reducer->mode == COHORT_REDUCER_MPI)
        return COHORT_OK;
    reducer->is_late = way.is_late;
    reducer->is_packed = way.is_packed;
    COHORT_TRY(cohort_comm_agree(reducer->comm, cohort_reducer_cut(reducer, way.bucket_bytes)));
    COHORT_TRY(cohort_reducer_shared_cut(reducer));
    cohort_reducer_note(reducer);
    return COHORT_OK;
}
