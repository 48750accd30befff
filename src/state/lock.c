#include "state/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { SECONDS_MOST = 10 };

/* A lock being asked for. Owned by both sides until both are done with it. */
typedef struct lock_request {
    pthread_mutex_t lock;
    pthread_cond_t answered;
    int handle; /* of its own */
    int reason; /* errno, 0: locked; -1: no answer yet */
    bool is_forsaken;
} lock_request;

static void *ask_for_lock(void *context)
{
    lock_request *request = context;
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    const int reason = fcntl(request->handle, F_OFD_SETLK, &whole) == 0 ? 0 : errno;
    pthread_mutex_lock(&request->lock);
    request->reason = reason;
    pthread_cond_signal(&request->answered);
    const bool is_forsaken = request->is_forsaken;
    pthread_mutex_unlock(&request->lock);
    if (is_forsaken) {
        close(request->handle);
        free(request);
    }
    return NULL;
}

int cohort_lock_file(int handle)
{
    lock_request *request = calloc(1, sizeof *request);
    struct timespec end;
    pthread_t thread;
    if (!request)
        return ENOMEM;
    pthread_mutex_init(&request->lock, NULL);
    pthread_cond_init(&request->answered, NULL);
    request->handle = fcntl(handle, F_DUPFD_CLOEXEC, 0); /* the same open file */
    request->reason = -1;
    if (request->handle < 0 || pthread_create(&thread, NULL, ask_for_lock, request) != 0) {
        free(request);
        return ENOLCK;
    }
    pthread_detach(thread);
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += SECONDS_MOST;
    pthread_mutex_lock(&request->lock);
    for (int waited = 0; request->reason < 0 && waited == 0;)
        waited = pthread_cond_timedwait(&request->answered, &request->lock, &end);
    const int reason = request->reason;
    request->is_forsaken = reason < 0;
    pthread_mutex_unlock(&request->lock);
    if (reason < 0)
        return ETIMEDOUT;
    close(request->handle);
    free(request);
    return reason;
}
