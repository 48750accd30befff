/* make_h5 KIND FILE: a small data set with groups train and test, right or wrong in one
 * way, written straight through HDF5 as another program would. */
#include <hdf5.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { ROWS = 32, COLUMNS = 4, SIDE = 6, PIXELS = SIDE * SIDE, CLASSES = 3 };

static bool write_array(hid_t group, const char *name, hid_t type, int dim_count,
                        const hsize_t *dims, const void *values)
{
    hid_t space = H5Screate_simple(dim_count, dims, NULL);
    hid_t dataset = H5Dcreate2(group, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    bool good = H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0;
    return H5Dclose(dataset) >= 0 && H5Sclose(space) >= 0 && good;
}

/* Of kinds `first` and `second` half of the rows, as column `half` of `groups` tells them apart. */
static int first_row(const char *kind)
{
    return strcmp(kind, "second") == 0 ? ROWS / 2 : 0;
}

static hsize_t row_count(const char *kind)
{
    return strcmp(kind, "first") == 0 || strcmp(kind, "second") == 0 ? ROWS / 2 : ROWS;
}

static bool write_table(hid_t group, const char *kind)
{
    static float x[ROWS][COLUMNS];
    for (int i = 0; i < ROWS; i++)
        for (int k = 0; k < COLUMNS; k++)
            x[i][k] = (float)((i * 7 + k * 3) % 11) / 11 + (i % CLASSES == k);
    if (strcmp(kind, "nan") == 0)
        x[ROWS / 2][1] = NAN;
    for (int k = 0; k < COLUMNS; k++)
        if (strcmp(kind, "huge") == 0)
            x[ROWS / 2][k] = k % 2 ? -3e38F : 3e38F;
        else if (strcmp(kind, "steep") == 0)
            x[ROWS / 2][k] = 2e21F;
    return write_array(group, "x", H5T_NATIVE_FLOAT, 2, (hsize_t[]){row_count(kind), COLUMNS},
                       x[first_row(kind)]);
}

static bool write_images(hid_t group)
{
    static unsigned char x[ROWS][PIXELS];
    for (int i = 0; i < ROWS; i++)
        for (int k = 0; k < PIXELS; k++)
            x[i][k] = (unsigned char)(i * k);
    return write_array(group, "x", H5T_NATIVE_UCHAR, 4, (hsize_t[]){ROWS, SIDE, SIDE, 1}, x);
}

static bool write_values(hid_t group)
{
    static float y[ROWS][1];
    for (int i = 0; i < ROWS; i++)
        y[i][0] = (float)(i % CLASSES);
    return write_array(group, "y", H5T_NATIVE_FLOAT, 2, (hsize_t[]){ROWS, 1}, y);
}

static bool write_labels(hid_t group, const char *kind)
{
    int y[ROWS];
    for (int i = 0; i < ROWS; i++)
        y[i] = i % CLASSES;
    if (strcmp(kind, "label") == 0)
        y[ROWS / 2] = 7;
    if (strcmp(kind, "negative") == 0)
        y[ROWS / 2] = -2;
    const hsize_t count = strcmp(kind, "lengths") == 0 ? ROWS - 2 : row_count(kind);
    return write_array(group, "y", H5T_NATIVE_INT, 1, &count, y + first_row(kind));
}

/* Columns to tell samples apart by: texts, integers, and what is no use. */
static bool write_columns(hid_t group)
{
    static char site[ROWS][6];
    static int half[ROWS], each[ROWS + 1];
    for (int i = 0; i < ROWS; i++) {
        snprintf(site[i], sizeof site[i], "%s", i % 4 ? "north" : "south");
        half[i] = i < ROWS / 2 ? 7 : -1;
    }
    hid_t text = H5Tcopy(H5T_C_S1);
    const hsize_t count = ROWS, other = ROWS + 1;
    bool good = H5Tset_size(text, sizeof site[0]) >= 0;
    good = write_array(group, "site", text, 1, &count, site) && good;
    good = write_array(group, "half", H5T_NATIVE_INT, 1, &count, half) && good;
    good = write_array(group, "longer", H5T_NATIVE_INT, 1, &other, each) && good;
    return H5Tclose(text) >= 0 && good;
}

/* What a simulation might leave: group fields with state and next. */
static bool write_fields(hid_t file)
{
    static float values[ROWS][COLUMNS];
    for (int i = 0; i < ROWS; i++)
        for (int k = 0; k < COLUMNS; k++)
            values[i][k] = (float)((i + k) % 7) / 7;
    hid_t group = H5Gcreate2(file, "fields", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    const hsize_t dims[] = {ROWS, COLUMNS};
    bool good = write_array(group, "state", H5T_NATIVE_FLOAT, 2, dims, values);
    good = write_array(group, "next", H5T_NATIVE_FLOAT, 2, dims, values) && good;
    return H5Gclose(group) >= 0 && good;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fputs("usage: make_h5 good|nan|huge|steep|label|negative|lengths|image|groups|"
              "first|second|fields FILE\n",
              stderr);
        return 2;
    }
    hid_t file = H5Fcreate(argv[2], H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    const bool is_steep = strcmp(argv[1], "steep") == 0;
    bool good = file >= 0;
    if (good && strcmp(argv[1], "fields") == 0)
        return write_fields(file) && H5Fclose(file) >= 0 ? 0 : 1;
    for (int i = 0; i < 2 && good; i++) {
        hid_t group = H5Gcreate2(file, i ? "test" : "train", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        const char *kind = i && (is_steep || strcmp(argv[1], "huge") == 0) ? "good" : argv[1];
        good = strcmp(kind, "image") == 0 ? write_images(group) : write_table(group, kind);
        good = (is_steep ? write_values(group) : write_labels(group, kind)) && good;
        if (strcmp(kind, "groups") == 0)
            good = write_columns(group) && good;
        good = H5Gclose(group) >= 0 && good;
    }
    return file >= 0 && H5Fclose(file) >= 0 && good ? 0 : 1;
}
