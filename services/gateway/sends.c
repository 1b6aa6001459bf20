/* One frame to many sockets, as fast as the kernel takes it. `make build` compiles this where there is a C compiler, and so does the
   Dockerfile; `sends.py` loads it, and does the same in Python where it is not there.

   fds: sockets that do not block. until_ns: of the monotonic clock; when it is over, no more than CHUNK sends are still made. sent: of
   each the bytes that the kernel took; 0 also where it refused. partly: how many did not take the whole frame. Returns how many had
   their turn, at least one where there are any. */

#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>

enum { CHUNK = 32 };

static long long monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

int tideboard_sends_2(const int *fds, int count, const void *frame, size_t size, long long until_ns, int *sent, int *partly) {
    int lacking = 0, i = 0;
    while (i < count) {
        ssize_t taken = send(fds[i], frame, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        sent[i] = taken < 0 ? 0 : (int)taken;
        lacking += taken != (ssize_t)size;
        if (++i % CHUNK == 0 && monotonic_ns() > until_ns) break;
    }
    *partly = lacking;
    return i;
}
