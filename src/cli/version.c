#include "cli/version.h"

#include <jpeglib.h>
#include <png.h>
#include <zlib.h>

#include "comm/comm.h"
#include "data/listing.h"
#include "kernel/choice.h"
#include "kernel/gemm.h"
#include "privacy/secret.h"
#include "recipe/recipe.h"
#include "report/page.h"

#define TEXT_OF(token) TEXT_OF_TOKEN(token)
#define TEXT_OF_TOKEN(token) #token

#ifdef __clang__
#define COMPILER "Clang " __clang_version__
#else
#define COMPILER "GCC " __VERSION__
#endif

void cohort_cli_print_version(FILE *out)
{
    char mpi[256], hdf5[64], kernels[256];
    cohort_comm_library(mpi, sizeof mpi);
    cohort_data_library(hdf5, sizeof hdf5);
    cohort_kernel_choice(kernels, sizeof kernels);
    fprintf(out,
            "cohort " COHORT_VERSION "\n%s\n%s\n%s\n"
            "libyaml %s, libsodium %s, jansson %s, zlib %s\n"
            "libpng %s, libjpeg-turbo " TEXT_OF(LIBJPEG_TURBO_VERSION) "\n"
                                                                       "computes with %s\n"
                                                                       "built as " COHORT_BUILD
                                                                       " by " COMPILER "\n",
            mpi, cohort_gemm_library(), hdf5, cohort_recipe_library(), cohort_secret_library(),
            cohort_report_library(), zlibVersion(), png_get_libpng_ver(NULL), kernels);
}
