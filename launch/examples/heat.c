/* A simulation that trains a surrogate of itself while it runs.
 *
 * Two thirds of the ranks train, the others simulate: a warm spot on a cold-edged plate spreads
 * by the 2-D heat equation, du/dt = a (d2u/dx2 + d2u/dy2), and sensors read what arrives. From
 * the spot's place and width and the plate's diffusivity a, a small network learns to tell the
 * readings without simulating. Samples go by MPI from the simulation to the training ranks as
 * they are made; those keep the newest in a window that the network trains on by steps. The last
 * quarter of the samples is not trained on: there the network is compared with a linear fit to
 * all that came before.
 *
 *   mpirun -n 6 heat [SAVE.h5]
 *
 * The last line states both errors and their ratio. */
#include <math.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cohort/cohort.h>

enum {
    GRID = 33, /* points a side */
    TIME_STEPS = 120,
    SENSORS = 9,    /* 3 x 3 */
    INPUTS = 4,     /* place, width, diffusivity: each in [0, 1] */
    SAMPLES = 2048, /* simulations */
    TRAINED = SAMPLES / 4 * 3,
    WINDOW = SAMPLES / 2, /* samples trained on at a time */
    ROUNDS = 5,           /* refreshes of the window */
    ROUND_STEPS = 1500    /* training steps between them */
};

typedef struct sample {
    float x[INPUTS], y[SENSORS];
} sample;

/* The fractional part of INDEX times an irrational of its own for each input: even coverage. */
static void choose(float *x, int index)
{
    static const double steps[INPUTS] = {0.8566748838545029, 0.7338918566271260, 0.6287067210378087,
                                         0.5385972572236101};
    for (int i = 0; i < INPUTS; i++)
        x[i] = (float)fmod(0.5 + steps[i] * (index + 1), 1);
}

/* Explicit Euler from the warm spot that S->x describes; S->y = the readings at the end. */
static void simulate(sample *s)
{
    static float u[2][GRID][GRID];
    const double cx = 0.2 + 0.6 * s->x[0], cy = 0.2 + 0.6 * s->x[1], width = 0.08 + 0.1 * s->x[2];
    const float rate = 0.02f + 0.2f * s->x[3]; /* a dt / dx^2, stable below 1/4 */
    memset(u, 0, sizeof u);
    for (int i = 1; i < GRID - 1; i++)
        for (int k = 1; k < GRID - 1; k++) {
            const double dx = (double)i / (GRID - 1) - cx, dy = (double)k / (GRID - 1) - cy;
            u[0][i][k] = (float)exp(-(dx * dx + dy * dy) / (2 * width * width));
        }
    for (int t = 0; t < TIME_STEPS; t++) {
        float(*from)[GRID] = u[t % 2], (*to)[GRID] = u[(t + 1) % 2];
        for (int i = 1; i < GRID - 1; i++)
            for (int k = 1; k < GRID - 1; k++)
                to[i][k] = from[i][k] + rate * (from[i - 1][k] + from[i + 1][k] + from[i][k - 1] +
                                                from[i][k + 1] - 4 * from[i][k]);
    }
    for (int i = 0; i < SENSORS; i++)
        s->y[i] =
            10 * u[TIME_STEPS % 2][(i / 3 + 1) * (GRID - 1) / 4][(i % 3 + 1) * (GRID - 1) / 4];
}

/* Simulation rank INDEX of COUNT makes every COUNT-th sample; training ranks 0 to TRAINERS - 1
 * get them in turn. Nothing waits for the training. */
static void run_simulation(int index, int count, int trainers)
{
    for (int i = index; i < SAMPLES; i += count) {
        sample s;
        choose(s.x, i);
        simulate(&s);
        MPI_Send(&s, sizeof s, MPI_BYTE, i % trainers, 0, MPI_COMM_WORLD);
    }
}

/* Sums for a linear fit of y to (x, 1) by least squares. */
typedef struct fit {
    double xx[INPUTS + 1][INPUTS + 1], xy[INPUTS + 1][SENSORS];
} fit;

static void fit_add(fit *f, const sample *s)
{
    const float x[INPUTS + 1] = {s->x[0], s->x[1], s->x[2], s->x[3], 1};
    for (int i = 0; i <= INPUTS; i++) {
        for (int k = 0; k <= INPUTS; k++)
            f->xx[i][k] += x[i] * x[k];
        for (int k = 0; k < SENSORS; k++)
            f->xy[i][k] += x[i] * s->y[k];
    }
}

/* Solves by Gauss-Jordan elimination; xy becomes the coefficients. (xx is positive definite.) */
static void fit_solve(fit *f)
{
    for (int p = 0; p <= INPUTS; p++)
        for (int i = 0; i <= INPUTS; i++) {
            const double factor = i == p ? 1 - 1 / f->xx[p][p] : f->xx[i][p] / f->xx[p][p];
            for (int k = INPUTS; k >= 0; k--)
                f->xx[i][k] -= factor * f->xx[p][k];
            for (int k = 0; k < SENSORS; k++)
                f->xy[i][k] -= factor * f->xy[p][k];
        }
}

/* Training rank INDEX's part of the work. */
typedef struct trainer {
    MPI_Comm comm;
    int index, count;
    int simulators;
    sample *samples; /* [received] this rank's, in the order made */
    int received;
    float *x, *y; /* its part of the window */
    int rows;
    fit linear;
} trainer;

/* Takes this rank's samples numbered below END. */
static void receive(trainer *t, int end)
{
    for (int i = t->index + t->received * t->count; i < end; i += t->count) {
        sample *s = &t->samples[t->received++];
        MPI_Recv(s, sizeof *s, MPI_BYTE, t->count + i % t->simulators, 0, MPI_COMM_WORLD,
                 MPI_STATUS_IGNORE);
        if (i < TRAINED)
            fit_add(&t->linear, s);
    }
}

/* The newest rows of this rank, for cohort. */
static cohort_arrays window(trainer *t)
{
    for (int i = 0; i < t->rows; i++) {
        const sample *s = &t->samples[t->received - t->rows + i];
        memcpy(t->x + i * INPUTS, s->x, sizeof s->x);
        memcpy(t->y + i * SENSORS, s->y, sizeof s->y);
    }
    cohort_arrays arrays = {{t->x, COHORT_TYPE_FLOAT32, 2, {(size_t)t->rows, INPUTS}},
                            {t->y, COHORT_TYPE_FLOAT32, 2, {(size_t)t->rows, SENSORS}},
                            COHORT_ROWS_GATHERED,
                            NULL,
                            0};
    return arrays;
}

static cohort_status design(cohort_design **out)
{
    static const char *const sets[][2] = {
        {"loss", "mse"},
        {"optimizer.type", "adam"},
        {"optimizer.lr", "0.01"},
        {"train.threads", "1"},
        {"train.global_batch_size", "64"},
        {"train.epochs", "1000"},
        {"optimizer.schedule.type", "cosine"},
    };
    char steps[16];
    snprintf(steps, sizeof steps, "%d", (ROUNDS + 1) * ROUND_STEPS);
    cohort_status status = cohort_design_create(out);
    for (int i = 0; i < 2 && status == COHORT_OK; i++)
        status = cohort_design_layer(*out, "dense", "units: 64, activation: gelu");
    if (status == COHORT_OK)
        status = cohort_design_layer(*out, "dense", "units: 9");
    for (size_t i = 0; i < sizeof sets / sizeof *sets && status == COHORT_OK; i++)
        status = cohort_design_set(*out, sets[i][0], sets[i][1]);
    return status == COHORT_OK ? cohort_design_set(*out, "train.max_steps", steps) : status;
}

/* Trains by steps, the window moving on in between. */
static cohort_status train(cohort_net *net, trainer *t)
{
    cohort_net_view view;
    cohort_status status = cohort_net_step(&view, net, ROUND_STEPS);
    for (int round = 1; round <= ROUNDS && status == COHORT_OK; round++) {
        receive(t, WINDOW + (TRAINED - WINDOW) * round / ROUNDS);
        const cohort_arrays newest = window(t);
        status = cohort_net_replace(net, &newest);
        if (status == COHORT_OK)
            status = cohort_net_step(&view, net, ROUND_STEPS);
        if (t->index == 0 && status == COHORT_OK)
            printf("step %4d of %d: loss %.5f\n", (int)view.step, (int)view.total_steps, view.loss);
    }
    return status;
}

/* Both ways of predicting on what was not trained on. */
static cohort_status compare(cohort_net *net, trainer *t)
{
    double errors[3] = {0, 0, 0}; /* squares of the network's and the fit's; how many */
    MPI_Allreduce(MPI_IN_PLACE, &t->linear, sizeof t->linear / sizeof(double), MPI_DOUBLE, MPI_SUM,
                  t->comm);
    fit_solve(&t->linear);
    receive(t, SAMPLES);
    for (int n = 0; n < t->received; n++) {
        const sample *s = &t->samples[n];
        const cohort_array x = {s->x, COHORT_TYPE_FLOAT32, 2, {1, INPUTS}};
        float y[SENSORS];
        if (t->index + n * t->count < TRAINED)
            continue;
        cohort_status status = cohort_net_predict(y, net, &x);
        if (status != COHORT_OK)
            return status;
        for (int k = 0; k < SENSORS; k++) {
            double line = t->linear.xy[INPUTS][k];
            for (int i = 0; i < INPUTS; i++)
                line += t->linear.xy[i][k] * s->x[i];
            errors[0] += (y[k] - s->y[k]) * (y[k] - s->y[k]);
            errors[1] += (line - s->y[k]) * (line - s->y[k]);
            errors[2] += 1;
        }
    }
    MPI_Allreduce(MPI_IN_PLACE, errors, 3, MPI_DOUBLE, MPI_SUM, t->comm);
    if (t->index == 0)
        printf("surrogate: rms error %.4f; linear fit: %.4f; factor %.1f\n",
               sqrt(errors[0] / errors[2]), sqrt(errors[1] / errors[2]),
               sqrt(errors[1] / errors[0]));
    return COHORT_OK;
}

static cohort_status run_training(trainer *t, const char *save)
{
    cohort_net *net = NULL;
    cohort_design *made = NULL;
    t->rows = (WINDOW - 1 - t->index) / t->count + 1;
    t->samples = malloc((SAMPLES / (size_t)t->count + 1) * sizeof *t->samples);
    t->x = malloc((size_t)t->rows * INPUTS * sizeof *t->x);
    t->y = malloc((size_t)t->rows * SENSORS * sizeof *t->y);
    if (!t->samples || !t->x || !t->y)
        MPI_Abort(MPI_COMM_WORLD, 1);
    receive(t, WINDOW);
    const cohort_arrays first = window(t);
    cohort_status status = design(&made);
    if (status == COHORT_OK) {
        cohort_net_config config = {0};
        config.design = made;
        config.train = &first;
        status = cohort_net_create(&net, &t->comm, &config);
    }
    if (status == COHORT_OK)
        status = train(net, t);
    if (status == COHORT_OK)
        status = compare(net, t);
    if (status == COHORT_OK && save)
        status = cohort_net_save(net, save);
    cohort_net_destroy(net);
    cohort_design_destroy(made);
    free(t->samples);
    free(t->x);
    free(t->y);
    return status;
}

int main(int argc, char **argv)
{
    int rank, size;
    cohort_status status = COHORT_OK;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (size < 2) {
        fprintf(stderr, "heat: start it on 2 ranks or more: mpirun -n 6 heat\n");
        MPI_Finalize();
        return 2;
    }
    const int simulators = (size + 1) / 3 ? (size + 1) / 3 : 1;
    trainer t = {.index = rank, .count = size - simulators, .simulators = simulators};
    MPI_Comm_split(MPI_COMM_WORLD, rank < t.count, rank, &t.comm);
    if (rank < t.count)
        status = run_training(&t, argc > 1 ? argv[1] : NULL);
    else
        run_simulation(rank - t.count, simulators, t.count);
    if (status != COHORT_OK) {
        fprintf(stderr, "heat: %s\n", cohort_error_message());
        MPI_Abort(MPI_COMM_WORLD, cohort_status_exit_code(status));
    }
    MPI_Comm_free(&t.comm);
    MPI_Finalize();
    return 0;
}
