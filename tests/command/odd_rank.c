/* Preloaded into one rank, to make it unlike the others:
 *   ODD_FILE=FROM:TO    opens TO where the program opens FROM (a host with another copy)
 *   ODD_PRODUCT=N       flips a bit of the weights in the N-th product (failing memory)
 *   ODD_VALUE=N         makes the weights' first value infinite instead */
#include <cblas.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *other_file(const char *path)
{
    static char other[4096];
    const char *pair = getenv("ODD_FILE"), *colon = pair ? strchr(pair, ':') : NULL;
    const char *name = strrchr(path, '/');
    name = name ? name + 1 : path;
    if (!colon || strlen(name) != (size_t)(colon - pair) || strncmp(name, pair, strlen(name)) != 0)
        return path;
    snprintf(other, sizeof other, "%.*s%s", (int)(name - path), path, colon + 1);
    return other;
}

static int open_as(const char *symbol, const char *path, int flags, mode_t mode)
{
    int (*next)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, symbol);
    return next(other_file(path), flags, mode);
}

/* Without fcntl.h's inline versions in the way. */
#undef open
#undef open64
int open(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    const mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return open_as("open", path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    const mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return open_as("open64", path, flags, mode);
}

typedef void product(OPENBLAS_CONST enum CBLAS_ORDER, OPENBLAS_CONST enum CBLAS_TRANSPOSE,
                     OPENBLAS_CONST enum CBLAS_TRANSPOSE, OPENBLAS_CONST blasint,
                     OPENBLAS_CONST blasint, OPENBLAS_CONST blasint, OPENBLAS_CONST float,
                     OPENBLAS_CONST float *, OPENBLAS_CONST blasint, OPENBLAS_CONST float *,
                     OPENBLAS_CONST blasint, OPENBLAS_CONST float, float *, OPENBLAS_CONST blasint);

static long number(const char *name)
{
    const char *text = getenv(name);
    return text ? atol(text) : 0;
}

void cblas_sgemm(OPENBLAS_CONST enum CBLAS_ORDER order, OPENBLAS_CONST enum CBLAS_TRANSPOSE trans_a,
                 OPENBLAS_CONST enum CBLAS_TRANSPOSE trans_b, OPENBLAS_CONST blasint m,
                 OPENBLAS_CONST blasint n, OPENBLAS_CONST blasint k, OPENBLAS_CONST float alpha,
                 OPENBLAS_CONST float *a, OPENBLAS_CONST blasint lda, OPENBLAS_CONST float *b,
                 OPENBLAS_CONST blasint ldb, OPENBLAS_CONST float beta, float *c,
                 OPENBLAS_CONST blasint ldc)
{
    static long count;
    static product *next;
    if (!next)
        next = (product *)dlsym(RTLD_NEXT, "cblas_sgemm");
    /* A dense layer's forward: both plain, b its kernel. */
    if (trans_a == CblasNoTrans && trans_b == CblasNoTrans) {
        count++;
        if (count == number("ODD_PRODUCT"))
            *(uint32_t *)b ^= 1u << 18;
        if (count == number("ODD_VALUE"))
            *(float *)b = INFINITY;
    }
    next(order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
