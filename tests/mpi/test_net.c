/* Networks inside a program that has started MPI itself, by the public headers. */
#include "tests/cmocka_all.h"

#include <math.h>
#include <mpi.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cohort/cohort.h>

#include "tests/unit/h5_files.h"

enum { ROWS = 50, WIDTH = 4, CLASSES = 3, STEPS = 3 * 7 };

static MPI_Comm world;
static int rank, size;
static char path[256];
static float x_all[ROWS][WIDTH];
static int32_t y_all[ROWS];

static const char recipe[] = "model: [dense: {units: 6, activation: tanh}, dense: {units: 3}]\n"
                             "loss: cross_entropy\n"
                             "optimizer: {type: adam, lr: 0.02}\n"
                             "train: {epochs: 3, global_batch_size: 8, threads: 1}\n";

/* The verdict of all ranks, so that none goes on while another has failed. */
static void assert_all(bool good)
{
    int bad = !good;
    MPI_Allreduce(MPI_IN_PLACE, &bad, 1, MPI_INT, MPI_MAX, world);
    if (!good)
        fprintf(stderr, "rank %d fails: %s\n", rank, cohort_error_message());
    assert_true(bad == 0);
}

static void make_samples(void)
{
    for (int i = 0; i < ROWS; i++) {
        for (int k = 0; k < WIDTH; k++)
            x_all[i][k] = (float)((i * 37 + k * 61) % 101) / 50 - 1;
        y_all[i] = (int32_t)((x_all[i][0] + x_all[i][1] > 0) + (x_all[i][2] > 0.3f));
    }
}

static cohort_arrays arrays_of(const float *x, const int32_t *y, size_t count, cohort_rows rows)
{
    return (cohort_arrays){.x = {x, COHORT_TYPE_FLOAT32, 2, {count, WIDTH}},
                           .y = {y, COHORT_TYPE_INT32, 1, {count}},
                           .rows = rows};
}

/* This rank's run of the samples, the last rank's being empty where there are several. */
static cohort_arrays own_rows(void)
{
    const int parts = size > 1 ? size - 1 : 1;
    const int begin = rank < parts ? ROWS * rank / parts : ROWS,
              end = rank < parts ? ROWS * (rank + 1) / parts : ROWS;
    return arrays_of(x_all[begin], y_all + begin, (size_t)(end - begin), COHORT_ROWS_GATHERED);
}

static cohort_status create(cohort_net **net, const cohort_arrays *train, const char *set)
{
    const char *sets[] = {set};
    const cohort_net_config config = {
        .recipe = recipe, .sets = sets, .set_count = set ? 1 : 0, .train = train};
    return cohort_net_create(net, &world, &config);
}

/* Outputs for all samples, to be compared to the bit. */
typedef struct outputs {
    float y[ROWS][CLASSES];
} outputs;

static bool ask(outputs *out, cohort_net *net)
{
    const cohort_array x = {x_all, COHORT_TYPE_FLOAT32, 2, {ROWS, WIDTH}};
    return cohort_net_predict(out->y[0], net, &x) == COHORT_OK;
}

/* Trains on ARRAYS to the end. */
static void train_on(outputs *out, const cohort_arrays *arrays)
{
    cohort_net *net = NULL;
    cohort_net_view view = {0};
    bool good = create(&net, arrays, NULL) == COHORT_OK;
    assert_all(good);
    assert_all(cohort_net_train(&view, net) == COHORT_OK && view.is_over && view.step == STEPS &&
               view.epoch == 3 && view.loss < 1);
    assert_all(ask(out, net));
    cohort_net_destroy(net);
}

static void write_file(void)
{
    if (rank == 0) {
        const hsize_t dims[] = {ROWS, WIDTH};
        hid_t file = h5_create(path, "train");
        h5_write(file, "train/x", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, 2, dims, 0, NULL, x_all);
        h5_write(file, "train/y", H5T_STD_I32LE, H5T_NATIVE_INT, 1, dims, 0, NULL, y_all);
        H5Fclose(file);
    }
    MPI_Barrier(world);
}

static void memory_trains_as_a_file(void **state)
{
    (void)state;
    outputs file, kept;
    static double x_double[ROWS][WIDTH];
    char set[300];
    write_file();
    snprintf(set, sizeof set, "data.file=%s", path);
    cohort_net *net = NULL;
    assert_all(create(&net, NULL, set) == COHORT_OK);
    assert_all(cohort_net_train(NULL, net) == COHORT_OK && ask(&file, net));
    cohort_net_destroy(net);

    const cohort_rows ways[] = {COHORT_ROWS_BORROWED, COHORT_ROWS_COPIED};
    for (int i = 0; i < 2; i++) {
        const cohort_arrays arrays = arrays_of(x_all[0], y_all, ROWS, ways[i]);
        train_on(&kept, &arrays);
        assert_all(memcmp(&kept, &file, sizeof file) == 0);
    }
    const cohort_arrays own = own_rows();
    train_on(&kept, &own);
    assert_all(memcmp(&kept, &file, sizeof file) == 0);

    uint8_t y_bytes[ROWS];
    for (int i = 0; i < ROWS; i++) {
        y_bytes[i] = (uint8_t)y_all[i];
        for (int k = 0; k < WIDTH; k++)
            x_double[i][k] = (double)x_all[i][k];
    }
    cohort_arrays wide = arrays_of(NULL, NULL, ROWS, COHORT_ROWS_BORROWED);
    wide.x.values = x_double;
    wide.x.type = COHORT_TYPE_FLOAT64;
    wide.y.values = y_bytes;
    wide.y.type = COHORT_TYPE_UINT8;
    train_on(&kept, &wide);
    assert_all(memcmp(&kept, &file, sizeof file) == 0);
    if (rank == 0)
        unlink(path);
}

/* Two networks in turn, one stopped half-way, saved and continued in a third. */
static void networks_live_together(void **state)
{
    (void)state;
    const cohort_arrays arrays = arrays_of(x_all[0], y_all, ROWS, COHORT_ROWS_BORROWED);
    outputs whole, pieces, resumed, loaded;
    cohort_net *a = NULL, *b = NULL, *c = NULL;
    cohort_net_view view;
    train_on(&whole, &arrays);
    assert_all(create(&a, &arrays, NULL) == COHORT_OK);
    assert_all(create(&b, &arrays, "seed=2") == COHORT_OK);
    for (int step = 1; step <= STEPS; step++) {
        assert_all(cohort_net_step(&view, a, 1) == COHORT_OK && view.step == (uint64_t)step &&
                   view.is_over == (step == STEPS) && isfinite(view.loss));
        assert_all(cohort_net_step(NULL, b, 1) == COHORT_OK);
        if (step == 10)
            assert_all(cohort_net_save(a, path) == COHORT_OK);
    }
    assert_all(ask(&pieces, a) && memcmp(&pieces, &whole, sizeof whole) == 0);
    assert_all(ask(&pieces, b) && memcmp(&pieces, &whole, sizeof whole) != 0);
    assert_all(cohort_net_step(&view, a, 1) == COHORT_OK && view.step == STEPS);

    const cohort_net_config config = {.recipe = recipe, .train = &arrays, .resume = path};
    assert_all(cohort_net_create(&c, &world, &config) == COHORT_OK);
    assert_all(cohort_net_train(&view, c) == COHORT_OK && view.step == STEPS);
    assert_all(ask(&resumed, c) && memcmp(&resumed, &whole, sizeof whole) == 0);
    assert_all(cohort_net_save(c, path) == COHORT_OK);
    cohort_net_destroy(c);
    cohort_net_destroy(b);

    cohort_net_info info;
    assert_all(cohort_net_load(&c, rank % 2 ? NULL : (void *)&(MPI_Comm){MPI_COMM_SELF}, path) ==
               COHORT_OK);
    cohort_net_describe(&info, c);
    assert_all(info.inputs == WIDTH && info.outputs == CLASSES && info.input_dim_count == 1 &&
               info.parameters == 6 * (WIDTH + 1) + CLASSES * 7);
    assert_all(ask(&loaded, c));
    bool near = true;
    for (int i = 0; i < ROWS; i++)
        for (int k = 0; k < CLASSES; k++)
            near &= fabsf(loaded.y[i][k] - whole.y[i][k]) < 1e-6f;
    assert_all(near);
    assert_all(cohort_net_step(NULL, c, 1) == COHORT_USAGE);
    cohort_net_destroy(c);
    cohort_net_destroy(a);
    MPI_Barrier(world);
    if (rank == 0)
        unlink(path);
}

/* Even and odd ranks train different networks at the same time; each is as if alone. */
static void sub_communicators(void **state)
{
    (void)state;
    const cohort_arrays arrays = arrays_of(x_all[0], y_all, ROWS, COHORT_ROWS_COPIED);
    outputs whole, part;
    MPI_Comm half;
    MPI_Errhandler before, after;
    MPI_Comm_split(world, rank % 2, rank, &half);
    MPI_Comm_get_errhandler(half, &before);
    train_on(&whole, &arrays);
    const int threads = omp_get_max_threads();
    const cohort_net_config config = {.recipe = recipe, .train = &arrays};
    cohort_net *net = NULL;
    bool good = cohort_net_create(&net, &half, &config) == COHORT_OK;
    assert_all(good);
    assert_all(cohort_net_train(NULL, net) == COHORT_OK && ask(&part, net));
    assert_all(memcmp(&part, &whole, sizeof whole) == 0);
    assert_all(omp_get_max_threads() == threads);
    cohort_net_destroy(net);
    MPI_Comm_get_errhandler(half, &after);
    assert_all(before == after);
    MPI_Errhandler_free(&before);
    MPI_Errhandler_free(&after);
    MPI_Comm_free(&half);
}

static void replaced_samples_are_trained_on(void **state)
{
    (void)state;
    static float other[ROWS][WIDTH];
    outputs wanted, got;
    cohort_net *net = NULL;
    for (int i = 0; i < ROWS; i++)
        for (int k = 0; k < WIDTH; k++)
            other[i][k] = x_all[(i + 7) % ROWS][k];
    for (cohort_rows rows = COHORT_ROWS_BORROWED; rows <= COHORT_ROWS_COPIED; rows++) {
        const cohort_arrays first = arrays_of(other[0], y_all, ROWS, rows),
                            second = arrays_of(x_all[0], y_all, ROWS, rows),
                            short_one = arrays_of(x_all[0], y_all, ROWS - 1, rows);
        train_on(&wanted, &second);
        assert_all(create(&net, &first, NULL) == COHORT_OK);
        assert_all(cohort_net_replace(net, &second) == COHORT_OK);
        assert_all(cohort_net_train(NULL, net) == COHORT_OK && ask(&got, net));
        assert_all(memcmp(&got, &wanted, sizeof wanted) == 0);
        assert_all(cohort_net_replace(net, &short_one) == COHORT_USAGE);
        cohort_net_destroy(net);
    }
}

/* --- Callbacks, stopping, early stopping --------------------------------------- */

typedef struct heard {
    int steps, epochs, stop_at, asked;
} heard;

static void on_step(void *context, const cohort_net_view *view)
{
    heard *h = context;
    h->steps += (int)view->step == h->steps + 1;
}

static void on_epoch(void *context, const cohort_net_view *view)
{
    heard *h = context;
    h->epochs += (int)view->epoch == h->epochs + 1 && view->loss > 0;
}

/* Only the last rank wants to stop. */
static int should_stop(void *context)
{
    heard *h = context;
    return ++h->asked == h->stop_at && rank == size - 1;
}

static void callbacks_are_called(void **state)
{
    (void)state;
    const cohort_arrays arrays = arrays_of(x_all[0], y_all, ROWS, COHORT_ROWS_BORROWED);
    heard h = {.stop_at = 5};
    const cohort_net_config config = {.recipe = recipe,
                                      .train = &arrays,
                                      .context = &h,
                                      .on_step = on_step,
                                      .on_epoch = on_epoch,
                                      .should_stop = should_stop};
    cohort_net *net = NULL;
    cohort_net_view view;
    assert_all(cohort_net_create(&net, &world, &config) == COHORT_OK);
    assert_all(cohort_net_train(&view, net) == COHORT_OK && view.step == 5 && !view.is_over);
    assert_all(cohort_net_train(&view, net) == COHORT_OK && view.is_over);
    assert_all(h.steps == (rank == 0 ? STEPS : 0) && h.epochs == (rank == 0 ? 3 : 0));
    cohort_net_destroy(net);
}

/* Without a folder the best weights come back as with one. */
static void early_stopping_keeps_the_best(void **state)
{
    (void)state;
    const cohort_arrays train = arrays_of(x_all[0], y_all, 30, COHORT_ROWS_BORROWED),
                        held = arrays_of(x_all[30], y_all + 30, 20, COHORT_ROWS_COPIED);
    const char *sets[] = {"train.early_stopping={metric: validation_loss, patience: 2}",
                          "train.epochs=200", "optimizer.lr=0.3"};
    char folder[300], command[400];
    outputs with, without;
    cohort_net_view view;
    snprintf(folder, sizeof folder, "%s.run", path);
    for (int i = 0; i < 2; i++) {
        const cohort_net_config config = {.recipe = recipe,
                                          .sets = sets,
                                          .set_count = 3,
                                          .train = &train,
                                          .validation = &held,
                                          .test = &held,
                                          .run_folder = i ? folder : NULL};
        cohort_net *net = NULL;
        assert_all(cohort_net_create(&net, &world, &config) == COHORT_OK);
        assert_all(cohort_net_train(&view, net) == COHORT_OK && view.is_over);
        assert_all(view.step < view.total_steps && view.test_loss < view.validation_loss);
        assert_all(ask(i ? &with : &without, net));
        cohort_net_destroy(net);
    }
    assert_all(memcmp(&with, &without, sizeof with) == 0);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    MPI_Barrier(world);
    if (rank == 0)
        assert_int_equal(system(command), 0);
}

/* --- Mistakes ------------------------------------------------------------------ */

static void refuses(const cohort_arrays *train, const char *set, cohort_status status,
                    const char *part)
{
    cohort_net *net = NULL;
    const cohort_status got = create(&net, train, set);
    assert_all(got == status && !net && strstr(cohort_error_message(), part));
}

static void mistakes_are_refused(void **state)
{
    (void)state;
    static float bad[ROWS][WIDTH];
    cohort_arrays arrays = arrays_of(x_all[0], y_all, ROWS, COHORT_ROWS_BORROWED);
    memcpy(bad, x_all, sizeof bad);
    bad[41][2] = NAN;
    refuses(NULL, NULL, COHORT_USAGE, "data");
    refuses(&arrays, "data.file=x.h5", COHORT_USAGE, "that data is in memory");
    refuses(&arrays, "data.validation=held", COHORT_USAGE, "held");
    refuses(&arrays, "optimizer.lrr=1", COHORT_USAGE, "lr");
    refuses(&arrays, "model.1.units=2", COHORT_DATA, "label 2");
    const cohort_arrays nan = arrays_of(bad[0], y_all, ROWS, COHORT_ROWS_COPIED);
    refuses(&nan, NULL, COHORT_DATA, "row 41 of x");
    arrays.y.dims[0] = ROWS - 1;
    refuses(&arrays, NULL, COHORT_USAGE, "one length");
    arrays.y = (cohort_array){0};
    refuses(&arrays, NULL, COHORT_USAGE, "there is no y");
    const cohort_arrays none = arrays_of(x_all[0], y_all, 0, COHORT_ROWS_GATHERED);
    refuses(&none, NULL, COHORT_USAGE, "no samples");
    if (size > 1) {
        const cohort_arrays mixed =
            arrays_of(rank ? x_all[0] : bad[0], y_all, ROWS, COHORT_ROWS_COPIED);
        refuses(&mixed, NULL, COHORT_PEER, "COHORT_ROWS_GATHERED");
    }
}

static void asking_wrongly_is_refused(void **state)
{
    (void)state;
    const cohort_arrays arrays = arrays_of(x_all[0], y_all, ROWS, COHORT_ROWS_BORROWED);
    const cohort_array narrow = {x_all, COHORT_TYPE_FLOAT32, 2, {ROWS, WIDTH - 1}},
                       nan = {&(float[WIDTH]){0, NAN}, COHORT_TYPE_FLOAT32, 2, {1, WIDTH}};
    outputs out;
    cohort_net *net = NULL;
    assert_all(create(&net, &arrays, NULL) == COHORT_OK);
    assert_all(cohort_net_predict(out.y[0], net, &narrow) == COHORT_USAGE);
    assert_all(cohort_net_predict(out.y[0], net, &nan) == COHORT_DATA);
    assert_all(cohort_net_save(net, "/proc/none/x.h5") == COHORT_DATA);
    cohort_net_destroy(net);
    const cohort_net_config config = {
        .recipe = "data: {validation: 0.5}\nmodel: [dense: {units: 3}]\nloss: cross_entropy\n",
        .train = &arrays,
        .validation = &arrays};
    assert_all(cohort_net_create(&net, &world, &config) == COHORT_USAGE &&
               strstr(cohort_error_message(), "data.validation: 0.5"));
}

static void a_design_is_a_recipe(void **state)
{
    (void)state;
    static const char *const sets[][2] = {
        {"loss", "cross_entropy"}, {"optimizer.type", "adam"}, {"optimizer.lr", "1"},
        {"optimizer.lr", "0.02"},  {"train.epochs", "3"},      {"train.global_batch_size", "8"},
        {"train.threads", "1"}};
    const cohort_arrays arrays = arrays_of(x_all[0], y_all, ROWS, COHORT_ROWS_BORROWED);
    outputs wanted, got;
    cohort_design *design = NULL;
    cohort_net *net = NULL;
    train_on(&wanted, &arrays);
    assert_ok(cohort_design_create(&design));
    const cohort_net_config config = {.design = design, .train = &arrays};
    assert_all(cohort_net_create(&net, &world, &config) == COHORT_USAGE);
    assert_ok(cohort_design_layer(design, "dense", "units: 6, activation: tanh"));
    assert_ok(cohort_design_layer(design, "dense", "units: 3"));
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        assert_ok(cohort_design_set(design, sets[i][0], sets[i][1]));
    assert_all(cohort_net_create(&net, &world, &config) == COHORT_OK);
    assert_all(cohort_net_train(NULL, net) == COHORT_OK && ask(&got, net));
    assert_all(memcmp(&got, &wanted, sizeof wanted) == 0);
    cohort_net_destroy(net);
    cohort_design_destroy(design);
}

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    MPI_Comm_dup(MPI_COMM_WORLD, &world);
    MPI_Comm_rank(world, &rank);
    MPI_Comm_size(world, &size);
    snprintf(path, sizeof path, "%s", h5_path("net.h5"));
    MPI_Bcast(path, sizeof path, MPI_BYTE, 0, world);
    make_samples();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_trains_as_a_file),
        cmocka_unit_test(networks_live_together),
        cmocka_unit_test(sub_communicators),
        cmocka_unit_test(replaced_samples_are_trained_on),
        cmocka_unit_test(callbacks_are_called),
        cmocka_unit_test(early_stopping_keeps_the_best),
        cmocka_unit_test(mistakes_are_refused),
        cmocka_unit_test(asking_wrongly_is_refused),
        cmocka_unit_test(a_design_is_a_recipe),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    MPI_Comm_free(&world);
    MPI_Finalize();
    return failed;
}
