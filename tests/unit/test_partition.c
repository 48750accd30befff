/* Rows dealt to clients; groups of rows by a column. */
#include "tests/cmocka_all.h"

#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/memory.h"
#include "data/groups.h"
#include "federated/partition.h"

enum { ROWS = 1000, CLASSES = 10 };

static uint64_t rows[ROWS];
static int32_t labels[ROWS];

static int make_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS; i++) {
        rows[i] = 3 * i;
        labels[i] = (int32_t)(i * 7 % CLASSES);
    }
    return 0;
}

static const cohort_key_table iid = {.name = "iid"}, shards = {.name = "shards"},
                              dirichlet = {.name = "dirichlet"}, by = {.name = "by"};
static const cohort_partition_source source = {rows, ROWS, labels, CLASSES};

/* Every row has one client; rows of a client ascend. */
static void check_whole(const cohort_partition *partition)
{
    static unsigned char seen[3 * ROWS];
    memset(seen, 0, sizeof seen);
    assert_int_equal(partition->begins[0], 0);
    assert_int_equal(partition->begins[partition->client_count], ROWS);
    for (size_t k = 0; k < partition->client_count; k++)
        for (size_t i = partition->begins[k]; i < partition->begins[k + 1]; i++) {
            assert_int_equal(partition->rows[i] % 3, 0);
            assert_int_equal(seen[partition->rows[i]]++, 0);
            assert_true(i == partition->begins[k] || partition->rows[i - 1] < partition->rows[i]);
        }
}

/* How many classes client K has. */
static size_t classes_of(const cohort_partition *partition, size_t k)
{
    bool has[CLASSES] = {false};
    size_t count = 0;
    for (size_t i = partition->begins[k]; i < partition->begins[k + 1]; i++)
        has[labels[partition->rows[i] / 3]] = true;
    for (size_t c = 0; c < CLASSES; c++)
        count += has[c];
    return count;
}

static void iid_parts_are_even(void **state)
{
    (void)state;
    cohort_partition a, b, other;
    const cohort_variant recipe = {.table = &iid};
    assert_ok(cohort_partition_make(&a, &recipe, 7, &source, 1));
    assert_ok(cohort_partition_make(&b, &recipe, 7, &source, 1));
    assert_ok(cohort_partition_make(&other, &recipe, 7, &source, 2));
    check_whole(&a);
    for (size_t k = 0; k < 7; k++) {
        assert_true(cohort_partition_count(&a, k) / 2 == 71);
        assert_int_equal(classes_of(&a, k), CLASSES);
    }
    assert_memory_equal(a.rows, b.rows, sizeof rows);
    assert_memory_not_equal(a.rows, other.rows, sizeof rows);
    cohort_partition_clear(&a);
    cohort_partition_clear(&b);
    cohort_partition_clear(&other);
}

static void shards_hold_few_classes(void **state)
{
    (void)state;
    cohort_partition partition;
    cohort_shards_recipe how = {.per_client = 2};
    const cohort_variant recipe = {.table = &shards, .config = &how};
    assert_ok(cohort_partition_make(&partition, &recipe, 50, &source, 1));
    check_whole(&partition);
    for (size_t k = 0; k < 50; k++) {
        assert_int_equal(cohort_partition_count(&partition, k), 20);
        assert_true(classes_of(&partition, k) <= 2);
    }
    cohort_partition_clear(&partition);
    how.per_client = 21;
    assert_fails(cohort_partition_make(&partition, &recipe, 50, &source, 1), COHORT_USAGE,
                 "too few");
}

/* Over many clients the squared shares of a class show alpha: their mean is
 * (alpha + 1) / (K alpha + 1) / K each. */
static void dirichlet_follows_alpha(void **state)
{
    (void)state;
    enum { CLIENTS = 10, SEEDS = 60 };
    static const double alphas[] = {0.1, 1, 100};
    for (size_t a = 0; a < 3; a++) {
        cohort_dirichlet_recipe how = {.alpha = alphas[a]};
        const cohort_variant recipe = {.table = &dirichlet, .config = &how};
        double squares = 0;
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            cohort_partition partition;
            double shares[CLIENTS][CLASSES] = {{0}};
            assert_ok(cohort_partition_make(&partition, &recipe, CLIENTS, &source, seed));
            check_whole(&partition);
            for (size_t k = 0; k < CLIENTS; k++)
                for (size_t i = partition.begins[k]; i < partition.begins[k + 1]; i++)
                    shares[k][labels[partition.rows[i] / 3]] += (double)CLASSES / ROWS;
            for (size_t i = 0; i < CLIENTS * CLASSES; i++)
                squares += shares[i / CLASSES][i % CLASSES] * shares[i / CLASSES][i % CLASSES];
            cohort_partition_clear(&partition);
        }
        const double mean = squares / SEEDS / CLASSES,
                     expected = (alphas[a] + 1) / (CLIENTS * alphas[a] + 1);
        assert_true(mean > 0.9 * expected && mean < 1.1 * expected);
    }
}

static void groups_become_clients(void **state)
{
    (void)state;
    cohort_partition partition;
    cohort_by_recipe how = {.dataset = "writer"};
    const cohort_variant recipe = {.table = &by, .config = &how};
    assert_ok(cohort_partition_make(&partition, &recipe, 0, &source, 1));
    assert_int_equal(partition.client_count, CLASSES);
    check_whole(&partition);
    for (size_t k = 0; k < CLASSES; k++) {
        assert_int_equal(classes_of(&partition, k), 1);
        assert_int_equal(labels[partition.rows[partition.begins[k]] / 3], k);
    }
    cohort_partition_clear(&partition);
    assert_ok(cohort_partition_make(&partition, &recipe, 5, &source, 1));
    for (size_t k = 0; k < 5; k++)
        assert_int_equal(classes_of(&partition, k), 2);
    cohort_partition_clear(&partition);
    assert_fails(cohort_partition_make(&partition, &recipe, 11, &source, 1), COHORT_USAGE,
                 "only 10 values");
}

static void rows_are_held_out_of_each(void **state)
{
    (void)state;
    cohort_partition partition;
    const cohort_variant recipe = {.table = &iid};
    assert_ok(cohort_partition_make(&partition, &recipe, 9, &source, 1));
    uint64_t before = 0, after = 0;
    for (size_t i = partition.begins[3]; i < partition.begins[4]; i++)
        before += partition.rows[i] * partition.rows[i];
    assert_ok(cohort_partition_hold_out(&partition, 0.2, 1));
    for (size_t i = partition.begins[3]; i < partition.begins[4]; i++)
        after += partition.rows[i] * partition.rows[i];
    assert_true(before == after); /* the same rows in another order */
    assert_int_equal(cohort_partition_test_count(&partition, 0, 0.2), 22);
    assert_int_equal(cohort_partition_test_count(&partition, 0, 0.999), 110);
    assert_int_equal(cohort_partition_test_count(&partition, 0, 0), 0);
    cohort_partition_clear(&partition);
}

static void write_column(hid_t group, const char *name, hid_t type, const void *values)
{
    hid_t space = H5Screate_simple(1, (hsize_t[]){6}, NULL);
    hid_t set = H5Dcreate2(group, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    H5Dclose(set);
    H5Sclose(space);
}

static void columns_are_grouped(void **state)
{
    (void)state;
    char path[] = "/tmp/cohort-groups-XXXXXX";
    const int64_t numbers[] = {5, -1, 5, 70000000000, -1, 6};
    const char fixed[6][4] = {"ab", "a", "ab", "zzz", "a", "b"};
    const char *const texts[] = {"HAMLET", "ALL", "HAMLET", "ROMEO", "ALL", "JULIET"};
    const double reals[6] = {0};
    const int32_t expected[] = {1, 0, 1, 3, 0, 2};
    const char *const names[] = {"number", "fixed", "text"};
    close(mkstemp(path));
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hid_t group = H5Gcreate2(file, "train", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    hid_t four = H5Tcopy(H5T_C_S1), variable = H5Tcopy(H5T_C_S1);
    H5Tset_size(four, 4);
    H5Tset_size(variable, H5T_VARIABLE);
    write_column(group, "number", H5T_NATIVE_INT64, numbers);
    write_column(group, "fixed", four, fixed);
    write_column(group, "text", variable, texts);
    write_column(group, "real", H5T_NATIVE_DOUBLE, reals);
    H5Tclose(four);
    H5Tclose(variable);
    H5Gclose(group);
    H5Fclose(file);
    for (size_t i = 0; i < 3; i++) {
        int32_t *ids = NULL;
        size_t count = 0;
        assert_ok(cohort_groups_read(&ids, &count, path, "train", names[i], 6));
        assert_int_equal(count, 4);
        /* "ab" < "b", but 5 < 6 < 7e10 and HAMLET < JULIET < ROMEO: the order is alike. */
        assert_memory_equal(ids, expected, sizeof expected);
        cohort_free(ids);
    }
    int32_t *ids = NULL;
    size_t count = 0;
    assert_fails(cohort_groups_read(&ids, &count, path, "train", "real", 6), COHORT_DATA,
                 "integers or texts");
    assert_fails(cohort_groups_read(&ids, &count, path, "train", "number", 7), COHORT_DATA,
                 "6 values for 7 rows");
    assert_fails(cohort_groups_read(&ids, &count, path, "train", "speaker", 6), COHORT_DATA,
                 "speaker");
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(iid_parts_are_even),        cmocka_unit_test(shards_hold_few_classes),
        cmocka_unit_test(dirichlet_follows_alpha),   cmocka_unit_test(groups_become_clients),
        cmocka_unit_test(rows_are_held_out_of_each), cmocka_unit_test(columns_are_grouped),
    };
    return cmocka_run_group_tests(tests, make_rows, NULL);
}
