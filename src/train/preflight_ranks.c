/* Preflight: the ranks, their hosts and cores. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "train/preflight_private.h"

enum { HOSTS_LISTED = 6 };

/* The ranks of one host. */
typedef struct host_load {
    const char *name;
    size_t ranks, threads;          /* how many */
    size_t allowed, total;          /* cores its ranks may use together; it has */
    size_t masks;                   /* cores of all masks, those in several counted so often */
    bool differ;                    /* not all masks are the same */
    const cohort_rank_facts *tight; /* a rank with more threads than cores of its own */
    size_t tight_rank;
} host_load;

/* Fills HOSTS [count] by lowest rank; returns how many there are. */
static size_t collect_hosts(host_load *hosts, const cohort_rank_facts *facts, size_t count)
{
    size_t host_count = 0;
    for (size_t r = 0; r < count; r++)
        host_count = facts[r].node + 1 > host_count ? facts[r].node + 1 : host_count;
    for (size_t h = 0; h < host_count; h++) {
        cpu_set_t all;
        const cpu_set_t *first = NULL;
        CPU_ZERO(&all);
        hosts[h] = (host_load){0};
        for (size_t r = 0; r < count; r++) {
            const cohort_rank_facts *own = &facts[r];
            if (own->node != h)
                continue;
            first = first ? first : &own->cores;
            hosts[h].name = own->host;
            hosts[h].ranks++;
            hosts[h].threads += own->threads;
            hosts[h].total = own->host_cores;
            hosts[h].masks += (size_t)CPU_COUNT(&own->cores);
            hosts[h].differ |= !CPU_EQUAL(first, &own->cores);
            if (own->threads > (size_t)CPU_COUNT(&own->cores) && !hosts[h].tight) {
                hosts[h].tight = own;
                hosts[h].tight_rank = r;
            }
            CPU_OR(&all, &all, &own->cores);
        }
        hosts[h].allowed = (size_t)CPU_COUNT(&all);
    }
    return host_count;
}

static void list_hosts(cohort_text *text, const host_load *hosts, size_t count)
{
    for (size_t h = 0; h < count && h < HOSTS_LISTED; h++)
        cohort_text_append(text, "%s%s (%zu)", h ? ", " : "", hosts[h].name, hosts[h].ranks);
    if (count > HOSTS_LISTED)
        cohort_text_append(text, " and %zu more", count - HOSTS_LISTED);
}

void cohort_judge_launch(cohort_findings *findings, const cohort_rank_facts *facts, size_t count,
                         size_t tasks)
{
    host_load *hosts = NULL;
    cohort_text text = {0};
    if (COHORT_ALLOCATE(&hosts, count) != COHORT_OK)
        return;
    const size_t host_count = collect_hosts(hosts, facts, count);
    list_hosts(&text, hosts, host_count);
    if (!text.failed && count < tasks)
        cohort_find(findings, COHORT_FINDING_WARNING, "ranks",
                    "%zu rank%s on %s, but this job has %zu tasks (SLURM_NTASKS): start with `srun "
                    "cohort …` or `mpirun cohort …`, unless that is meant",
                    count, count == 1 ? "" : "s", text.data, tasks);
    else if (!text.failed)
        cohort_find(findings, COHORT_FINDING_GOOD, "ranks", "%zu rank%s on %zu host%s: %s", count,
                    count == 1 ? "" : "s", host_count, host_count == 1 ? "" : "s", text.data);
    cohort_text_clear(&text);
    cohort_free(hosts);
}

void cohort_judge_programs(cohort_findings *findings, const cohort_rank_facts *facts, size_t count)
{
    size_t build = 0, mpi = 0; /* the first rank unlike rank 0 */
    for (size_t r = count; r-- > 1;) {
        build = facts[r].build != facts[0].build ? r : build;
        mpi = strcmp(facts[r].mpi, facts[0].mpi) != 0 ? r : mpi;
    }
    if (build)
        cohort_find(findings, COHORT_FINDING_WARNING, "program",
                    "rank %zu (%s) runs another build of cohort " COHORT_VERSION
                    " than rank 0 (%s): install one build on every host",
                    build, facts[build].host, facts[0].host);
    if (mpi)
        cohort_find(findings, COHORT_FINDING_WARNING, "program",
                    "rank %zu (%s) has %s, rank 0 (%s) %s: use one MPI on every host", mpi,
                    facts[mpi].host, facts[mpi].mpi, facts[0].host, facts[0].mpi);
    if (!build && !mpi)
        cohort_find(findings, COHORT_FINDING_GOOD, "program", "cohort " COHORT_VERSION ", %s%s",
                    facts[0].mpi, count > 1 ? ", the same build on all ranks" : "");
}

/* Says what is wrong with the cores of one host; false if nothing is. */
static bool find_fault(cohort_text *text, const host_load *host)
{
    const size_t fair = host->allowed / host->ranks ? host->allowed / host->ranks : 1;
    const bool has_idle = host->total > host->allowed;
    const size_t each = host->threads / host->ranks;
    if (host->threads > host->allowed && has_idle) {
        cohort_text_append(
            text,
            "%zu rank%s with %zu thread%s on %s may use %zu of its %zu cores: give "
            "each rank cores of its own (mpirun --map-by slot:PE=%zu --bind-to core, "
            "srun --cpus-per-task=%zu), or set train.threads to %zu",
            host->ranks, host->ranks == 1 ? "" : "s", host->threads, host->threads == 1 ? "" : "s",
            host->name, host->allowed, host->total, each, each, fair);
        return true;
    }
    if (host->threads > host->allowed) {
        cohort_text_append(text,
                           "%zu rank%s with %zu threads on %s share its %zu core%s: ", host->ranks,
                           host->ranks == 1 ? "" : "s", host->threads, host->name, host->allowed,
                           host->allowed == 1 ? "" : "s");
        if (each > fair)
            cohort_text_append(text, "set train.threads to %zu%s", fair,
                               host->ranks > host->allowed ? " and start fewer ranks" : "");
        else
            cohort_text_append(text, "start fewer ranks");
        return true;
    }
    if (host->tight) {
        cohort_text_append(text,
                           "rank %zu on %s runs %zu threads on the %d core%s it is bound to: set "
                           "train.threads to 0, or give ranks more cores (mpirun --map-by "
                           "slot:PE=%zu --bind-to core, srun --cpus-per-task=%zu)",
                           host->tight_rank, host->name, (size_t)host->tight->threads,
                           CPU_COUNT(&host->tight->cores),
                           CPU_COUNT(&host->tight->cores) == 1 ? "" : "s",
                           (size_t)host->tight->threads, (size_t)host->tight->threads);
        return true;
    }
    if (host->differ && host->masks > host->allowed) {
        cohort_text_append(text,
                           "ranks on %s are bound to some of the same cores while others have one "
                           "rank: bind each to cores of its own (mpirun --bind-to core, srun "
                           "--cpu-bind=cores)",
                           host->name);
        return true;
    }
    return false;
}

void cohort_judge_cores(cohort_findings *findings, const cohort_rank_facts *facts, size_t count)
{
    host_load *hosts = NULL;
    cohort_text text = {0}, more = {0};
    size_t faults = 0;
    if (COHORT_ALLOCATE(&hosts, count) != COHORT_OK)
        return;
    const size_t host_count = collect_hosts(hosts, facts, count);
    for (size_t h = 0; h < host_count; h++)
        faults += find_fault(faults ? &more : &text, &hosts[h]);
    if (faults > 1)
        cohort_text_append(&text, " (and so on %zu more host%s)", faults - 1,
                           faults > 2 ? "s" : "");
    const host_load *first = &hosts[0];
    if (!faults)
        cohort_text_append(
            &text, "%zu thread%s on the %zu core%s of %s%s", first->threads,
            first->threads == 1 ? "" : "s", first->total, first->total == 1 ? "" : "s", first->name,
            first->ranks == 1                ? ""
            : first->masks <= first->allowed ? ", each rank bound to cores of its own"
                                             : ", ranks not bound to cores");
    if (!text.failed)
        cohort_find(findings, faults ? COHORT_FINDING_WARNING : COHORT_FINDING_GOOD, "cores", "%s",
                    text.data);
    cohort_text_clear(&text);
    cohort_text_clear(&more);
    cohort_free(hosts);
}
