/* Where libFuzzer is not: fuzz_NAME SECONDS FILE…: every file as it is, then changes of them
 * drawn by a fixed seed until the time is up. The input under way is in the file that
 * $COHORT_FUZZ_INPUT names, to be looked at after a crash. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/rng.h"
#include "tests/fuzz/fuzz.h"

enum { FILES_MOST = 256, BYTES_MOST = 1 << 16, CHANGES_MOST = 8 };

typedef struct input {
    uint8_t bytes[BYTES_MOST];
    size_t count;
} input;

static cohort_text seeds[FILES_MOST];

static void overwrite(input *in, cohort_rng *rng)
{
    static const uint32_t telling[] = {0,      1,      0x7f,       0x80,       0xff,
                                       0x7fff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff};
    const uint32_t value = telling[cohort_rng_below(rng, sizeof telling / sizeof *telling)];
    const size_t at = cohort_rng_below(rng, (uint32_t)in->count + 1),
                 width = (size_t)1 << cohort_rng_below(rng, 4);
    const bool big_endian = cohort_rng_below(rng, 2);
    for (size_t i = 0; i < width && at + i < in->count; i++)
        in->bytes[at + (big_endian ? width - 1 - i : i)] = (uint8_t)(i < 4 ? value >> 8 * i : 0);
}

/* Moves a run of bytes of SEED into the input, over what is there or between it. */
static void splice(input *in, const cohort_text *seed, cohort_rng *rng)
{
    const size_t from = cohort_rng_below(rng, (uint32_t)seed->length + 1),
                 at = cohort_rng_below(rng, (uint32_t)in->count + 1);
    size_t count = cohort_rng_below(rng, (uint32_t)(seed->length - from) + 1);
    if (in->count + count > BYTES_MOST || at + count > BYTES_MOST)
        return;
    if (cohort_rng_below(rng, 2)) {
        memmove(in->bytes + at + count, in->bytes + at, in->count - at);
        in->count += count;
    } else if (at + count > in->count) {
        in->count = at + count;
    }
    if (count)
        memcpy(in->bytes + at, seed->data + from, count);
}

static void change(input *in, const cohort_text *seed, cohort_rng *rng)
{
    const uint32_t room = (uint32_t)in->count;
    if (!room) {
        splice(in, seed, rng);
        return;
    }
    const size_t at = cohort_rng_below(rng, room);
    switch (cohort_rng_below(rng, 6)) {
    case 0:
        in->bytes[at] ^= (uint8_t)(1u << cohort_rng_below(rng, 8));
        break;
    case 1:
        in->bytes[at] = (uint8_t)cohort_rng_u32(rng);
        break;
    case 2:
        overwrite(in, rng);
        break;
    case 3:
        in->count = cohort_rng_below(rng, 8) ? in->count : at; /* cuts are telling once */
        break;
    case 4:
        memmove(in->bytes + at, in->bytes + at + 1, in->count - at - 1);
        in->count--;
        break;
    default:
        splice(in, seed, rng);
    }
}

static void run(const input *in)
{
    const char *keep = getenv("COHORT_FUZZ_INPUT");
    FILE *file = keep ? fopen(keep, "wb") : NULL;
    if (file) {
        fwrite(in->bytes, 1, in->count, file);
        fclose(file);
    }
    LLVMFuzzerTestOneInput(in->bytes, in->count);
}

static void load(input *in, const cohort_text *seed)
{
    in->count = seed->length < BYTES_MOST ? seed->length : BYTES_MOST;
    if (in->count)
        memcpy(in->bytes, seed->data, in->count);
}

int main(int argc, char **argv)
{
    static input in;
    const double seconds = argc > 1 ? atof(argv[1]) : 0;
    const size_t seed_count = argc > 2 ? (size_t)argc - 2 : 0;
    fuzz_require(seed_count > 0 && seed_count <= FILES_MOST, "usage: SECONDS FILE…");
    for (size_t i = 0; i < seed_count; i++) {
        fuzz_require(cohort_file_read(&seeds[i], argv[i + 2], (size_t)1 << 24) == COHORT_OK,
                     "read");
        load(&in, &seeds[i]);
        run(&in);
    }
    const double start = cohort_clock_seconds();
    uint64_t inputs = 0;
    for (; cohort_clock_seconds() - start < seconds; inputs++) {
        cohort_rng rng = cohort_rng_make(1, COHORT_RNG_TEST, 0, 0, inputs);
        load(&in, &seeds[cohort_rng_below(&rng, (uint32_t)seed_count)]);
        for (uint32_t i = cohort_rng_below(&rng, CHANGES_MOST) + 1; i > 0; i--)
            change(&in, &seeds[cohort_rng_below(&rng, (uint32_t)seed_count)], &rng);
        run(&in);
    }
    for (size_t i = 0; i < seed_count; i++)
        cohort_text_clear(&seeds[i]);
    printf("%zu inputs and %llu changes of them\n", seed_count, (unsigned long long)inputs);
    return 0;
}
