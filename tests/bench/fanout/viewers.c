/* A crowd of WebSocket viewers as cheap as they come: it reads, counts frames, answers pings, and keeps nothing.

   viewers PORT PATH SUBPROTOCOL DEFLATE SAY
   SUBPROTOCOL, SAY: empty for none (several subprotocols with commas); SAY is sent after the handshake. DEFLATE: 1 offers permessage-deflate, as browsers do.

   Commands on stdin:  open COUNT PER_SECOND   that many viewers more (0 a second: as fast as they are taken)
                       clear                   forget what was counted, but for who is there
                       tell                    one line of JSON
   It ends with its stdin, and resets its connections then. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_VIEWERS = 60000, MAX_HELD = 2048, IN_FLIGHT = 64, ROOM = 1 << 18, SLOTS = 20001 };
enum { CONNECTING, ASKED, OPEN, OVER };

typedef struct {
    int fd, state, live, data;
    uint64_t left;    /* bytes of the frame's payload that have not come */
    int64_t begun_ms;
    int held;         /* bytes of an answer, a header or a control frame that is not whole yet */
    unsigned char *rest;
} Viewer;

typedef struct { uint64_t at[SLOTS]; } Delays; /* by whole ms; the last slot is everything above */

static Viewer viewers[MAX_VIEWERS];
static int known, wanted, in_flight, opened, live, closed, refused;
static uint64_t frames, bytes;
static double pace, paced_from;
static int paced_count;
static Delays since_now, since_commit, until_live;
static int poller, port, deflate;
static const char *path, *subprotocol, *say;
static unsigned char buffer[MAX_HELD + ROOM];

static double monotonic(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static int64_t wall_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void note(Delays *delays, int64_t ms) {
    delays->at[ms < 0 ? 0 : ms >= SLOTS ? SLOTS - 1 : ms]++;
}

static void end(Viewer *viewer) {
    if (viewer->state == CONNECTING || viewer->state == ASKED) { refused++; in_flight--; }
    else if (viewer->state == OPEN) { closed++; opened--; live -= viewer->live; }
    viewer->state = OVER;
    close(viewer->fd);
}

static void begin(void) {
    Viewer *viewer = &viewers[known++];
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct linger reset = { 1, 0 };
    memset(viewer, 0, sizeof *viewer);
    viewer->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    viewer->begun_ms = wall_us() / 1000;
    in_flight++;
    if (viewer->fd < 0) { perror("socket"); exit(1); }
    setsockopt(viewer->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    struct epoll_event event = { EPOLLOUT, { .ptr = viewer } };
    epoll_ctl(poller, EPOLL_CTL_ADD, viewer->fd, &event);
    if (connect(viewer->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS) end(viewer);
}

static void ask(Viewer *viewer) {
    char text[4096];
    int size = snprintf(text, sizeof text,
        "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s%s%s%s\r\n",
        path, port, *subprotocol ? "Sec-WebSocket-Protocol: " : "", subprotocol, *subprotocol ? "\r\n" : "",
        deflate ? "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" : "");
    struct epoll_event event = { EPOLLIN, { .ptr = viewer } };
    epoll_ctl(poller, EPOLL_CTL_MOD, viewer->fd, &event);
    viewer->state = ASKED;
    if (send(viewer->fd, text, size, MSG_NOSIGNAL) != size) end(viewer);
}

/* A frame of ours: masked with zeros, which leaves the payload as it is. */
static void answer(Viewer *viewer, int opcode, const unsigned char *payload, size_t size) {
    unsigned char frame[1024] = { 0x80 | opcode };
    size_t head = 2;
    if (size > sizeof frame - 8) exit(1);
    frame[1] = 0x80 | (size < 126 ? size : 126);
    if (size >= 126) { frame[2] = size >> 8; frame[3] = size & 255; head = 4; }
    memcpy(frame + head + 4, payload, size);
    send(viewer->fd, frame, head + 4 + size, MSG_NOSIGNAL);
}

/* How late a message is: {"type":"delta",...,"now":MS,"views":[[place,from,to,... where `to` is the time of the commit in us. */
static void look(Viewer *viewer, const unsigned char *payload, size_t size, int packed) {
    if (!viewer->live && (packed || !*say || (size > 20 && !memcmp(payload, "{\"type\":\"snapshot\"", 18)))) {
        viewer->live = 1;
        live++;
        note(&until_live, wall_us() / 1000 - viewer->begun_ms);
    }
    if (packed || size < 160 || memcmp(payload, "{\"type\":\"delta\"", 15)) return;
    const char *text = (const char *)payload + 15, *stop = text + 140, *now, *views;
    if (!(now = memmem(text, stop - text, "\"now\":", 6))) return;
    int64_t us = wall_us();
    note(&since_now, us / 1000 - strtoll(now + 6, NULL, 10));
    if (!(views = memmem(now, stop - now, "\"views\":[[", 10))) return;
    for (int commas = 0; commas < 2 && views < stop; views++) commas += *views == ',';
    if (views < stop) note(&since_commit, (us - strtoll(views, NULL, 10)) / 1000);
}

/* Bytes that were taken; what is left is the beginning of something. */
static size_t take_frame(Viewer *viewer, const unsigned char *data, size_t size) {
    if (size < 2) return 0;
    int opcode = data[0] & 15;
    uint64_t length = data[1] & 127;
    size_t head = length == 126 ? 4 : length == 127 ? 10 : 2;
    if (size < head) return 0;
    if (head > 2) {
        length = 0;
        for (size_t i = 2; i < head; i++) length = length << 8 | data[i];
    }
    if (opcode < 8) {
        look(viewer, data + head, size - head < length ? size - head : length, data[0] & 0x40);
        viewer->left = length;
        viewer->data = 1;
        bytes += length;
        frames += !length;
        return head;
    }
    if (size < head + length) return 0;
    if (opcode == 9) answer(viewer, 10, data + head, length);
    if (opcode == 8) { answer(viewer, 8, data + head, length < 2 ? 0 : 2); end(viewer); }
    return head + length;
}

static size_t take_answer(Viewer *viewer, const unsigned char *data, size_t size) {
    const unsigned char *stop = memmem(data, size, "\r\n\r\n", 4);
    if (!stop) return 0;
    if (size < 12 || memcmp(data, "HTTP/1.1 101", 12)) { end(viewer); return size; }
    viewer->state = OPEN;
    in_flight--;
    opened++;
    if (*say) answer(viewer, 1, (const unsigned char *)say, strlen(say));
    return stop + 4 - data;
}

static void take(Viewer *viewer) {
    unsigned char *data = buffer + MAX_HELD - viewer->held;
    ssize_t came = recv(viewer->fd, buffer + MAX_HELD, ROOM, 0);
    if (came < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (came <= 0) { end(viewer); return; }
    if (viewer->held) memcpy(data, viewer->rest, viewer->held);
    size_t size = viewer->held + came;
    while (size && viewer->state != OVER) {
        size_t taken;
        if (viewer->left) {
            taken = viewer->left < size ? viewer->left : size;
            viewer->left -= taken;
            frames += !viewer->left;
        } else taken = viewer->state == ASKED ? take_answer(viewer, data, size) : take_frame(viewer, data, size);
        if (!taken) break;
        data += taken;
        size -= taken;
    }
    viewer->held = viewer->state == OVER ? 0 : size;
    if (viewer->held > MAX_HELD) exit(1);
    if (viewer->held && !viewer->rest) viewer->rest = malloc(MAX_HELD);
    if (viewer->held) memcpy(viewer->rest, data, viewer->held);
}

static void print_delays(const char *name, const Delays *delays) {
    printf(",\"%s\":{", name);
    const char *comma = "";
    for (int i = 0; i < SLOTS; i++)
        if (delays->at[i]) { printf("%s\"%d\":%llu", comma, i, (unsigned long long)delays->at[i]); comma = ","; }
    printf("}");
}

static void tell(void) {
    printf("{\"at\":%.6f,\"open\":%d,\"live\":%d,\"closed\":%d,\"refused\":%d,\"frames\":%llu,\"bytes\":%llu",
        monotonic(), opened, live, closed, refused, (unsigned long long)frames, (unsigned long long)bytes);
    print_delays("since_now", &since_now);
    print_delays("since_commit", &since_commit);
    print_delays("until_live", &until_live);
    printf("}\n");
    fflush(stdout);
}

static void obey(void) {
    char line[256];
    int count;
    double per_second;
    if (!fgets(line, sizeof line, stdin)) exit(0);
    if (sscanf(line, "open %d %lf", &count, &per_second) == 2) {
        if (wanted + count > MAX_VIEWERS) exit(1);
        wanted += count;
        pace = per_second;
        paced_from = monotonic();
        paced_count = 0;
    } else if (!strncmp(line, "clear", 5)) {
        frames = bytes = 0;
        memset(&since_now, 0, sizeof since_now);
        memset(&since_commit, 0, sizeof since_commit);
        memset(&until_live, 0, sizeof until_live);
    } else tell();
}

static void open_more(void) {
    while (known < wanted && (pace > 0 ? paced_count < (monotonic() - paced_from) * pace : in_flight < IN_FLIGHT)) {
        begin();
        paced_count++;
    }
}

int main(int count, char **arguments) {
    struct epoll_event events[512];
    if (count != 6) return 2;
    port = atoi(arguments[1]), path = arguments[2], subprotocol = arguments[3], deflate = atoi(arguments[4]), say = arguments[5];
    setvbuf(stdin, NULL, _IONBF, 0);
    poller = epoll_create1(0);
    struct epoll_event orders = { EPOLLIN, { .ptr = NULL } };
    epoll_ctl(poller, EPOLL_CTL_ADD, 0, &orders);
    for (;;) {
        open_more();
        int found = epoll_wait(poller, events, 512, known < wanted ? 2 : 1000);
        for (int i = 0; i < found; i++) {
            Viewer *viewer = events[i].data.ptr;
            if (!viewer) obey();
            else if (viewer->state == OVER) continue;
            else if (viewer->state == CONNECTING) ask(viewer);
            else take(viewer);
        }
    }
}
