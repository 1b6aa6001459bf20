/* One frame to many sockets, as fast as the kernel takes it. `make build` compiles this where there is a C compiler, and so does the
   Dockerfile; `sends.py` loads it, and does the same in Python where it is not there.

   fds: sockets that do not block. sent: of each the bytes that the kernel took; 0 also where it refused. Returns how many did not
   take the whole frame. */

#include <sys/socket.h>
#include <sys/types.h>

int tideboard_sends_1(const int *fds, int count, const void *frame, size_t size, int *sent) {
    int partly = 0;
    for (int i = 0; i < count; i++) {
        ssize_t taken = send(fds[i], frame, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        sent[i] = taken < 0 ? 0 : (int)taken;
        partly += taken != (ssize_t)size;
    }
    return partly;
}
