#include "cli/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "cli/command.h"
#include "cli/job_output.h"
#include "cli/job_processes.h"
#include "federated/deploy.h"
#include "train/job.h"

static const double GRACE = 5; /* seconds from the outcome to the end */
enum { CODE_LOST = 5, CODE_STOPPED = 75, ENVIRONMENT_BYTES_MAX = 4 << 20 };
enum { REGROUPINGS_MAX = 3 }; /* so often a job that lost a rank in them starts again unasked */

/* --- Signals ------------------------------------------------------------------- */

static volatile sig_atomic_t asked; /* signals that ask to stop, so far */

static void on_stop(int number)
{
    (void)number;
    asked++;
}

static void on_child(int number)
{
    (void)number; /* ends the poll */
}

/* All wait, blocked, for ppoll: none is lost between looking and waiting. */
static void catch_signals(sigset_t *while_polling)
{
    static const int stops[] = {SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
    struct sigaction action = {.sa_handler = on_stop};
    sigset_t ours;
    sigemptyset(&action.sa_mask);
    sigemptyset(&ours);
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++) {
        sigaction(stops[i], &action, NULL);
        sigaddset(&ours, stops[i]);
    }
    action.sa_handler = on_child;
    sigaction(SIGCHLD, &action, NULL);
    sigaddset(&ours, SIGCHLD);
    sigprocmask(SIG_BLOCK, &ours, while_polling);
}

/* --- One run of the job ---------------------------------------------------------- */

typedef struct run {
    pid_t pid;
    int errors;                   /* the job's stderr; -1 at its end */
    int status;                   /* of waitpid */
    int passed_on;                /* signals */
    double outcome_at, next_kill; /* 0 = not yet */
    int kills;
    double alone_at; /* since when its processes are all dead; 0 = they are not */
    bool was_alone;  /* so long that it was ended */
    cohort_job_output output;
} run;

static void become_job(const cohort_supervision *job, int errors, const sigset_t *mask)
{
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    setsid(); /* the terminal's Ctrl-C comes to us alone, who pass it on in words mpirun knows */
    dup2(errors, STDERR_FILENO);
    for (int number = 1; number < NSIG; number++)
        if (number != SIGPIPE && number != SIGXFSZ)
            signal(number, SIG_DFL);
    sigprocmask(SIG_SETMASK, mask, NULL);
    execvp(job->program, job->command);
    fprintf(stderr, "cohort: cannot run %s: %s\n", job->program, strerror(errno));
    _exit(2);
}

static cohort_status start(run *r, const cohort_supervision *job, const sigset_t *mask)
{
    int ends[2];
    *r = (run){.output = {.outcome = -1, .lost_rank = -1}};
    COHORT_REQUIRE(pipe2(ends, O_CLOEXEC) == 0, COHORT_INTERNAL, "cannot make a pipe: %s",
                   strerror(errno));
    r->pid = fork();
    if (r->pid == 0)
        become_job(job, ends[1], mask);
    close(ends[1]);
    r->errors = ends[0];
    COHORT_REQUIRE(r->pid > 0, COHORT_INTERNAL, "cannot start %s: %s", job->program,
                   strerror(errno));
    fcntl(r->errors, F_SETFL, O_NONBLOCK);
    return COHORT_OK;
}

/* Reads what is there; at the end of the stream errors becomes -1. */
static void drain(run *r)
{
    char bytes[4096];
    ssize_t got = 0;
    while (r->errors >= 0 && (got = read(r->errors, bytes, sizeof bytes)) > 0)
        cohort_job_output_take(&r->output, bytes, (size_t)got);
    if (r->errors >= 0 && (got == 0 || (errno != EAGAIN && errno != EINTR))) {
        close(r->errors);
        r->errors = -1;
    }
}

/* A job that does not end by itself is ended: one that has told its outcome (a stopped rank on
 * another host), or whose processes are all dead: Open MPI 4.1's mpirun may lock itself out at
 * its end when a rank is killed while it connects. */
static void end_stragglers(run *r)
{
    const double now = cohort_clock_seconds();
    if (r->outcome_at <= 0 && r->output.outcome >= 0)
        r->outcome_at = now;
    if (!cohort_job_has_died_out(r->pid))
        r->alone_at = 0;
    else if (r->alone_at <= 0)
        r->alone_at = now;
    const bool told = r->outcome_at > 0 && now >= r->outcome_at + GRACE,
               alone = r->alone_at > 0 && now >= r->alone_at + GRACE;
    if ((!told && !alone) || now < r->next_kill)
        return;
    r->was_alone = alone;
    kill(r->pid, r->kills++ == 0 ? SIGTERM : SIGKILL);
    r->next_kill = now + GRACE;
}

static void wait_for_end(run *r, const sigset_t *while_polling)
{
    while (waitpid(r->pid, &r->status, WNOHANG) == 0) {
        struct pollfd watched = {.fd = r->errors, .events = POLLIN};
        ppoll(&watched, 1, &(struct timespec){.tv_sec = 1}, while_polling);
        drain(r);
        if (r->passed_on < asked)
            kill(r->pid, r->passed_on++ == 0 ? SIGUSR1 : SIGTERM);
        end_stragglers(r);
    }
    drain(r);
    cohort_job_output_flush(&r->output);
    if (r->errors >= 0)
        close(r->errors);
}

/* The exit code of the job as users know it. Says who was killed, where nobody has. */
static int judge(const run *r, bool outlives)
{
    const cohort_job_output *output = &r->output;
    int code = WIFEXITED(r->status) ? WEXITSTATUS(r->status) : 128 + WTERMSIG(r->status);
    if (output->outcome >= 0 && (output->outcome != CODE_LOST || output->has_said))
        return output->outcome;
    if ((code < CODE_LOST + output->has_said && !outlives) || code == CODE_STOPPED)
        return code;
    if (asked > 1)
        return code;
    if (output->named.length > 0)
        return CODE_LOST;
    if (output->lost_rank >= 0)
        fprintf(stderr,
                "cohort: rank %d on %s has died (signal %d, %s): killed, out of memory or crashed; "
                "run the same command again to continue\n",
                output->lost_rank, output->host, output->signal, strsignal(output->signal));
    else if (r->was_alone)
        fprintf(stderr, "cohort: all ranks have ended and the launcher has not (was one killed "
                        "during start-up?); run the same command again to continue\n");
    else if (code > 128 && code < 128 + NSIG)
        fprintf(stderr,
                "cohort: the job has died (signal %d, %s): killed, out of memory or crashed; run "
                "the same command again to continue\n",
                code - 128, strsignal(code - 128));
    else
        fprintf(stderr,
                "cohort: the job was lost (its launcher ended with code %d); run the same "
                "command again to continue\n",
                code);
    return CODE_LOST;
}

/* Whether an elastic run ended because a rank was lost while the others regrouped: MPI cannot be
 * called out of making a communicator (comm/lookout.h). */
static bool has_lost_regrouping(const cohort_supervision *job, const cohort_job_output *output)
{
    return job->outlives && output->named.length > 0 &&
           strstr(output->named.data, "(last: regrouping)");
}

int cohort_supervise(const cohort_supervision *job)
{
    sigset_t while_polling;
    char token[64];
    int code = CODE_LOST;
    prctl(PR_SET_NAME, "cohort-launch"); /* `killall cohort` means the ranks */
    setenv(COHORT_SUPERVISED, "1", 1);
    setenv("COHORT_START_TIMEOUT", "300", 0);
    /* By it a restarted job knows a run folder as its own (--fresh and --resume are done). */
    snprintf(token, sizeof token, "%ld-%.6f", (long)getpid(), cohort_clock_seconds());
    setenv("COHORT_JOB", token, 1);
    catch_signals(&while_polling);
    int64_t restarts = 0;
    for (int regroupings = 0;;) {
        run r;
        cohort_status status = start(&r, job, &while_polling);
        if (status != COHORT_OK) {
            fprintf(stderr, "cohort: %s\n", cohort_error_message());
            return cohort_status_exit_code(status);
        }
        wait_for_end(&r, &while_polling);
        code = judge(&r, job->outlives);
        const bool unasked = code == CODE_LOST && has_lost_regrouping(job, &r.output) &&
                             regroupings < REGROUPINGS_MAX;
        cohort_job_output_clear(&r.output);
        if (code < CODE_LOST || code == CODE_STOPPED || asked > 0 ||
            (!unasked && restarts == job->restarts))
            return code;
        if (unasked) {
            regroupings++;
            fprintf(stderr, "cohort: warning: lost a rank while the others regrouped: starting "
                            "again from the last checkpoint\n");
        } else {
            restarts++;
            fprintf(stderr,
                    "cohort: warning: starting again from the last checkpoint (%lld of %lld)\n",
                    (long long)restarts, (long long)job->restarts);
        }
        sleep(1); /* what the lost job held may take a moment to be free */
    }
}

/* --- What is run ------------------------------------------------------------------ */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static bool is_mpirun(const char *name)
{
    static const char *const names[] = {"mpirun", "mpiexec", "orterun", "mpirun.openmpi",
                                        "mpiexec.openmpi"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

/* The strings of a file of /proc ("a\0b\0") as a NULL-terminated list; freed by nobody: it
 * serves until the process ends. */
static char **read_strings(const char *path)
{
    cohort_text text = {0};
    size_t count = 0;
    if (cohort_file_read(&text, path, ENVIRONMENT_BYTES_MAX) != COHORT_OK || !text.data)
        return NULL;
    for (size_t i = 0; i < text.length; i++)
        count += text.data[i] == '\0';
    char **list = calloc(count + 2, sizeof *list);
    for (size_t i = 0, at = 0; list && at < text.length; i++, at += strlen(text.data + at) + 1)
        list[i] = text.data + at;
    return list;
}

/* COMMAND of mpirun without -q (which hides who died) and handing our variables to all hosts. */
static char **adapt_mpirun(char **command, bool outlives)
{
    static char *const added[] = {"-x",
                                  COHORT_SUPERVISED,
                                  "-x",
                                  "COHORT_JOB",
                                  "-x",
                                  "COHORT_START_TIMEOUT",
                                  "--enable-recovery"};
    size_t count = 0, at = 0;
    while (command[count])
        count++;
    char **adapted = calloc(count + 8, sizeof *adapted);
    if (!adapted)
        return command;
    adapted[at++] = command[0];
    for (size_t i = 0; i < (outlives ? 7 : 6); i++)
        adapted[at++] = added[i];
    bool is_option = true; /* what follows the program is not mpirun's */
    for (size_t i = 1; i < count; i++) {
        is_option = is_option && strcmp(base_name(command[i]), "cohort") != 0;
        if (!is_option || (strcmp(command[i], "-q") != 0 && strcmp(command[i], "--quiet") != 0))
            adapted[at++] = command[i];
    }
    return adapted;
}

/* Arguments of `cohort launch` that do again what mpirun, our parent, was asked to. */
static cohort_status read_parent(char **command, size_t room, const char *program)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/cmdline", (long)getppid());
    char **given = read_strings(path);
    COHORT_REQUIRE(*program && given && given[0] && is_mpirun(base_name(given[0])), COHORT_USAGE,
                   "--restarts works alone and where mpirun has started rank 0 itself, on its own "
                   "host; else give it to `cohort launch --restarts N COMMAND…`, or let the batch "
                   "script start again after exit code 5");
    size_t count = 0;
    for (; given[count]; count++)
        if (count < room)
            command[count] = given[count];
    COHORT_REQUIRE(count <= room, COHORT_USAGE, "mpirun has more than %zu arguments", room);
    command[0] = given[0];
    return COHORT_OK;
}

static void go_where_parent_is(void)
{
    char path[64], folder[4096];
    const pid_t parent = getppid();
    snprintf(path, sizeof path, "/proc/%ld/cwd", (long)parent);
    const ssize_t length = readlink(path, folder, sizeof folder - 1);
    folder[length > 0 ? length : 0] = '\0';
    if (length <= 0 || chdir(folder) != 0)
        fprintf(stderr, "cohort: warning: cannot go to mpirun's folder %s: %s\n", folder,
                strerror(errno));
    cpu_set_t cores;
    if (sched_getaffinity(parent, sizeof cores, &cores) == 0)
        sched_setaffinity(0, sizeof cores, &cores);
}

/* Rank 0 becomes `cohort launch` with mpirun's arguments, environment, folder and cores: it is
 * no rank any more. Returns only when it cannot. */
static cohort_status become_launcher(int64_t restarts)
{
    enum { ARGUMENTS_MAX = 4096 };
    static char *command[ARGUMENTS_MAX + 5], number[24], program[4096];
    char path[64];
    command[0] = "cohort";
    command[1] = "launch";
    command[2] = "--restarts";
    command[3] = number;
    snprintf(number, sizeof number, "%lld", (long long)restarts);
    snprintf(path, sizeof path, "/proc/%ld/exe", (long)getppid());
    const ssize_t length = readlink(path, program, sizeof program - 1);
    program[length > 0 ? length : 0] = '\0';
    COHORT_TRY(read_parent(command + 4, ARGUMENTS_MAX, program));
    if (!strchr(command[4], '/')) /* mpirun finds its installation by its path */
        command[4] = program;
    snprintf(path, sizeof path, "/proc/%ld/environ", (long)getppid());
    char **variables = read_strings(path);
    COHORT_REQUIRE(variables, COHORT_INTERNAL, "cannot read %s", path);
    go_where_parent_is();
    execve("/proc/self/exe", command, variables);
    return COHORT_FAIL(COHORT_INTERNAL, "cannot run /proc/self/exe: %s", strerror(errno));
}

int cohort_supervise_train(char **argv, int64_t restarts)
{
    const cohort_supervision job = {
        .program = "/proc/self/exe", .command = argv, .restarts = restarts};
    if (!getenv("OMPI_COMM_WORLD_SIZE") && !getenv("PMIX_RANK") && !getenv("SLURM_STEP_NUM_TASKS"))
        return cohort_supervise(&job);
    if (cohort_comm_launched_rank() != 0)
        return 0;
    const cohort_status status = become_launcher(restarts);
    fprintf(stderr, "cohort: %s\n", cohort_error_message());
    return cohort_status_exit_code(status);
}

/* Whether ranks of this `cohort train …` may outlive others: elastic, or real clients and their
 * coordinator. Tells the ranks its deadline. */
static bool may_outlive(const cohort_options *options)
{
    size_t set_count = 0;
    const char *const *sets = cohort_options_list(&set_count, options, "set");
    cohort_comm *alone = NULL;
    cohort_recipe *recipe = NULL;
    bool wanted = false;
    if (options->help || options->positional_count != 1 ||
        cohort_comm_open(&alone, NULL) != COHORT_OK)
        return false;
    if (cohort_job_read_recipe(&recipe, alone, options->positional[0], sets, set_count) ==
        COHORT_OK) {
        char seconds[32];
        wanted = recipe->train.elastic || cohort_deployment_is(recipe);
        /* Also the deadline of start-up, before the ranks know the recipe. */
        setenv("COHORT_START_TIMEOUT", cohort_number_text(seconds, recipe->comm.timeout), 1);
    }
    cohort_recipe_destroy(recipe);
    cohort_comm_close(alone);
    return wanted;
}

void cohort_supervise_look(cohort_supervision *job, int argc, char **command)
{
    for (int i = 0; i + 1 < argc; i++) {
        cohort_options options = {0};
        const cohort_command *train = &cohort_command_train;
        if (strcmp(base_name(command[i]), "cohort") != 0 || strcmp(command[i + 1], "train") != 0)
            continue;
        if (cohort_options_parse(&options, train->options, train->option_count, argc - i - 1,
                                 command + i + 1) == COHORT_OK &&
            cohort_options_integer(&job->restarts, &options, "restarts", 0, 0,
                                   COHORT_RESTARTS_MAX) == COHORT_OK)
            job->outlives = may_outlive(&options);
        cohort_error_clear();
        cohort_options_clear(&options);
        return;
    }
}

/* --- cohort launch ------------------------------------------------------------------ */

static const cohort_option launch_options[] = {
    {"restarts", "N", "start again up to N times after a rank died or stalled", false},
};

static int run_launch(int argc, char **argv)
{
    cohort_options options = {0};
    cohort_supervision job = {0};
    int own = 1;
    while (own < argc && strncmp(argv[own], "--", 2) == 0)
        own += strcmp(argv[own], "--restarts") == 0 ? 2 : 1;
    own = own < argc ? own : argc;
    cohort_status status = cohort_options_parse(&options, launch_options, 1, own, argv);
    if (status == COHORT_OK && options.help) {
        cohort_cli_print_command(stdout, &cohort_command_launch);
        return 0;
    }
    if (status == COHORT_OK && own == argc)
        status = COHORT_FAIL(COHORT_USAGE, "launch: what is to be launched? e.g. cohort launch "
                                           "mpirun -n 4 cohort train recipe.yaml");
    if (status == COHORT_OK) {
        cohort_supervise_look(&job, argc - own, argv + own);
        status = cohort_options_integer(&job.restarts, &options, "restarts", job.restarts, 0,
                                        COHORT_RESTARTS_MAX);
    }
    cohort_options_clear(&options);
    if (status != COHORT_OK) {
        fprintf(stderr, "cohort: %s\n", cohort_error_message());
        return cohort_status_exit_code(status);
    }
    job.program = argv[own];
    job.command = argv + own;
    if (is_mpirun(base_name(argv[own])))
        job.command = adapt_mpirun(argv + own, job.outlives);
    else
        job.outlives = false;
    const int code = cohort_supervise(&job);
    if (job.command != argv + own)
        free(job.command);
    return code;
}

const cohort_command cohort_command_launch = {
    .name = "launch",
    .usage = "[--restarts N] COMMAND…",
    .summary = "Run a job under mpirun and stay outside of it",
    .details = "COMMAND is what starts the ranks: mpirun -n 4 cohort train recipe.yaml. A rank\n"
               "that is killed ends the job with its name and exit code 5 (mpirun's own would be\n"
               "137), a signal lets it write a checkpoint and end with 75 (mpirun would kill it).\n"
               "With --restarts, here or behind `cohort train`, the job starts again from its\n"
               "last checkpoint after a rank died or stalled.",
    .options = launch_options,
    .option_count = 1,
    .run_outside = run_launch,
};
