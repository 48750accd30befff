/* cohort convert images: every kind of PNG and JPEG, resizing, what is no picture. */
#include "tests/unit/convert_fixture.h"

#include <jpeglib.h>
#include <math.h>
#include <png.h>

#include "cli/convert/image.h"

enum { WIDTH = 8, HEIGHT = 6, PIXELS = WIDTH * HEIGHT };

/* One colour all over, so that every way of coding gives it back. */
static const unsigned char colour[3] = {200, 100, 50};

static void put_png(const char *name, int type, int bits, const unsigned char *row)
{
    FILE *file = fopen(in_folder(name), "wb");
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    png_init_io(png, file);
    png_set_IHDR(png, info, WIDTH, HEIGHT, bits, type, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    const png_color palette[2] = {{0, 0, 0}, {colour[0], colour[1], colour[2]}};
    if (type == PNG_COLOR_TYPE_PALETTE)
        png_set_PLTE(png, info, palette, 2);
    png_write_info(png, info);
    for (int i = 0; i < HEIGHT; i++)
        png_write_row(png, row);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    fclose(file);
}

static void put_rgb(const char *name)
{
    unsigned char row[WIDTH * 3];
    for (int i = 0; i < WIDTH * 3; i++)
        row[i] = colour[i % 3];
    put_png(name, PNG_COLOR_TYPE_RGB, 8, row);
}

static void put_jpeg(const char *name, J_COLOR_SPACE space, int components,
                     const unsigned char *pixel)
{
    struct jpeg_compress_struct info;
    struct jpeg_error_mgr errors;
    unsigned char row[WIDTH * 4];
    for (int i = 0; i < WIDTH * components; i++)
        row[i] = pixel[i % components];
    FILE *file = fopen(in_folder(name), "wb");
    info.err = jpeg_std_error(&errors);
    jpeg_create_compress(&info);
    jpeg_stdio_dest(&info, file);
    info.image_width = WIDTH;
    info.image_height = HEIGHT;
    info.input_components = components;
    info.in_color_space = space;
    jpeg_set_defaults(&info);
    jpeg_set_quality(&info, 100, TRUE);
    jpeg_start_compress(&info, TRUE);
    JSAMPROW rows[] = {row};
    while (info.next_scanline < info.image_height)
        jpeg_write_scanlines(&info, rows, 1);
    jpeg_finish_compress(&info);
    jpeg_destroy_compress(&info);
    fclose(file);
}

/* All pixels of file NAME are R, G, B, or nearly. */
static void expect_colour(const char *name, int r, int g, int b)
{
    cohort_image image;
    const int wanted[3] = {r, g, b};
    assert_ok(cohort_image_read(&image, in_folder(name)));
    assert_true(image.width == WIDTH && image.height == HEIGHT);
    for (int i = 0; i < PIXELS * 3; i++)
        assert_in_range(image.pixels[i], wanted[i % 3] > 2 ? wanted[i % 3] - 2 : 0,
                        wanted[i % 3] + 2);
    cohort_image_clear(&image);
}

static void every_kind_is_read(void **state)
{
    (void)state;
    unsigned char row[WIDTH * 8];
    put_rgb("rgb.png");
    expect_colour("rgb.png", 200, 100, 50);
    memset(row, 77, sizeof row);
    put_png("grey.png", PNG_COLOR_TYPE_GRAY, 8, row);
    expect_colour("grey.png", 77, 77, 77);
    put_png("sixteen.png", PNG_COLOR_TYPE_GRAY, 16, row);
    expect_colour("sixteen.png", 77, 77, 77);
    memset(row, 0xff, sizeof row);
    put_png("palette.png", PNG_COLOR_TYPE_PALETTE, 1, row);
    expect_colour("palette.png", 200, 100, 50);
    for (int i = 0; i < WIDTH * 4; i++)
        row[i] = i % 4 == 3 ? 0 : 10;
    put_png("clear.png", PNG_COLOR_TYPE_RGB_ALPHA, 8, row);
    expect_colour("clear.png", 255, 255, 255);
    put_jpeg("rgb.jpg", JCS_RGB, 3, colour);
    expect_colour("rgb.jpg", 200, 100, 50);
    put_jpeg("grey.jpg", JCS_GRAYSCALE, 1, (unsigned char[]){77});
    expect_colour("grey.jpg", 77, 77, 77);
    /* Written with Adobe's marker, so inverted: ink 200, 100, 50 of 255 under no black. */
    put_jpeg("cmyk.png", JCS_CMYK, 4, (unsigned char[]){200, 100, 50, 255});
    expect_colour("cmyk.png", 200, 100, 50);
}

static void no_pictures_are_refused(void **state)
{
    (void)state;
    cohort_image image;
    cohort_text bytes = {0};
    unsigned char row[WIDTH * 3];
    const char *const names[] = {"rgb.png", "rgb.jpg"};
    for (int i = 0; i < WIDTH * 3; i++)
        row[i] = (unsigned char)(i * 37);
    put_png("rgb.png", PNG_COLOR_TYPE_RGB, 8, row);
    put_jpeg("rgb.jpg", JCS_RGB, 3, colour);
    for (int i = 0; i < 2; i++) {
        bytes.length = 0;
        assert_ok(cohort_file_read(&bytes, in_folder(names[i]), 1 << 20));
        for (size_t part = 1; part < 5; part++) {
            put_file("cut", bytes.data, bytes.length * part / 5);
            cohort_status status = cohort_image_read(&image, in_folder("cut"));
            assert_int_equal(status, COHORT_DATA);
            assert_non_null(strstr(cohort_error_message(), "cut"));
            cohort_image_clear(&image);
        }
    }
    cohort_text_clear(&bytes);
    put_text("text.png", "no picture\n");
    assert_fails(cohort_image_read(&image, in_folder("text.png")), COHORT_DATA,
                 "neither a PNG nor a JPEG");
    put_text("empty.png", "");
    assert_fails(cohort_image_read(&image, in_folder("empty.png")), COHORT_DATA, "neither");
    /* A header that promises 60,000 x 60,000 pixels. */
    static const unsigned char huge[] = "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\xea\x60\0\0\xea\x60"
                                        "\x08\x02\0\0\0\xb6\x75\x4c\xb8";
    put_file("huge.png", huge, sizeof huge - 1);
    assert_int_equal(cohort_image_read(&image, in_folder("huge.png")), COHORT_DATA);
    cohort_image_clear(&image);
}

static void resizing_keeps_what_it_should(void **state)
{
    (void)state;
    enum { SIDE = 40 };
    static unsigned char pixels[SIDE * SIDE * 3], out[SIDE * SIDE * 3];
    cohort_image image = {SIDE, SIDE, pixels};
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (unsigned char)(i / 3 % SIDE * 6);
    /* The same size: the same picture. */
    assert_ok(cohort_image_resize(out, SIDE, SIDE, 3, &image, false));
    assert_memory_equal(out, pixels, sizeof pixels);
    /* A ramp stays one, away from the edges, smaller and larger. */
    for (size_t side = 10; side <= 36; side += 13) {
        assert_ok(cohort_image_resize(out, side, side, 3, &image, false));
        for (size_t i = 3; i < side - 3; i++) {
            const double wanted = 6 * (((double)i + 0.5) * SIDE / (double)side - 0.5);
            assert_true(fabs(out[(side / 2 * side + i) * 3] - wanted) < 2);
        }
    }
    /* Stripes as fine as pixels become their mean, not a pattern. */
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = i / 3 % SIDE % 2 ? 255 : 0;
    assert_ok(cohort_image_resize(out, 10, 10, 3, &image, false));
    for (size_t i = 2; i < 8; i++)
        assert_in_range(out[(5 * 10 + i) * 3], 120, 135);
    /* The middle of a wide picture: its right part is not seen. */
    memset(pixels, 0, sizeof pixels);
    cohort_image wide = {SIDE, 10, pixels};
    for (size_t i = 0; i < SIDE * 10; i++)
        memset(pixels + 3 * i, i % SIDE >= 25 ? 255 : i % SIDE < 15 ? 9 : 90, 3);
    assert_ok(cohort_image_resize(out, 10, 10, 1, &wide, true));
    for (size_t i = 0; i < 100; i++)
        assert_true(i % 10 < 3 || i % 10 > 6 || abs(out[i] - 90) < 12);
    assert_true(out[55] < 120);
}

static void folders_become_classes(void **state)
{
    (void)state;
    char *pics = in_folder("pics");
    assert_ok(cohort_folder_make(in_folder("pics/b")));
    assert_ok(cohort_folder_make(in_folder("pics/a")));
    put_rgb("pics/a/1.png");
    put_rgb("pics/a/2.png");
    put_jpeg("pics/b/1.jpg", JCS_RGB, 3, colour);
    assert_ok(CONVERT("images", pics, "--test", "0"));
    hsize_t dims[8];
    free(read_values("/train/x", dims));
    assert_true(dims[0] == 3 && dims[1] == HEIGHT && dims[2] == WIDTH && dims[3] == 3);
    EXPECT_VALUES("/train/y", 0, 0, 1);
    expect_strings("classes", "a|b");
    assert_ok(CONVERT("images", pics, "--test", "0", "--grey", "--size", "4x5"));
    double *x = read_values("/train/x", dims);
    assert_true(dims[0] == 3 && dims[1] == 4 && dims[2] == 5 && dims[3] == 1);
    assert_true(fabs(x[0] - (0.299 * 200 + 0.587 * 100 + 0.114 * 50)) < 1);
    free(x);
    put_text("pics/b/no.png", "no picture");
    assert_fails(CONVERT("images", pics), COHORT_DATA, "no.png is neither");
    assert_ok(CONVERT("images", pics, "--test", "0", "--skip-damaged"));
    EXPECT_VALUES("/train/y", 0, 0, 1);
    assert_int_equal(unlink(in_folder("pics/b/no.png")), 0);
    assert_fails(CONVERT("images", pics, "--size", "0"), COHORT_USAGE, "--size");
    assert_fails(CONVERT("images", pics, "--size", "3x"), COHORT_USAGE, "--size");
    assert_fails(CONVERT("images", pics, "--fit", "squeeze"), COHORT_USAGE, "--fit");
    assert_ok(cohort_folder_make(in_folder("pics/c")));
    assert_fails(CONVERT("images", pics), COHORT_DATA, "pics/c has no files");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_is_read),
        cmocka_unit_test(no_pictures_are_refused),
        cmocka_unit_test(resizing_keeps_what_it_should),
        cmocka_unit_test(folders_become_classes),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
