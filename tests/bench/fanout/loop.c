/* The floor of a fan-out: send() of one frame to every socket, again and again, and nothing else.

   loop PORT HZ FILE
   FILE holds the payload; it goes out as a WebSocket's text message HZ times a second. A socket that is full is passed over. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_VIEWERS = 60000, MAX_PAYLOAD = 1 << 22 };
static const char HELLO[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

static int viewers[MAX_VIEWERS], known;
static unsigned char frame[MAX_PAYLOAD + 10];
static size_t size;

static double monotonic(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void load(const char *name) {
    static unsigned char payload[MAX_PAYLOAD];
    FILE *file = fopen(name, "rb");
    if (!file) { perror(name); exit(1); }
    size_t length = fread(payload, 1, MAX_PAYLOAD, file), head = length < 126 ? 2 : length < 65536 ? 4 : 10;
    frame[0] = 0x81;
    frame[1] = head == 2 ? length : head == 4 ? 126 : 127;
    for (size_t i = 2; i < head; i++) frame[i] = (uint64_t)length >> 8 * (head - 1 - i);
    memcpy(frame + head, payload, length);
    size = head + length;
}

static void welcome(int listener) {
    char request[4096];
    int fd = accept4(listener, NULL, NULL, 0), on = 1;
    if (fd < 0 || known == MAX_VIEWERS) return;
    size_t came = 0;
    while (came < sizeof request && !memmem(request, came, "\r\n\r\n", 4)) {
        ssize_t more = recv(fd, request + came, sizeof request - came, 0);
        if (more <= 0) { close(fd); return; }
        came += more;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    send(fd, HELLO, sizeof HELLO - 1, MSG_NOSIGNAL);
    viewers[known++] = fd;
}

int main(int count, char **arguments) {
    if (count != 4) return 2;
    double hz = atof(arguments[2]);
    struct sockaddr_in here = { .sin_family = AF_INET, .sin_port = htons(atoi(arguments[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    load(arguments[3]);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) || listen(listener, 4096)) { perror("listen"); return 1; }
    struct pollfd coming = { listener, POLLIN, 0 };
    for (double next = monotonic();;) {
        double left = hz > 0 ? next - monotonic() : 1;
        if (left > 0) {
            if (poll(&coming, 1, left * 1000 + 1) > 0) welcome(listener);
            continue;
        }
        next += 1 / hz;
        for (int i = 0; i < known; i++) send(viewers[i], frame, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
}
