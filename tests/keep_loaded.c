/* Keeps shared objects loaded to the end, so that the sanitizers can name their frames. Only in
 * programs built with COHORT_SANITIZE. */
int dlclose(void *handle);

int dlclose(void *handle)
{
    (void)handle;
    return 0;
}
