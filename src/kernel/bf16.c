#include "kernel/bf16.h"

#include <omp.h>
#include <string.h>

#include "base/memory.h"
#include "base/shape.h"
#include "kernel/clones.h"

#if defined(COHORT_HAVE_WIDE) && !defined(COHORT_DOUBLE)
#define BF16_CONVERT
#include <immintrin.h>
#endif
#if defined(COHORT_HAVE_DNNL) && !defined(COHORT_DOUBLE)
#define BF16_DNNL
#include <oneapi/dnnl/dnnl.h>
#endif

typedef uint32_t float_bits __attribute__((may_alias));

/* The upper half of a float. Adding just below half of the lower one rounds it up where it is
 * above half, or half and the upper one odd. */
COHORT_CLONES static void round_floats(uint16_t *to, const float_bits *bits, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++) {
        const uint32_t v = bits[i], rounded = (v + 0x7fff + ((v >> 16) & 1)) >> 16;
        to[i] = (uint16_t)((v & 0x7fffffff) > 0x7f800000 ? (v >> 16) | 0x40 : rounded);
    }
}

#ifdef BF16_CONVERT
/* The same by the CPU's own instruction, which takes numbers below 2^-126 for 0. */
__attribute__((target("arch=x86-64-v4,avx512bf16"))) static void
convert_floats(uint16_t *to, const float *from, size_t count)
{
    size_t i = 0;
    for (; i + 32 <= count; i += 32) {
        const __m512bh both =
            _mm512_cvtne2ps_pbh(_mm512_loadu_ps(from + i + 16), _mm512_loadu_ps(from + i));
        _mm512_storeu_si512(to + i, (__m512i)both);
    }
    for (; i < count; i += 16) {
        const __mmask16 some = count - i < 16 ? (__mmask16)((1U << (count - i)) - 1) : 0xffff;
        const __m256bh rest = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(some, from + i));
        _mm256_mask_storeu_epi16(to + i, some, (__m256i)rest);
    }
}
#endif

void cohort_bf16_round(uint16_t *to, const real *from, size_t count)
{
#ifdef BF16_CONVERT
    if (__builtin_cpu_supports("avx512bf16")) {
        convert_floats(to, from, count);
        return;
    }
#endif
#ifdef COHORT_DOUBLE
    for (size_t i = 0; i < count; i++) {
        const float value = (float)from[i];
        round_floats(to + i, (const float_bits *)&value, 1);
    }
#else
    round_floats(to, (const float_bits *)from, count);
#endif
}

#ifdef BF16_DNNL

/* Products are cut into panels of rows by their shape alone, which threads take. Each
 * primitive is made for one thread, since oneDNN divides its work by their number; its scratchpad
 * is ours, one a thread, since threads that run one primitive at once would share oneDNN's. */
enum { PANEL_ROWS = 128, PREPARED = 24 };
enum { LEFT, RIGHT, RESULT, SCRATCHPAD, OPERANDS };

/* A panel of a product. */
typedef struct bf16_shape {
    size_t rows, n, k;
    size_t left_rows; /* rows of all panels: the stride of a transposed left operand */
    bool trans_a, trans_b, add;
} bf16_shape;

typedef struct bf16_prepared {
    bf16_shape shape; /* rows 0: free */
    dnnl_primitive_t primitive;
    dnnl_memory_t *memories;    /* [threads][OPERANDS], pointed at the data of each run */
    unsigned char *scratchpads; /* [threads][scratchpad_bytes] */
    size_t scratchpad_bytes;
} bf16_prepared;

struct cohort_bf16 {
    dnnl_engine_t engine;
    dnnl_stream_t *streams; /* [threads] */
    size_t threads, next;
    bf16_prepared prepared[PREPARED];
};

#define DNNL_OK(call) ((call) == dnnl_success)

bool cohort_bf16_available(void)
{
    return (dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core_bf16) ==
           dnnl_cpu_isa_avx512_core_bf16;
}

cohort_status cohort_bf16_create(cohort_bf16 **out)
{
    cohort_bf16 *p;
    cohort_status status;
    *out = NULL;
    COHORT_TRY(COHORT_ALLOCATE(&p, 1));
    p->threads = (size_t)omp_get_max_threads();
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&p->streams, p->threads));
    bool ok = DNNL_OK(dnnl_engine_create(&p->engine, dnnl_cpu, 0));
    for (size_t t = 0; t < p->threads && ok; t++)
        ok = DNNL_OK(dnnl_stream_create(&p->streams[t], p->engine, dnnl_stream_default_flags));
    COHORT_REQUIRE_DONE(status, ok, COHORT_MEMORY, "oneDNN cannot be set up for bf16 products");
    *out = p;
    return COHORT_OK;
done:
    cohort_bf16_destroy(p);
    return status;
}

static void prepared_clear(bf16_prepared *prepared, size_t threads)
{
    for (size_t i = 0; prepared->memories && i < threads * OPERANDS; i++)
        if (prepared->memories[i])
            dnnl_memory_destroy(prepared->memories[i]);
    cohort_free(prepared->memories);
    cohort_free(prepared->scratchpads);
    if (prepared->primitive)
        dnnl_primitive_destroy(prepared->primitive);
    *prepared = (bf16_prepared){0};
}

void cohort_bf16_destroy(cohort_bf16 *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < PREPARED; i++)
        prepared_clear(&p->prepared[i], p->threads);
    for (size_t t = 0; p->streams && t < p->threads; t++)
        if (p->streams[t])
            dnnl_stream_destroy(p->streams[t]);
    if (p->engine)
        dnnl_engine_destroy(p->engine);
    cohort_free(p->streams);
    cohort_free(p);
}

/* A matrix [rows][columns] of which rows are STRIDE apart, or columns when transposed. */
static bool describe(dnnl_memory_desc_t *out, size_t rows, size_t columns, bool transposed,
                     size_t stride, dnnl_data_type_t type)
{
    const dnnl_dims_t dims = {(dnnl_dim_t)rows, (dnnl_dim_t)columns};
    const dnnl_dims_t strides = {transposed ? 1 : (dnnl_dim_t)stride,
                                 transposed ? (dnnl_dim_t)stride : 1};
    return DNNL_OK(dnnl_memory_desc_init_by_strides(out, 2, dims, type, strides));
}

/* Also describes the scratchpad, in ALL. */
static bool make_primitive(dnnl_primitive_t *out, const cohort_bf16 *p,
                           dnnl_memory_desc_t all[OPERANDS], bool add)
{
    dnnl_matmul_desc_t product;
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_post_ops_t after = NULL;
    dnnl_primitive_desc_t description = NULL;
    bool ok =
        DNNL_OK(dnnl_matmul_desc_init(&product, &all[LEFT], &all[RIGHT], NULL, &all[RESULT])) &&
        DNNL_OK(dnnl_primitive_attr_create(&attributes)) &&
        DNNL_OK(dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user));
    if (ok && add)
        ok = DNNL_OK(dnnl_post_ops_create(&after)) && DNNL_OK(dnnl_post_ops_append_sum(after, 1)) &&
             DNNL_OK(dnnl_primitive_attr_set_post_ops(attributes, after));
    ok = ok &&
         DNNL_OK(dnnl_primitive_desc_create(&description, &product, attributes, p->engine, NULL)) &&
         DNNL_OK(dnnl_primitive_create(out, description));
    if (ok)
        all[SCRATCHPAD] = *dnnl_primitive_desc_query_md(description, dnnl_query_scratchpad_md, 0);
    if (description)
        dnnl_primitive_desc_destroy(description);
    if (after)
        dnnl_post_ops_destroy(after);
    if (attributes)
        dnnl_primitive_attr_destroy(attributes);
    return ok;
}

static bool prepare(bf16_prepared *prepared, const cohort_bf16 *p, const bf16_shape *s)
{
    dnnl_memory_desc_t all[OPERANDS];
    const int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    bool ok = describe(&all[LEFT], s->rows, s->k, s->trans_a, s->trans_a ? s->left_rows : s->k,
                       dnnl_bf16) &&
              describe(&all[RIGHT], s->k, s->n, s->trans_b, s->trans_b ? s->k : s->n, dnnl_bf16) &&
              describe(&all[RESULT], s->rows, s->n, false, s->n, dnnl_f32) &&
              make_primitive(&prepared->primitive, p, all, s->add) &&
              COHORT_ALLOCATE(&prepared->memories, p->threads * OPERANDS) == COHORT_OK;
    if (ok) {
        const size_t bytes = dnnl_memory_desc_get_size(&all[SCRATCHPAD]);
        prepared->scratchpad_bytes = cohort_size_align(bytes, 64);
        ok = COHORT_ALLOCATE(&prepared->scratchpads, p->threads * prepared->scratchpad_bytes + 1) ==
             COHORT_OK;
    }
    for (size_t i = 0; i < p->threads * OPERANDS && ok; i++)
        ok = DNNL_OK(dnnl_memory_create(&prepared->memories[i], &all[i % OPERANDS], p->engine,
                                        DNNL_MEMORY_NONE));
    omp_set_num_threads(threads);
    if (ok)
        prepared->shape = *s;
    else
        prepared_clear(prepared, p->threads);
    return ok;
}

static bool is_same(const bf16_shape *a, const bf16_shape *b)
{
    return a->rows == b->rows && a->n == b->n && a->k == b->k && a->left_rows == b->left_rows &&
           a->trans_a == b->trans_a && a->trans_b == b->trans_b && a->add == b->add;
}

/* What is prepared for SHAPE, now if need be but not in the place of KEEP; NULL on failure. */
static const bf16_prepared *prepared_for(cohort_bf16 *p, const bf16_shape *shape,
                                         const bf16_prepared *keep)
{
    for (size_t i = 0; i < PREPARED; i++)
        if (is_same(&p->prepared[i].shape, shape))
            return &p->prepared[i];
    do
        p->next = (p->next + 1) % PREPARED;
    while (&p->prepared[p->next] == keep);
    prepared_clear(&p->prepared[p->next], p->threads);
    return prepare(&p->prepared[p->next], p, shape) ? &p->prepared[p->next] : NULL;
}

static bool run(const cohort_bf16 *p, const bf16_prepared *prepared, const uint16_t *a,
                const uint16_t *b, real *c, size_t thread)
{
    static const int roles[OPERANDS] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST,
                                        DNNL_ARG_SCRATCHPAD};
    const void *data[OPERANDS] = {a, b, c,
                                  prepared->scratchpads + thread * prepared->scratchpad_bytes};
    dnnl_exec_arg_t arguments[OPERANDS];
    bool ok = true;
    for (int i = 0; i < OPERANDS && ok; i++) {
        arguments[i].arg = roles[i];
        arguments[i].memory = prepared->memories[thread * OPERANDS + (size_t)i];
        ok = DNNL_OK(dnnl_memory_set_data_handle(arguments[i].memory, (void *)data[i]));
    }
    return ok &&
           DNNL_OK(dnnl_primitive_execute(prepared->primitive, p->streams[thread], OPERANDS,
                                          arguments)) &&
           DNNL_OK(dnnl_stream_wait(p->streams[thread]));
}

static size_t halves(size_t count)
{
    return cohort_size_align(count, 64 / sizeof(uint16_t));
}

static void round_all(uint16_t *to, const real *from, size_t count, int threads)
{
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int t = 0; t < threads; t++) {
        const size_t begin = cohort_part_begin(count, (size_t)t, (size_t)threads);
        cohort_bf16_round(to + begin, from + begin,
                          cohort_part_begin(count, (size_t)t + 1, (size_t)threads) - begin);
    }
}

/* A whole product; SHAPE is that of a panel that is not the last. */
typedef struct bf16_job {
    bf16_shape shape;
    size_t panels;
    const bf16_prepared *whole, *rest; /* for all panels but the last, for that */
    const real *a, *b;
    const uint16_t *left, *right; /* … rounded */
    real *c;
} bf16_job;

static void run_panel(const cohort_bf16 *p, const bf16_job *job, size_t panel, size_t thread)
{
    const bf16_shape *s = &job->shape;
    const bool is_last = panel + 1 == job->panels;
    const size_t row = panel * PANEL_ROWS, left = row * (s->trans_a ? 1 : s->k);
    real *c = job->c + row * s->n;
    if (run(p, is_last ? job->rest : job->whole, job->left + left, job->right, c, thread))
        return;
    cohort_gemm(s->trans_a ? COHORT_TRANSPOSED : COHORT_PLAIN,
                s->trans_b ? COHORT_TRANSPOSED : COHORT_PLAIN,
                is_last ? s->left_rows - row : PANEL_ROWS, s->n, s->k, 1, job->a + left,
                s->trans_a ? s->left_rows : s->k, job->b, s->trans_b ? s->k : s->n, s->add ? 1 : 0,
                c, s->n);
}

static bool multiply(cohort_bf16 *p, bf16_job *job, uint16_t *scratch)
{
    const bf16_shape *s = &job->shape;
    const size_t m = s->left_rows, most = (size_t)omp_get_max_threads();
    uint16_t *const left = scratch, *const right = scratch + halves(m * s->k);
    bf16_shape last = *s;
    job->panels = (m + PANEL_ROWS - 1) / PANEL_ROWS;
    last.rows = m - (job->panels - 1) * PANEL_ROWS;
    if (job->panels > 1 && !(job->whole = prepared_for(p, s, NULL)))
        return false;
    if (!(job->rest = prepared_for(p, &last, job->whole)))
        return false;
    const int threads =
        job->panels == 1 || omp_in_parallel() ? 1 : (int)(most < p->threads ? most : p->threads);
    round_all(left, job->a, m * s->k, threads);
    round_all(right, job->b, s->k * s->n, threads);
    job->left = left;
    job->right = right;
    if (threads == 1)
        omp_set_num_threads(1); /* or oneDNN takes them all */
#pragma omp parallel for num_threads(threads) schedule(static)
    for (size_t panel = 0; panel < job->panels; panel++)
        run_panel(p, job, panel, (size_t)omp_get_thread_num());
    omp_set_num_threads((int)most);
    return true;
}

#else

struct cohort_bf16 {
    int unused;
};

bool cohort_bf16_available(void)
{
    return false;
}

cohort_status cohort_bf16_create(cohort_bf16 **out)
{
    *out = NULL;
    return COHORT_FAIL(COHORT_INTERNAL, "bf16 products in a build without oneDNN");
}

void cohort_bf16_destroy(cohort_bf16 *p)
{
    (void)p;
}

#endif

size_t cohort_bf16_scratch(size_t m, size_t n, size_t k)
{
#ifdef BF16_DNNL
    return (halves(m * k) + halves(k * n)) * sizeof(uint16_t) / sizeof(real);
#else
    (void)m, (void)n, (void)k;
    return 0;
#endif
}

void cohort_bf16_product(cohort_bf16 *products, cohort_transpose trans_a, cohort_transpose trans_b,
                         size_t m, size_t n, size_t k, const real *a, const real *b, bool add,
                         real *c, real *scratch)
{
#ifdef BF16_DNNL
    bf16_job job = {.shape = {.rows = PANEL_ROWS,
                              .n = n,
                              .k = k,
                              .left_rows = m,
                              .trans_a = trans_a == COHORT_TRANSPOSED,
                              .trans_b = trans_b == COHORT_TRANSPOSED,
                              .add = add},
                    .a = a,
                    .b = b,
                    .c = c};
    if (products && m && n && k && multiply(products, &job, (uint16_t *)scratch))
        return;
#endif
    (void)products, (void)scratch;
    cohort_gemm_dense(trans_a, trans_b, m, n, k, a, b, add, c);
}
