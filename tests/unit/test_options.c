#include "tests/cmocka_all.h"

#include "cli/options.h"

static const cohort_option table[] = {
    {"output", "FILE", "the file to write", false},
    {"set", "KEY=VALUE", "overrides a key of the recipe", true},
    {"seed", "N", "of the random numbers", false},
    {"rate", "R", "a fraction", false},
    {"fresh", NULL, "starts over", false},
};
enum { TABLE_COUNT = sizeof table / sizeof *table };

#define PARSE(parsed, ...)                                                                         \
    cohort_options_parse((parsed), table, TABLE_COUNT,                                             \
                         (int)(sizeof((char *[]){"try", __VA_ARGS__}) / sizeof(char *)),           \
                         (char *[]){"try", __VA_ARGS__})

static void values_flags_and_arguments(void **state)
{
    (void)state;
    cohort_options o;
    assert_ok(PARSE(&o, "a", "--set", "x=1", "--output=f=g", "-", "--set=y", "--fresh", "-3", "--",
                    "--odd"));
    assert_string_equal(cohort_options_get(&o, "output"), "f=g");
    assert_string_equal(cohort_options_get(&o, "fresh"), "");
    assert_true(cohort_options_given(&o, "fresh"));
    assert_false(cohort_options_given(&o, "seed"));
    assert_null(cohort_options_get(&o, "seed"));
    size_t count;
    const char *const *sets = cohort_options_list(&count, &o, "set");
    assert_int_equal(count, 2);
    assert_string_equal(sets[0], "x=1");
    assert_string_equal(sets[1], "y");
    assert_int_equal(o.positional_count, 4);
    const char *const wanted[] = {"a", "-", "-3", "--odd"};
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(o.positional[i], wanted[i]);
    assert_ok(cohort_options_positionals(&o, 4, 4, "A B C D"));
    assert_fails(cohort_options_positionals(&o, 5, 6, "A B C D E"), COHORT_USAGE, "A B C D E");
    assert_fails(cohort_options_positionals(&o, 0, 3, "A B C"), COHORT_USAGE, "--odd");
    cohort_options_clear(&o);
    assert_ok(cohort_options_parse(&o, table, TABLE_COUNT, 1, (char *[]){"try"}));
    assert_int_equal(o.positional_count, 0);
    cohort_options_clear(&o);
}

static void mistakes_are_named(void **state)
{
    (void)state;
    cohort_options o;
    assert_fails(PARSE(&o, "--outptu", "f"), COHORT_USAGE, "did you mean --output?");
    assert_fails(PARSE(&o, "--zebra=1"), COHORT_USAGE, "unknown option --zebra; cohort try --help");
    assert_fails(PARSE(&o, "-x"), COHORT_USAGE, "unknown option -x");
    assert_fails(PARSE(&o, "--output"), COHORT_USAGE, "--output needs a value: --output FILE");
    assert_fails(PARSE(&o, "--output", "--seed", "1"), COHORT_USAGE, "--output needs a value");
    assert_fails(PARSE(&o, "--fresh=yes"), COHORT_USAGE, "--fresh takes no value");
    assert_fails(PARSE(&o, "--seed", "1", "--seed", "2"), COHORT_USAGE, "--seed is given twice");
    cohort_options_clear(&o);
}

static void numbers_are_checked(void **state)
{
    (void)state;
    cohort_options o;
    int64_t integer;
    double number;
    size_t choice;
    const char *text;
    const char *const choices[] = {"7", "tail", "head"};
    assert_ok(PARSE(&o, "--seed", "-7", "--rate=0.5"));
    assert_ok(cohort_options_integer(&integer, &o, "seed", 1, -10, 10));
    assert_int_equal(integer, -7);
    assert_ok(cohort_options_number(&number, &o, "rate", 1, 0, 1));
    assert_true(number == 0.5);
    assert_fails(cohort_options_integer(&integer, &o, "seed", 1, 0, 10), COHORT_USAGE,
                 "--seed -7 must be from 0 to 10");
    assert_fails(cohort_options_integer(&integer, &o, "seed", 1, 0, INT64_MAX), COHORT_USAGE,
                 "at least 0");
    assert_fails(cohort_options_integer(&integer, &o, "rate", 1, 0, 1), COHORT_USAGE,
                 "not a whole number");
    assert_fails(cohort_options_number(&number, &o, "rate", 1, 0, 0.25), COHORT_USAGE,
                 "from 0 to 0.25");
    assert_fails(cohort_options_choice(&choice, &o, "seed", 1, choices, 3), COHORT_USAGE,
                 "must be 7, tail or head");
    assert_ok(cohort_options_require(&text, &o, "rate"));
    assert_fails(cohort_options_require(&text, &o, "output"), COHORT_USAGE, "--output FILE");
    cohort_options_clear(&o);
    assert_ok(PARSE(&o, "--rate", "nan", "--output", "head"));
    assert_ok(cohort_options_integer(&integer, &o, "seed", 42, 0, 10));
    assert_int_equal(integer, 42);
    assert_fails(cohort_options_number(&number, &o, "rate", 1, 0, 1), COHORT_USAGE, "nan");
    assert_ok(cohort_options_choice(&choice, &o, "output", 0, choices, 3));
    assert_int_equal(choice, 2);
    cohort_options_clear(&o);
}

static void help_is_aligned_and_wins(void **state)
{
    (void)state;
    cohort_options o;
    assert_ok(PARSE(&o, "--seed", "1", "--help", "--nonsense"));
    assert_true(o.help);
    assert_false(cohort_options_given(&o, "seed"));
    cohort_options_clear(&o);
    static const cohort_option two[] = {
        {"a", "N", "one", false},
        {"long-name", NULL,
         "words enough to go over the end of a line of eighty columns, and then some", false},
    };
    cohort_text text = {0};
    cohort_options_help(&text, two, 2);
    assert_string_equal(text.data,
                        "  --a N        one\n"
                        "  --long-name  words enough to go over the end of a line of eighty "
                        "columns, and\n"
                        "               then some\n"
                        "  --help       this text\n");
    cohort_text_clear(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_flags_and_arguments),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(numbers_are_checked),
        cmocka_unit_test(help_is_aligned_and_wins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
