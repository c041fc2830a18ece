/* Geometry of pictures that nobody sees, for DeSmuME (py-desmume 0.0.9, x86-64).

   The emulator transforms, clips and sorts all polygons of each frame, also of frames that it does
   not draw. A program cannot observe any of that: it sees the command queue, the matrices, the
   results of tests, and the number of polygons and vertices. The functions here keep all of these
   as they are, and leave out the rest. They also remember which commands built the polygons: the
   commands stay in the emulator's queue, a ring, and `struct log` has the state of the geometry
   engine before the first of them. If somebody wants the picture after all, `replay` runs the
   commands again through the emulator's own code.

   The host replaces the emulator's import slots by the addresses in `entries`, and fills `host` with
   addresses of the emulator's functions and variables. The names are the emulator's (gfx3d.cpp,
   FIFO.cpp). Nothing here allocates, prints, or calls anything but the emulator. */

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;
typedef short s16;
typedef int s32;
typedef long s64;

#define HOOK __attribute__((used)) static

enum {
    RING = 200000,       /* commands in the queue, HACK_GXIFO_SIZE */
    RING_LIMIT = 100000, /* commands that a log may span */
    BATCH = 64,          /* commands per call of gfx3d_execute3D, HACK_FIFO_BATCH_SIZE */
    VERTICES = 80000,    /* VERTLIST_SIZE */
    POLYGONS = 20000,    /* POLYLIST_SIZE */
    VERTEX_SIZE = 64,
    POLYGON_SIZE = 40,
    SPANS = 5,
    SPAN_BYTES = 6144,
    DMA_CHANNELS = 8,
    DMA_CHANNEL_SIZE = 0xA8,
    DMA_GEOMETRY = 7, /* EDMAMode_GXFifo */
};

typedef struct {
    u8 cmd[RING];
    u32 param[RING];
    u32 head, tail, size, matrix_stack_op_size;
} Fifo;

typedef struct {
    u8 polygons[POLYGONS * POLYGON_SIZE];
    u64 count, opaque_count;
} PolygonList;

typedef struct {
    s32 count, map[4], first;
} VertexInfo;

/* Filled in by the host, in this order; see undrawn.py. */
struct {
    void (*execute3d)(void);
    s32 (*pipe_receive)(u8 *, u32 *);
    void (*vblank)(void);
    void (*vblank_end)(u32);
    void (*render_lists)(u32);
    void (*fifo_clear)(void);
    void (*do_copy)(u8 *);
    void (*sound)(void);
    void (*trigger_dma)(u32);
    void (*send)(u32);
    void (*try_trigger)(void *, u32);
    u8 *(*sound_core)(void);
    void (*fetch_samples)(u8 *, s64, u32, u64);
    Fifo *fifo;
    u8 *gxstat;     /* bytes: 0 test busy, 1 test result, 2 error, 3 stack busy, 5 empty, 6 low */
    u8 *dma;        /* eight channels */
    u8 *sequencer;  /* 1: reschedule; 0x7C: the queue's turn is planned */
    u64 *timer;     /* nds_timer */
    u64 *cycles;    /* MMU.gfx3dCycles */
    u8 *skipper;    /* 0: leave out the picture of the next frame */
    u8 *tests;      /* registers of the vector test */
    u32 *hardware;  /* gxf_hardware: commands to come, parameters to come */
    const u8 *types;/* parameters of each command */
    s32 *swap;      /* isSwapBuffers */
    u32 *flush;     /* gfx3d.state.pendingFlushCommand */
    PolygonList **polylist, **polylists;
    u8 **vertlist, **vertlists;
    u64 *vertices;  /* vertListCount[2] */
    s32 *list;      /* listTwiddle */
    VertexInfo *info;
    s32 *completed; /* polygonListCompleted */
    u8 *color;
    s32 (*matrices)[16];
    s16 *coord;
    u8 *coord_index;
    u32 *format, *begun, *attribute, *attribute_begun, *light_mask, *texture, *texture_mode;
    u32 *palette, *viewport, *light_color;
    u16 *diffuse, *ambient, *specular, *emission;
    u8 *strip_toggle;
    s32 *s, *t, *last_s, *last_t;
    u8 *mmu, *nds;
    u32 *ram_mask;
    const u8 *read_cycles, *write_cycles; /* of a 32-bit access by DMA, by bits 24 to 31 */
    u64 *hooks, *read_stops, *write_stops; /* vectors: start, end */
    u8 **spu, *spu_advanced;
    double *samples;
    const double *samples_per_line;
    s32 *line_samples;
    u32 *sync_mode;
    u64 *synchronizer;
    u8 *advanced_timing, *timing;
    u32 (*load_word)(u32, u32 *);
    struct { u8 *start; u64 size; } spans[SPANS];
    /* Results for tests and for the host. */
    u64 deferred, replayed, mismatches;
    u64 off;
} host __attribute__((section(".data.host"))) = {0};

typedef struct {
    u32 used, start, end, list;
    u64 polygons;
    u8 state[SPAN_BYTES];
} Log;

static struct {
    Log logs[3];
    Log *built, *shown;     /* of the list being built, and of the list that was flushed last */
    Log *old;               /* of the list before, in whose place the list being built is */
    u32 torn;               /* a polygon is incomplete since the flush, so that its first vertices
                               are those that older lists put at their place */
    u32 whole;              /* a program has completed such a polygon: leave out nothing, until the
                               console is switched on again */
    u32 deferring;          /* `built` is in use */
    u32 in_vblank;
    u32 lists_pending;      /* render lists of the flushed list are not made yet */
    u32 lists_mode;
    enum { LIVE, RUN, REPLAY } tape;
    u32 budget;             /* RUN: commands left */
    u32 place, end;         /* REPLAY: part of the ring */
} my;

void *memcpy(void *to, const void *from, u64 size)
{
    void *result = to;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
    return result;
}

static void copy(u8 *to, const u8 *from, u64 size)
{
    u64 words = size / 8;
    __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
    size &= 7;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
}

static u32 next(u32 place) { return place + 1 >= RING ? 0 : place + 1; }

static void take_state(u8 *to)
{
    for (int i = 0; i < SPANS; i++) {
        copy(to, host.spans[i].start, host.spans[i].size);
        to += host.spans[i].size;
    }
}

static void put_state(const u8 *from)
{
    for (int i = 0; i < SPANS; i++) {
        copy(host.spans[i].start, from, host.spans[i].size);
        from += host.spans[i].size;
    }
}

static void begin_log(Log *log)
{
    log->used = 1;
    log->start = host.fifo->head;
    log->list = *host.list;
    log->polygons = (*host.polylist)->count;
    take_state(log->state);
}

/* DMA ---------------------------------------------------------------------------------------- */

HOOK void trigger_dma(u32 mode)
{
    if (host.off) {
        host.trigger_dma(mode);
        return;
    }
    u8 *channel = host.dma;
    for (int i = 0; i < DMA_CHANNELS; i++, channel += DMA_CHANNEL_SIZE)
        if (*(u32 *)(channel + 0x0C) == mode && channel[0])
            host.try_trigger(channel, mode);
}

/* GXF_FIFO_handleEvents. */
static void handle_events(void)
{
    u8 *stat = host.gxstat, low = host.fifo->size <= 127, empty = host.fifo->size == 0;
    u8 changed = stat[6] ^ low;
    stat[6] = low;
    if (low)
        trigger_dma(DMA_GEOMETRY);
    changed |= stat[5] ^ empty;
    stat[5] = empty;
    stat[3] = host.fifo->matrix_stack_op_size != 0;
    if (changed)
        host.sequencer[1] = 1;
}

/* The events of the first of several commands, where `size` commands were in the queue before: DMA
   that waits for a low queue starts, even if the other commands fill the queue. */
static void handle_first(u32 size)
{
    if (size + 1 <= 127)
        trigger_dma(DMA_GEOMETRY);
}

/* Commands ----------------------------------------------------------------------------------- */

/* SetVertex without the vertex: what it changes besides the lists. */
static void count_vertex(void)
{
    VertexInfo *info = host.info;
    u32 format = *host.format;
    if (*host.texture_mode == 3) {
        s32 *m = host.matrices[3];
        s64 x = host.coord[0], y = host.coord[1], z = host.coord[2];
        *host.last_s = (m[0] * x + m[4] * y + m[8] * z + ((s64)*host.s << 24)) >> 24;
        *host.last_t = (m[1] * x + m[5] * y + m[9] * z + ((s64)*host.t << 24)) >> 24;
    }
    *host.completed = 0;
    u64 *vertices = &host.vertices[*host.list];
    PolygonList *polygons = *host.polylist;
    if (*vertices >= VERTICES || polygons->count >= POLYGONS)
        return;
    s32 continuation = format >= 2 && !info->first ? 2 : 0;
    s32 base = (s32)*vertices - continuation;
    info->map[info->count] = base + info->count;
    info->count++;
    *host.completed = 2;
    if (info->count != (format & 1 ? 4 : 3))
        return;
    *host.completed = 1;
    switch (format) {
    case 0:
    case 1:
        *vertices += info->count;
        info->count = 0;
        break;
    case 2:
        info->map[*host.strip_toggle ? 1 : 0] = base + 2;
        *vertices += info->first ? 3 : 1;
        *host.strip_toggle ^= 1;
        info->first = 0;
        info->count = 2;
        break;
    case 3:
        info->map[0] = base + 2;
        info->map[1] = base + 3;
        *vertices += info->first ? 4 : 2;
        info->first = 0;
        info->count = 2;
        break;
    }
    polygons->count++;
}

static void replay(Log *log, u32 end);

/* A polygon that began before the flush has remainders of the old list as its first vertices. */
static void mend(void)
{
    if (my.torn && my.old->used)
        replay(my.old, my.old->end);
    my.torn = 0;
}

static s32 ten_bits(u32 value, int first) { return (s32)(value << (22 - first)) >> 22; }

static void set_color(u32 value)
{
    host.color[0] = value & 31;
    host.color[1] = value >> 5 & 31;
    host.color[2] = value >> 10 & 31;
}

/* Carry out a command that `is_own`, SWAP_BUFFERS excepted. */
static inline void carry_out(u32 command, u32 value)
{
    s16 *coord = host.coord;
    switch (command) {
    case 0x20: /* COLOR */
        set_color(value);
        return;
    case 0x22: /* TEXCOORD */
        *host.s = (s16)value;
        *host.t = (s32)value >> 16;
        if (*host.texture_mode == 0) {
            *host.last_s = *host.s;
            *host.last_t = *host.t;
        }
        return;
    case 0x23: /* VTX_16 */
        if (!*host.coord_index) {
            coord[0] = value;
            coord[1] = value >> 16;
            *host.coord_index = 1;
            return;
        }
        coord[2] = value;
        *host.coord_index = 0;
        break;
    case 0x24: /* VTX_10 */
        coord[0] = ten_bits(value, 0) * 64;
        coord[1] = ten_bits(value, 10) * 64;
        coord[2] = ten_bits(value, 20) * 64;
        break;
    case 0x25: /* VTX_XY */
        coord[0] = value;
        coord[1] = value >> 16;
        break;
    case 0x26: /* VTX_XZ */
        coord[0] = value;
        coord[2] = value >> 16;
        break;
    case 0x27: /* VTX_YZ */
        coord[1] = value;
        coord[2] = value >> 16;
        break;
    case 0x28: /* VTX_DIFF */
        coord[0] += ten_bits(value, 0);
        coord[1] += ten_bits(value, 10);
        coord[2] += ten_bits(value, 20);
        break;
    case 0x29: /* POLYGON_ATTR */
        *host.attribute = value;
        return;
    case 0x2A: /* TEXIMAGE_PARAM */
        *host.texture = value;
        *host.texture_mode = value >> 30;
        return;
    case 0x2B: /* PLTT_BASE */
        *host.palette = value;
        return;
    case 0x30: /* DIF_AMB */
        *host.diffuse = value;
        *host.ambient = value >> 16;
        if (value & 0x8000)
            set_color(value);
        return;
    case 0x31: /* SPE_EMI */
        *host.specular = value;
        *host.emission = value >> 16;
        return;
    case 0x33: /* LIGHT_COLOR */
        host.light_color[value >> 30] = value;
        return;
    case 0x40: /* BEGIN_VTXS */
        *host.begun = 1;
        *host.format = value & 3;
        *host.strip_toggle = 0;
        my.torn = 0;
        host.info->count = 0;
        host.info->first = 1;
        *host.attribute_begun = *host.attribute;
        *host.light_mask = *host.attribute & 15;
        return;
    case 0x41: /* END_VTXS */
        my.torn = 0;
        host.info->count = 0;
        *host.begun = 0;
        return;
    case 0x60: /* VIEWPORT */
        *host.viewport = value;
        return;
    default:
        return;
    }
    my.whole |= my.torn;
    mend();
    count_vertex();
}

/* Commands that `carry_out` knows. 2: TEXCOORD, only without a texture matrix. */
static const u8 own[256] = {
    [0x20] = 1, [0x22] = 2, [0x23] = 1, [0x24] = 1, [0x25] = 1, [0x26] = 1, [0x27] = 1,
    [0x28] = 1, [0x29] = 1, [0x2A] = 1, [0x2B] = 1, [0x30] = 1, [0x31] = 1, [0x33] = 1,
    [0x40] = 1, [0x41] = 1, [0x50] = 1, [0x60] = 1,
};

static inline int is_own(u32 command)
{
    return own[command] && (own[command] == 1 || *host.texture_mode != 1);
}

static void pop(u32 command)
{
    Fifo *fifo = host.fifo;
    if (command - 0x11 <= 1)
        fifo->matrix_stack_op_size--;
    fifo->head = next(fifo->head);
    fifo->size--;
}

/* Replaces GFX_PIPErecv: gives commands to gfx3d_execute3D. */
HOOK s32 pipe_receive(u8 *command, u32 *value)
{
    Fifo *fifo = host.fifo;
    u32 place;
    switch (my.tape) {
    case LIVE:
        return host.pipe_receive(command, value);
    case RUN:
        place = fifo->head;
        if (!fifo->size || !my.budget || is_own(fifo->cmd[place]))
            return 0;
        *command = fifo->cmd[place];
        *value = fifo->param[place];
        pop(*command);
        my.budget--;
        return 1;
    default:
        while (my.place != my.end) {
            place = my.place;
            my.place = next(place);
            if (fifo->cmd[place] == 0x50)
                continue;
            *command = fifo->cmd[place];
            *value = fifo->param[place];
            return 1;
        }
        return 0;
    }
}

/* Replay ------------------------------------------------------------------------------------- */

/* Build the polygons of a list, whose last command is before `end` in the ring. */
static void replay(Log *log, u32 end)
{
    u8 live[SPAN_BYTES], stat[8], tests[8];
    u64 cycles = *host.cycles;
    u8 reschedule = host.sequencer[1], planned = host.sequencer[0x7C];
    s32 swap = *host.swap;
    PolygonList *list = *host.polylists + log->list, *live_list = *host.polylist;
    u8 *live_vertices = *host.vertlist;
    u64 polygons = list->count, vertices = host.vertices[log->list];
    copy(stat, host.gxstat, 8);
    copy(tests, host.tests, 8);
    take_state(live);

    put_state(log->state);
    *host.polylist = list;
    *host.vertlist = *host.vertlists + (u64)log->list * VERTICES * VERTEX_SIZE;
    list->count = log->polygons;
    *host.swap = 0;
    my.tape = REPLAY;
    my.place = log->start;
    my.end = end;
    while (my.place != my.end)
        host.execute3d();
    my.tape = LIVE;
    host.replayed++;
    if (log != my.old && (list->count != polygons || host.vertices[log->list] != vertices))
        host.mismatches++;

    put_state(live);
    copy(host.gxstat, stat, 8);
    copy(host.tests, tests, 8);
    list->count = polygons;
    *host.polylist = live_list;
    *host.vertlist = live_vertices;
    *host.swap = swap;
    *host.cycles = cycles;
    host.sequencer[1] = reschedule;
    host.sequencer[0x7C] = planned;
    log->used = 0;
}

/* Build what is missing of the list being built; go on leaving out from here if `go_on`. */
static void settle_built(int go_on)
{
    mend();
    if (my.built->used)
        replay(my.built, host.fifo->head);
    my.deferring = go_on;
    if (go_on)
        begin_log(my.built);
}

/* Build what is missing of the list that was flushed. */
static void settle_shown(void)
{
    if (my.shown->used)
        replay(my.shown, my.shown->end);
    if (my.lists_pending) {
        my.lists_pending = 0;
        host.render_lists(my.lists_mode);
    }
}

/* Build everything if the logs and `more` commands would fill too much of the ring. */
static void make_room(u32 more)
{
    Log *oldest = my.torn && my.old->used ? my.old : my.shown->used ? my.shown : my.built;
    if (!oldest->used)
        return;
    u32 tail = host.fifo->tail, start = oldest->start;
    u32 span = tail >= start ? tail - start : tail + RING - start;
    if (more > RING_LIMIT || span + more > RING_LIMIT) {
        settle_shown();
        settle_built(0);
    }
}

/* Entries ------------------------------------------------------------------------------------ */

HOOK void execute3d(void)
{
    Fifo *fifo = host.fifo;
    u32 budget = BATCH, swap = 0;
    make_room(0);
    if (!my.deferring) {
        host.execute3d();
        return;
    }
    if (*host.swap)
        return;
    while (budget && fifo->size) {
        u32 head = fifo->head, before = budget, command, value;
        u32 left = budget < fifo->size ? budget : fifo->size;
        for (; left; left--, budget--, head = next(head)) {
            command = fifo->cmd[head];
            value = fifo->param[head];
            if (!is_own(command))
                break;
            if (command == 0x50) {
                /* Takes effect after the batch, as in the original. */
                swap = 1;
                *host.flush = value;
            } else {
                carry_out(command, value);
            }
        }
        fifo->head = head;
        fifo->size -= before - budget;
        if (left) {
            my.budget = budget;
            my.tape = RUN;
            host.execute3d();
            my.tape = LIVE;
            budget = my.budget;
        }
    }
    handle_events();
    if (budget != BATCH) {
        host.sequencer[0x7C] = 1;
        host.sequencer[1] = 1;
        *host.cycles = *host.timer + 1;
    }
    if (swap)
        *host.swap = 1;
}

/* Called when a list is flushed. */
HOOK void render_lists(u32 mode)
{
    if (!my.deferring || !my.in_vblank) {
        if (my.in_vblank) {
            if (my.shown->used && (host.info->count || my.whole))
                replay(my.shown, my.shown->end);
            my.shown->used = my.lists_pending = 0;
        }
        host.render_lists(mode);
        return;
    }
    mend();
    Log *flushed = my.built;
    my.built = my.old;
    my.old = my.shown;
    my.shown = flushed;
    my.built->used = 0;
    my.torn = host.info->count != 0;
    flushed->end = host.fifo->head;
    my.lists_pending = 1;
    my.lists_mode = mode;
    host.deferred++;
}

HOOK void vblank(void)
{
    my.in_vblank = 1;
    host.vblank();
    my.in_vblank = 0;
    if (host.skipper[0] && !host.off && !my.whole) {
        if (!my.deferring || !my.built->used) {
            my.deferring = 1;
            begin_log(my.built);
        }
    } else if (my.deferring) {
        settle_built(0);
    }
}

HOOK void vblank_end(u32 skip)
{
    if (!(u8)skip && (my.shown->used || my.lists_pending)) {
        host.vblank_end(1); /* ends a rendering that is under way, and draws nothing */
        settle_shown();
    }
    host.vblank_end(skip);
}

HOOK void fifo_clear(void)
{
    if (my.deferring || my.shown->used) {
        settle_shown();
        settle_built(0);
    }
    host.fifo_clear();
}

/* For the host: make everything as if nothing had been left out. */
HOOK void settle(u32 all)
{
    if (all)
        settle_shown();
    if (my.deferring)
        settle_built(1);
    /* States contain the height of each polygon, which is computed after the flush, and four
       vertices of triangles, too. These are remainders of earlier lists, which nobody reads. */
    PolygonList *list = *host.polylist;
    for (u64 i = 0; i < list->count; i++) {
        u8 *polygon = list->polygons + i * POLYGON_SIZE;
        if (*(u32 *)polygon == 3)
            *(u16 *)(polygon + 0x0E) = 0;
        *(u64 *)(polygon + 0x20) = 0;
    }
}

/* For the host: forget what was left out; a state is loaded, or the console `switched_on`. */
HOOK void discard(u32 switched_on)
{
    if (switched_on)
        my.whole = 0;
    my.built = &my.logs[0];
    my.shown = &my.logs[1];
    my.old = &my.logs[2];
    my.built->used = my.shown->used = my.old->used = 0;
    my.deferring = my.lists_pending = my.torn = 0;
    my.tape = LIVE;
}

/* Put a command into the queue, without the consequences. */
static inline void enqueue(u32 command, u32 value)
{
    Fifo *fifo = host.fifo;
    fifo->cmd[fifo->tail] = command;
    fifo->param[fifo->tail] = value;
    fifo->tail = next(fifo->tail);
    fifo->size++;
    if (command - 0x11 <= 1)
        fifo->matrix_stack_op_size++;
    if (command - 0x70 <= 1)
        host.gxstat[0] = 1;
}

/* Take a word of commands or a parameter, and return how many commands that completed. */
static inline u32 take_word(u32 value)
{
    u32 *shift = &host.hardware[0], *parameters = &host.hardware[1];
    u32 command = *shift & 0xFF, sent = 0;
    if (host.types[command] == 0xFF)
        *shift = value;
    if (*parameters) {
        enqueue(command, value);
        sent = 1;
        if (--*parameters)
            return sent;
        *shift >>= 8;
    }
    for (;; *shift >>= 8) {
        u32 type = host.types[command = *shift & 0xFF];
        if (type == 0xCC)
            continue;
        if (type == 0) {
            enqueue(command, 0);
            sent++;
            continue;
        }
        if (command == 0 && *shift)
            continue;
        if (type != 0xFF)
            *parameters = type;
        return sent;
    }
}

/* Plan the queue's turn after commands were sent: NDS_RescheduleGXFIFO(1) for each. */
static void plan(u32 sent)
{
    if (!host.sequencer[0x7C]) {
        host.sequencer[0x7C] = 1;
        *host.cycles = *host.timer;
    }
    *host.cycles += sent;
    host.sequencer[1] = 1;
}

/* Replaces gfx3d_sendCommandToFIFO, and with it GFX_FIFOsend. A word holds up to four commands, so
   the queue's level cannot pass 127 twice. */
HOOK void send(u32 value)
{
    if (host.off) {
        host.send(value);
        return;
    }
    u32 size = host.fifo->size, sent = take_word(value);
    if (!sent)
        return;
    handle_first(size);
    handle_events();
    plan(sent);
}

/* Replaces DmaController::doCopy<0>: words from main memory to the geometry engine. The events of
   the queue are handled for the first command and the last; those between change nothing. */
HOOK void do_copy(u8 *channel)
{
    u32 *word = (u32 *)channel;
    u32 mode = word[3], count = word[2], from = word[7], to = word[8];
    if (mode == DMA_GEOMETRY && (count > 112 || !count))
        count = 112;
    make_room(!count || count > RING_LIMIT ? RING : 4 * count); /* a word has four commands */
    u32 last = from + 4 * count - 4, page = 0xFFFFC000, fast = *(u32 *)(host.mmu + 0x2115174);
    if (host.off || (mode && mode != DMA_GEOMETRY) || !word[4] || word[5] || word[6] != 2 ||
        word[18] || count - 1 >= RING_LIMIT / 2 || to != 0x04000400 || from >> 24 != 2 ||
        last >> 24 != 2 || from & 3 || ((from & page) <= fast && fast <= (last & page)) ||
        fast == 0x04000000 || !host.nds[0x142] || !host.nds[0x143] ||
        host.hooks[0] != host.hooks[1] || host.hooks[9] != host.hooks[10] ||
        host.read_stops[0] != host.read_stops[1] || host.write_stops[0] != host.write_stops[1]) {
        host.do_copy(channel);
        return;
    }
    u32 value = 0, size = host.fifo->size, sent = 0;
    for (u32 i = 0; i < count; i++) {
        value = *(u32 *)(host.mmu + 0xC000 + ((from + 4 * i) & *host.ram_mask));
        sent += take_word(value);
    }
    if (sent) {
        handle_first(size);
        handle_events();
        plan(sent);
    }
    *(u32 *)(host.mmu + 0x100C400) = value;
    word[11] = 1;
    *(u64 *)(channel + 0x40) = *host.timer + count * (host.write_cycles[4] + host.read_cycles[2]);
    host.sequencer[1] = 1;
    *(u32 *)(host.nds + 0x98) |= 1u << (word[19] + 1);
    word[7] = last + 4;
    word[8] = to;
    if (!channel[2])
        word[2] -= count;
}

/* Replaces SPU_Emulate_core: mixes nothing while no channel plays and nothing is recorded. */
HOOK void sound(void)
{
    u8 *spu = *host.spu;
    int silent = !host.off && *host.sync_mode && spu[0x52D] && !spu[0x540] && !spu[0x598];
    for (int i = 0; i < 16; i++)
        silent &= spu[0x28 + 0x0C + 0x50 * i] != 1;
    if (!silent) {
        host.sound();
        return;
    }
    double samples = *host.samples_per_line + *host.samples;
    s32 count = (s32)samples;
    *host.line_samples = count;
    *host.samples = samples - count;
    if (*host.spu_advanced && count > 0)
        *(u32 *)(spu + 4) = 1;
    u32 *mixed = *(u32 **)(spu + 0x08), *out = *(u32 **)(spu + 0x18);
    for (s32 i = 0; i < count; i++)
        mixed[2 * i] = mixed[2 * i + 1] = out[i] = 0;
    u8 *core = host.sound_core();
    if (core) {
        void (*fetch)(u8 *, s64, u32, u64) = *(void **)(core + 0x50);
        (fetch ? fetch : host.fetch_samples)((u8 *)out, count, *host.sync_mode, *host.synchronizer);
    }
}

/* Replaces OP_LDR<0, 0>, with which compiled code loads a word for the ARM9. `timing` is MMU_timing:
   at 0x78C the last address, at 0x504 the last line of the data cache, at 0x508 four tags and the
   next one to replace for each of 32 lines. */
HOOK u32 load_word(u32 address, u32 *to)
{
    u32 aligned = address & ~3u, turn = 8 * (address & 3), value;
    int tight = (address & 0xFFFFC000) == *(u32 *)(host.mmu + 0x2115174);
    if (host.off || !*host.advanced_timing || host.hooks[9] != host.hooks[10] ||
        host.read_stops[0] != host.read_stops[1])
        return host.load_word(address, to);
    if (tight)
        value = *(u32 *)(host.mmu + 0x8000 + (address & 0x3FFC));
    else if ((address & 0x0F000000) == 0x02000000)
        value = *(u32 *)(host.mmu + 0xC000 + (aligned & *host.ram_mask));
    else
        return host.load_word(address, to);
    *to = turn ? value >> turn | value << (32 - turn) : value;
    u8 *timing = host.timing;
    u32 last = *(u32 *)(timing + 0x78C), line = address & 0x3E0, tag = address & 0xFFFFFC00;
    *(u32 *)(timing + 0x78C) = aligned;
    if (tight || line == *(u32 *)(timing + 0x504))
        return 3;
    u32 *tags = (u32 *)(timing + 0x508 + (line >> 5) * 20);
    *(u32 *)(timing + 0x504) = line;
    if (tags[0] == tag || tags[1] == tag || tags[2] == tag || tags[3] == tag)
        return 3;
    u32 oldest = tags[4];
    tags[oldest] = tag;
    tags[4] = (oldest + 1) & 3;
    return aligned == last + 4 ? 0x24 : 0x34;
}

/* Size of the code, and of the image with its variables, which are zero at first; then where `host`
   and the functions are in the image. */
extern const u8 code_end[], image_end[];
#define ENTRY(name) ".long " #name " - entries\n"
__asm__(".pushsection .text.entries, \"ax\"\n"
        "entries:\n"
        ENTRY(code_end) ENTRY(image_end) ENTRY(host) ENTRY(execute3d) ENTRY(pipe_receive) ENTRY(vblank) ENTRY(vblank_end)
        ENTRY(render_lists) ENTRY(fifo_clear) ENTRY(do_copy) ENTRY(sound)
        ENTRY(trigger_dma) ENTRY(send) ENTRY(settle)
        ENTRY(discard) ENTRY(load_word)
        ".popsection\n");
