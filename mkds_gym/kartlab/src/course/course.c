#include "course/course.h"

#include "course/mirror.h"
#include "course/track.h"
#include "platform/archive.h"
#include "platform/card.h"
#include "platform/heap.h"
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

static const char *course_folder(uint32_t id) {
    return id < sizeof folders / sizeof *folders ? folders[id] : 0;
}

/* Section magics in the order of map_data.first and .lists. */
static const char first_names[3][5] = {"OBJI", "PATH", "POIT"};
static const char list_names[MAP_LISTS][5] = {
    "KTPS", "KTPJ", "KTP2", "KTPC", "KTPM", "CPOI", "CPAT", "IPOI", "IPAT",
    "EPOI", "EPAT", "AREA", "CAME", "MEPO", "MEPA",
};

/* Returns a file of the archive. Unaligned files and files that change are copied: the host's data
 * must stay as they are for the next race. */
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

/* Returns the unpacked archive, from the host's memory or from the cartridge. */
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
    uint32_t size, kcl_size, nkm_size, klm_size;
    const uint8_t *narc = archive_of(choice, folder, &size);
    if (!narc) {
        return 0;
    }
    int mirror = choice->mirror != 0;
    uint8_t *kcl = course_file(narc, size, "course_collision.kcl", mirror, &kcl_size);
    uint8_t *nkm = course_file(narc, size, "course_map.nkm", mirror, &nkm_size);
    if (!kcl || kcl_size < sizeof(collision_header) || !nkm || nkm_size < 8 ||
        memcmp(nkm, "NKMD", 4)) {
        return 0;
    }
    if (mirror) {
        mirror_collision(kcl, kcl_size);
        mirror_map(nkm, nkm_size);
    }
    game.klm = course_file(narc, size, "course_model.klm", 0, &klm_size);
    game.course_id = id;
    relocate_collision(kcl);
    game.map = heap_allocate(sizeof(map_data));
    fill_map(game.map, nkm, nkm_size);
    track_measure(game.map);
    return 1;
}
