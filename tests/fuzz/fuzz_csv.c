/* Any bytes as a table: the first byte chooses the options, the rest up to a zero byte is
 * the file, what follows a second one. */
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    fuzz_part rest = {bytes, count};
    const unsigned choice = fuzz_take_byte(&rest);
    const char *arguments[12] = {"csv"};
    size_t used = 1;
    /* Zero bytes are refused in the file itself: they are its business, too. */
    const fuzz_part table = choice & 32 ? rest : fuzz_take_part(&rest);
    arguments[used++] = fuzz_put("table.csv", table.bytes, table.count);
    if (choice & 1)
        arguments[used++] = fuzz_put("test.csv", rest.bytes, choice & 32 ? 0 : rest.count);
    if (choice & 2)
        arguments[used++] = "--regression";
    if (choice & 4) {
        arguments[used++] = "--label";
        arguments[used++] = choice & 64 ? "1" : "kind";
    }
    if (choice & 8)
        arguments[used++] = choice & 128 ? "--header" : "--no-header";
    if (choice & 16) {
        arguments[used++] = "--delimiter";
        arguments[used++] = "tab";
    }
    fuzz_require_refusal(fuzz_convert(arguments));
    return 0;
}
