/* Loads a course: archive from the cartridge, collision header and map data to their places. */
#include "course/course.h"
#include "game.h"
#include <string.h>

static const char *const folders[] = {
    0, "old_yoshi_gc", "old_mario_gc", "luigi_course", "dokan_course", "test1_course",
    "donkey_course", "wario_course", "nokonoko_course", "old_baby_gc", "old_mario_sfc",
    "old_momo_64", "old_koopa_agb", "old_peach_agb", "old_luigi_gc", "old_noko_sfc",
    "old_frappe_64", "clock_course", "mansion_course", "airship_course", "cross_course",
    "test_circle", "bank_course", "old_hyudoro_64", "ridge_course", "mario_course",
    "garden_course", "desert_course", "town_course", "rainbow_course", "snow_course",
    "beach_course", "koopa_course", "pinball_course", "stadium_course", "old_donut_sfc",
    "old_choco_64", "old_luigi_agb", "old_kinoko_gc", "old_choco_sfc", "old_sky_agb",
};

const char *course_folder(uint32_t id) {
    return id < sizeof folders / sizeof *folders ? folders[id] : 0;
}

struct track track;

/* Section magics in the order of map_data.first and .lists. */
static const char first_names[3][5] = {"OBJI", "PATH", "POIT"};
static const char list_names[MAP_LISTS][5] = {
    "KTPS", "KTPJ", "KTP2", "KTPC", "KTPM", "CPOI", "CPAT", "IPOI", "IPAT",
    "EPOI", "EPAT", "AREA", "CAME", "MEPO", "MEPA",
};

/* A file of the archive; a copy where it lies askew, or is to be changed: what the host has handed
 * over is there for another race as well. */
static uint8_t *course_file(const uint8_t *narc, uint32_t narc_size, const char *name, int change,
                            uint32_t *size) {
    uint8_t *file = (uint8_t *)(uintptr_t)narc_file(narc, narc_size, name, size);
    if (file && (((uintptr_t)file & 3) || change)) {
        file = memcpy(heap_allocate(*size), file, *size);
    }
    return file;
}

static void relocate_collision(const uint8_t *kcl) {
    memcpy(&COLLISION_HEADER, kcl, sizeof(collision_header));
    uint32_t *offsets = (uint32_t *)&COLLISION_HEADER;
    for (int i = 0; i < 4; i++) {
        offsets[i] += (uint32_t)(uintptr_t)kcl;
    }
}

static void fill_map(map_data *map, const uint8_t *nkm, uint32_t size) {
    const uint16_t *head = (const uint16_t *)nkm;
    uint32_t header = head[3];
    map->version = head[2];
    for (uint32_t at = 8; at + 4 <= header; at += 4) {
        uint32_t start = header + *(const uint32_t *)(nkm + at);
        if (start + 8 > size) {
            continue;
        }
        const uint8_t *section = nkm + start;
        if (!memcmp(section, "STAG", 4)) {
            map->stage = (const nkm_stage *)(section + 4);
            continue;
        }
        map_list *list = 0;
        for (int i = 0; i < 3; i++) {
            if (!memcmp(section, first_names[i], 4)) {
                list = &map->first[i];
            }
        }
        for (int i = 0; i < MAP_LISTS; i++) {
            if (!memcmp(section, list_names[i], 4)) {
                list = &map->lists[i];
            }
        }
        if (list) {
            list->entries = section + 8;
            list->count = *(const uint16_t *)(section + 4);
        }
    }
}

/* Where a stretch ends: the start line is there at the end of a lap, too. */
static fx32 end_of_way(uint32_t next) { return next == track.start ? track.length : track.from_start[next]; }

/* The main way follows the first of the next sections at every fork; its length is the lap's. */
static void measure_main_way(void) {
    fx32 there = 0;
    uint32_t point = track.start;
    while (track.from_start[point] < 0) {
        uint16_t next[3];
        track.from_start[point] = there;
        there += track.length_of[point];
        if (!track_next(point, next)) {
            break;
        }
        point = next[0];
    }
    track.length = there;
}

/* Ways that leave a measured one: they begin where it goes on, and are stretched or shrunk to
 * end where they meet a measured one again, so that nobody gains or loses a step there. */
static void measure_other_ways(void) {
    for (uint32_t fork = 0; fork < track.count; fork++) {
        uint16_t next[3], after[3];
        uint32_t count = track.from_start[fork] < 0 ? 0 : track_next(fork, next);
        for (uint32_t i = 1; i < count; i++) {
            if (track.from_start[next[i]] >= 0) {
                continue;
            }
            fx32 begin = track.from_start[fork] + track.length_of[fork], whole = 0, driven = 0;
            uint32_t point = next[i], steps = 0;
            while (track.from_start[point] < 0 && steps++ < track.count && track_next(point, after)) {
                whole += track.length_of[point];
                point = after[0];
            }
            fx32 span = fx_max(end_of_way(point) - begin, 0);
            point = next[i];
            while (track.from_start[point] < 0) {
                fx32 length = track.length_of[point];
                track.from_start[point] = begin + (fx32)((int64_t)span * driven / fx_max(whole, 1));
                driven += length;
                track.length_of[point] = (fx32)((int64_t)span * length / fx_max(whole, 1));
                if (!track_next(point, after)) {
                    break;
                }
                point = after[0];
            }
        }
    }
}

/* How far it is from checkpoint to checkpoint and from the start line to each. */
static void measure_track(map_data *map) {
    track.points = map->lists[MAP_CPOI].entries;
    track.count = map->lists[MAP_CPOI].count;
    track.sections = map->lists[MAP_CPAT].entries;
    track.section_count = map->lists[MAP_CPAT].count;
    track.from_start = heap_allocate(track.count * 4u);
    track.length_of = heap_allocate(track.count * 4u);
    track.section_of = heap_allocate(track.count * 2u);
    track.start = 0;
    track.last_key = 0;
    track.length = 0;
    for (uint32_t i = 0; i < track.count; i++) {
        track.from_start[i] = -1;
        if (track.points[i].key == 0) {
            track.start = i;
        }
        if (track.points[i].key > track.last_key) {
            track.last_key = track.points[i].key;
        }
    }
    for (uint32_t s = 0; s < track.section_count; s++) {
        for (uint32_t i = 0; i < track.sections[s].length; i++) {
            uint32_t point = track.sections[s].start + i;
            if (point < track.count) {
                track.section_of[point] = (uint16_t)s;
            }
        }
    }
    for (uint32_t i = 0; i < track.count; i++) {
        uint16_t next[3];
        if (track_next(i, next)) {
            vec3 a = track_middle(i), b = track_middle(next[0]);
            track.length_of[i] = v_length(v_sub(b, a));
        }
    }
    measure_main_way();
    for (uint32_t i = 0; i < track.section_count; i++) {
        measure_other_ways();
    }
    for (uint32_t i = 0; i < track.count; i++) {
        track.from_start[i] = fx_max(track.from_start[i], 0);
    }
    map->key_count = (uint16_t)(track.last_key + 1);
    map->track_length = track.length;
}

vec3 track_middle(uint32_t point) {
    const nkm_checkpoint *p = &track.points[point];
    return v_make(p->x1 / 2 + p->x2 / 2, 0, p->z1 / 2 + p->z2 / 2);
}

static uint32_t neighbours(const uint8_t *sections, int last_point, uint16_t *out) {
    uint32_t count = 0;
    for (int i = 0; i < 3; i++) {
        if (sections[i] < track.section_count) {
            const nkm_section *s = &track.sections[sections[i]];
            out[count++] = (uint16_t)(last_point ? s->start + s->length - 1 : s->start);
        }
    }
    return count;
}

uint32_t track_next(uint32_t point, uint16_t *out) {
    const nkm_section *s = &track.sections[track.section_of[point]];
    if (point + 1 < (uint32_t)(s->start + s->length)) {
        out[0] = (uint16_t)(point + 1);
        return 1;
    }
    return neighbours(s->next, 0, out);
}

uint32_t track_previous(uint32_t point, uint16_t *out) {
    const nkm_section *s = &track.sections[track.section_of[point]];
    if (point > s->start) {
        out[0] = (uint16_t)(point - 1);
        return 1;
    }
    return neighbours(s->previous, 1, out);
}

/* The archive as the cartridge has it, or as the host put it into memory, unpacked. */
static const uint8_t *archive_of(const race_choice *choice, const char *folder, uint32_t *size) {
    const uint8_t *packed = choice->course_data;
    uint32_t packed_size = choice->course_size;
    if (!packed) {
        char path[64] = "data/Course/";
        uint32_t length = sizeof "data/Course/" - 1;
        for (const char *c = folder; *c; c++) {
            path[length++] = *c;
        }
        memcpy(path + length, ".carc", sizeof ".carc");
        packed = card_read_file(path, &packed_size);
    }
    if (!packed || packed_size < 4) {
        return 0;
    }
    if (!memcmp(packed, "NARC", 4)) {
        *size = packed_size;
        return packed;
    }
    return lz_unpack(packed, packed_size, size);
}

int course_load(const race_choice *choice) {
    uint32_t id = choice->course;
    const char *folder = course_folder(id);
    if (!folder) {
        return 0;
    }
    uint32_t size;
    const uint8_t *narc = archive_of(choice, folder, &size);
    if (!narc) {
        return 0;
    }
    int mirror = choice->mirror != 0;
    uint8_t *kcl = course_file(narc, size, "course_collision.kcl", mirror, &game.kcl_size);
    uint8_t *nkm = course_file(narc, size, "course_map.nkm", mirror, &game.nkm_size);
    if (!kcl || game.kcl_size < sizeof(collision_header) || !nkm || game.nkm_size < 8 ||
        memcmp(nkm, "NKMD", 4)) {
        return 0;
    }
    if (mirror) {
        mirror_collision(kcl, game.kcl_size);
        mirror_map(nkm, game.nkm_size);
    }
    game.kcl = kcl;
    game.nkm = nkm;
    game.klm = course_file(narc, size, "course_model.klm", 0, &game.klm_size);
    game.course_id = id;
    game.course_name = folder;
    relocate_collision(kcl);
    game.map = heap_allocate(sizeof(map_data));
    fill_map(game.map, nkm, game.nkm_size);
    measure_track(game.map);
    return 1;
}
