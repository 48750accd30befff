/* set_ways FILE WAYS: replaces the attribute `ways` of a checkpoint, through HDF5 as another
 * program would; \n in WAYS ends a line. */
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    if (argc != 3) {
        fputs("usage: set_ways FILE WAYS\n", stderr);
        return 2;
    }
    char *ways = strdup(argv[2]);
    if (!ways)
        return 1;
    for (char *at; (at = strstr(ways, "\\n"));) {
        *at = '\n';
        memmove(at + 1, at + 2, strlen(at + 2) + 1);
    }
    hid_t file = H5Fopen(argv[1], H5F_ACC_RDWR, H5P_DEFAULT);
    hid_t space = H5Screate(H5S_SCALAR), type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, H5T_VARIABLE);
    H5Tset_cset(type, H5T_CSET_UTF8);
    herr_t good = H5Adelete(file, "ways"); /* fails where there is none */
    hid_t attribute = H5Acreate2(file, "ways", type, space, H5P_DEFAULT, H5P_DEFAULT);
    if (good >= 0)
        good = H5Awrite(attribute, type, &ways);
    H5Aclose(attribute);
    H5Tclose(type);
    H5Sclose(space);
    free(ways);
    return H5Fclose(file) >= 0 && good >= 0 ? 0 : 1;
}
