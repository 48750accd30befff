/* What both sides of a deployment share. */
#include <stdio.h>
#include <string.h>

#include "federated/deploy_private.h"

bool cohort_deployment_is(const cohort_recipe *recipe)
{
    return cohort_federated_is(recipe) && recipe->federated.clients == 0 &&
           strcmp(recipe->federated.partition.table->name, "by") != 0;
}

cohort_status cohort_letter_create(cohort_parcel **out, const cohort_letter *letter,
                                   size_t vector_bytes)
{
    COHORT_TRY(cohort_parcel_create(out, COHORT_FEDERATED_HEADER_BYTES + vector_bytes));
    memcpy((*out)->data, letter, sizeof *letter);
    return COHORT_OK;
}

bool cohort_letter_read(cohort_letter *letter, const unsigned char *data, size_t bytes)
{
    if (bytes < COHORT_FEDERATED_HEADER_BYTES)
        return false;
    memcpy(letter, data, sizeof *letter);
    return true;
}

cohort_status cohort_deployment_file(cohort_text *path, const cohort_recipe *recipe, int rank)
{
    const char *file = recipe->data.file, *mark = strstr(file, COHORT_RANK_MARK);
    COHORT_REQUIRE(mark, COHORT_USAGE,
                   "federated: without clients every rank opens its own file: put {rank} into "
                   "data.file (client-{rank}.h5), or set federated.clients to simulate them");
    cohort_text name = {0};
    cohort_text_append(&name, "%.*s%d%s", (int)(mark - file), file, rank,
                       mark + strlen(COHORT_RANK_MARK));
    cohort_status status = cohort_text_status(&name);
    if (status == COHORT_OK)
        status = cohort_recipe_find_file(path, recipe, name.data);
    cohort_text_clear(&name);
    return status;
}

cohort_status cohort_deployment_refuse_vector(uint64_t has, uint64_t wanted)
{
    return COHORT_FAIL(COHORT_DATA,
                       "its data make a network of other size (%llu numbers, not %llu): samples "
                       "must have the same shape everywhere",
                       (unsigned long long)has, (unsigned long long)wanted);
}

size_t cohort_deployment_most_bytes(const cohort_exchange *exchange,
                                    const cohort_compression *compression, size_t clients)
{
    const size_t plain = exchange->count * sizeof(real) +
                         cohort_client_payload_bytes(exchange, compression),
                 masked = (exchange->count + COHORT_SECURE_FIGURES) * sizeof(uint64_t),
                 shares = COHORT_SECURE_COMMIT_BYTES + clients * (COHORT_SECURE_SEALED_BYTES + 1);
    const size_t most = plain > masked ? plain : masked;
    return COHORT_FEDERATED_HEADER_BYTES + (most > shares ? most : shares);
}

cohort_status cohort_deployment_open_mail(cohort_mail **out, cohort_comm *comm, size_t vector_bytes)
{
    return cohort_mail_open(out, comm, COHORT_FEDERATED_HEADER_BYTES + vector_bytes);
}
