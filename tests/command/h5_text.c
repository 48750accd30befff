/* h5_text FILE DATASET: its rows as lines of numbers. */
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    if (argc != 3) {
        fputs("usage: h5_text FILE DATASET\n", stderr);
        return 2;
    }
    hid_t file = H5Fopen(argv[1], H5F_ACC_RDONLY, H5P_DEFAULT);
    hid_t dataset = file < 0 ? -1 : H5Dopen2(file, argv[2], H5P_DEFAULT);
    hid_t space = dataset < 0 ? -1 : H5Dget_space(dataset);
    hsize_t dims[H5S_MAX_RANK];
    if (space < 0 || H5Sget_simple_extent_dims(space, dims, NULL) < 1)
        return 1;
    const size_t count = (size_t)H5Sget_simple_extent_npoints(space);
    double *values = malloc(count * sizeof *values);
    if (!values || H5Dread(dataset, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0)
        return 1;
    const size_t width = count / (size_t)dims[0];
    for (size_t i = 0; i < count; i++)
        printf("%.9g%c", values[i], (i + 1) % width ? ' ' : '\n');
    free(values);
    H5Sclose(space);
    H5Dclose(dataset);
    H5Fclose(file);
    return 0;
}
