/* Listens to a port of a JACK server and judges what comes: gcc -O2 -o jack_monitor jack_monitor.c -ljack -lm
 *
 * jack_monitor SECONDS PORT HERTZ   an endless sine is expected: counts xruns, cycles that were left out, and samples
 *                                   that do not follow from the two before them, as those of a sine do
 * jack_monitor SECONDS PORT onsets  prints the time (CLOCK_MONOTONIC, seconds) of every sound after 30 ms of silence
 * jack_monitor SECONDS PORT FILE    writes what comes as raw float32
 *
 * A first line "ready" says that the port is connected. Counting begins half a second later.
 */
#include <jack/jack.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static jack_client_t *client;
static jack_port_t *port;
static float *heard;
static size_t count, room;
static double *begun; /* time at which each cycle was given to us */
static size_t *first; /* its first sample */
static size_t cycles, most;
static jack_nframes_t last_time;
static volatile int counting;
static volatile int xruns, skipped;

static int process(jack_nframes_t frames, void *unused)
{
    jack_nframes_t now = jack_last_frame_time(client);
    struct timespec clock;
    clock_gettime(CLOCK_MONOTONIC, &clock);
    if (counting && last_time && now - last_time != frames)
        skipped += (int)((now - last_time) / frames) - 1;
    last_time = now;
    if (counting && count + frames <= room && cycles < most) {
        memcpy(heard + count, jack_port_get_buffer(port, frames), frames * sizeof(float));
        begun[cycles] = clock.tv_sec + clock.tv_nsec / 1e9;
        first[cycles++] = count;
        count += frames;
    }
    return 0;
}

static int xrun(void *unused)
{
    if (counting)
        xruns++;
    return 0;
}

static void judge_sine(double hertz, double rate)
{
    double turn = 2 * cos(2 * M_PI * hertz / rate), loudest = 0;
    long breaks = 0, silent = 0;
    double at = -1; /* second of the first break */
    for (size_t i = 0; i < count; i++)
        if (fabs(heard[i]) > loudest)
            loudest = fabs(heard[i]);
    for (size_t i = 2; i < count; i++) {
        if (fabs(heard[i] - turn * heard[i - 1] + heard[i - 2]) > 1e-4) {
            breaks++;
            at = at < 0 ? i / rate : at;
        }
        if (heard[i] == 0 && heard[i - 1] == 0)
            silent++;
    }
    printf("seconds=%.2f xruns=%d skipped=%d breaks=%ld at=%.3f silent=%ld peak=%.4f load=%.1f\n", count / rate, xruns,
           skipped, breaks, at, silent, loudest, jack_cpu_load(client));
}

static void tell_onsets(double rate)
{
    size_t quiet = 0, cycle = 0;
    for (size_t i = 0; i < count; i++) {
        while (cycle + 1 < cycles && first[cycle + 1] <= i)
            cycle++;
        if (fabs(heard[i]) < 1e-4) {
            quiet++;
            continue;
        }
        if (quiet > 0.03 * rate)
            printf("%.6f\n", begun[cycle] + (i - first[cycle]) / rate);
        quiet = 0;
    }
}

int main(int given, char **words)
{
    if (given != 4)
        return fprintf(stderr, "jack_monitor SECONDS PORT HERTZ|onsets|FILE\n"), 2;
    double seconds = atof(words[1]);
    client = jack_client_open("monitor", JackNoStartServer, NULL);
    if (!client)
        return fprintf(stderr, "no jack server\n"), 1;
    double rate = jack_get_sample_rate(client);
    room = (size_t)((seconds + 2) * rate);
    most = room / 16;
    heard = calloc(room, sizeof *heard);
    begun = calloc(most, sizeof *begun);
    first = calloc(most, sizeof *first);
    memset(heard, 0, room * sizeof *heard); /* so that no page is missing when a cycle comes */
    port = jack_port_register(client, "in", JACK_DEFAULT_AUDIO_TYPE, JackPortIsInput, 0);
    jack_set_process_callback(client, process, NULL);
    jack_set_xrun_callback(client, xrun, NULL);
    jack_activate(client);
    int refused = 1;
    for (int i = 0; i < 200 && refused; i++, usleep(50000))
        refused = jack_connect(client, words[2], "monitor:in");
    if (refused)
        return fprintf(stderr, "no port %s\n", words[2]), 1;
    printf("ready\n");
    fflush(stdout);
    usleep(500000);
    counting = 1;
    usleep((useconds_t)(seconds * 1e6));
    counting = 0;
    usleep(50000);
    if (atof(words[3]) > 0)
        judge_sine(atof(words[3]), rate);
    else if (!strcmp(words[3], "onsets"))
        tell_onsets(rate);
    else {
        FILE *file = fopen(words[3], "wb");
        fwrite(heard, sizeof *heard, count, file);
        fclose(file);
    }
    jack_client_close(client);
    return 0;
}
