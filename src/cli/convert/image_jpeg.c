#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include "cli/convert/image.h"

/* libjpeg's errors come back here; its warnings (missing data that it would make up) are errors
 * too. */
typedef struct failure {
    struct jpeg_error_mgr manager;
    jmp_buf back;
    char text[JMSG_LENGTH_MAX];
} failure;

static void on_error(j_common_ptr info)
{
    failure *found = (failure *)info->err;
    info->err->format_message(info, found->text);
    longjmp(found->back, 1);
}

/* A progressive file may come in any number of scans, each of which goes over the whole picture:
 * cameras and programs write some ten. */
enum { SCANS_MAX = 200 };

static void on_progress(j_common_ptr info)
{
    if (info->is_decompressor && ((j_decompress_ptr)info)->input_scan_number > SCANS_MAX) {
        failure *found = (failure *)info->err;
        snprintf(found->text, sizeof found->text, "more than %d scans", SCANS_MAX);
        longjmp(found->back, 1);
    }
}

static void on_message(j_common_ptr info, int level)
{
    if (level < 0)
        on_error(info);
}

/* CMYK as red, green, blue; Adobe's programs store it inverted. */
static void from_cmyk(unsigned char *rgb, const unsigned char *cmyk, size_t count, bool inverted)
{
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < 3; k++) {
            const unsigned ink = cmyk[4 * i + k], black = cmyk[4 * i + 3];
            rgb[3 * i + k] = (unsigned char)(inverted ? (ink * black + 127) / 255
                                                      : ((255 - ink) * (255 - black) + 127) / 255);
        }
}

/* What is read, apart from the stack that a longjmp leaves undefined. */
typedef struct jpeg_reader {
    struct jpeg_decompress_struct info;
    failure error;
    struct jpeg_progress_mgr progress;
    cohort_image *image;
    unsigned char *row; /* of CMYK */
    bool too_large, no_memory;
} jpeg_reader;

static void read_rows(jpeg_reader *reader)
{
    struct jpeg_decompress_struct *info = &reader->info;
    const bool is_cmyk = info->out_color_space == JCS_CMYK;
    while (info->output_scanline < info->output_height) {
        unsigned char *to =
            reader->image->pixels + (size_t)info->output_scanline * reader->image->width * 3;
        JSAMPROW rows[] = {is_cmyk ? reader->row : to};
        jpeg_read_scanlines(info, rows, 1);
        if (is_cmyk)
            from_cmyk(to, reader->row, reader->image->width, info->saw_Adobe_marker);
    }
}

/* Returns by longjmp when libjpeg fails. */
static void read_image(jpeg_reader *reader, FILE *file)
{
    struct jpeg_decompress_struct *info = &reader->info;
    cohort_image *image = reader->image;
    jpeg_create_decompress(info);
    reader->progress.progress_monitor = on_progress;
    info->progress = &reader->progress;
    jpeg_stdio_src(info, file);
    jpeg_read_header(info, TRUE);
    image->width = info->image_width;
    image->height = info->image_height;
    reader->too_large = image->width * image->height > COHORT_IMAGE_PIXELS_MAX;
    if (reader->too_large)
        return;
    const bool is_cmyk = info->jpeg_color_space == JCS_CMYK || info->jpeg_color_space == JCS_YCCK;
    info->out_color_space = is_cmyk ? JCS_CMYK : JCS_RGB;
    image->pixels = malloc(image->width * image->height * 3);
    reader->row = malloc(image->width * 4);
    reader->no_memory = !image->pixels || !reader->row;
    if (reader->no_memory)
        return;
    jpeg_start_decompress(info);
    read_rows(reader);
    jpeg_finish_decompress(info);
}

cohort_status cohort_image_read_jpeg(cohort_image *image, const char *path)
{
    jpeg_reader *reader = calloc(1, sizeof *reader);
    COHORT_REQUIRE(reader, COHORT_MEMORY, "out of memory for %s", path);
    FILE *file = fopen(path, "rb");
    if (!file) {
        free(reader);
        return COHORT_FAIL(COHORT_DATA, "cannot read %s: %s", path, strerror(errno));
    }
    reader->image = image;
    reader->info.err = jpeg_std_error(&reader->error.manager);
    reader->error.manager.error_exit = on_error;
    reader->error.manager.emit_message = on_message;
    cohort_status status = COHORT_OK;
    if (setjmp(reader->error.back) == 0)
        read_image(reader, file);
    else
        status = COHORT_FAIL(COHORT_DATA, "%s: %s; the file is cut short or damaged", path,
                             reader->error.text);
    if (reader->too_large)
        status = COHORT_FAIL(COHORT_DATA, "%s has %zu x %zu pixels, more than %d million", path,
                             image->width, image->height, COHORT_IMAGE_PIXELS_MAX >> 20);
    if (reader->no_memory)
        status = COHORT_FAIL(COHORT_MEMORY, "out of memory for %s", path);
    jpeg_destroy_decompress(&reader->info);
    free(reader->row);
    free(reader);
    fclose(file);
    return status;
}
