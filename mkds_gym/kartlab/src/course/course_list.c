#include "course/course_list.h"

#include "game.h"
#include "platform/card.h"
#include <string.h>

#define LISTED_MAX 48

const struct listed_course *course_list;
uint32_t course_list_count;
static const struct listed_course only = {DEFAULT_COURSE, 3, {0, 0}, "KARTLAB"};

/* The file holds "KLCT", u16 number of entries, u16 size of an entry, and the entries. */
void course_list_init(void) {
    uint32_t size;
    const uint8_t *file = card_read_file("kartlab/courses.bin", &size);
    course_list = &only;
    course_list_count = 1;
    if (file && size >= 8 && !memcmp(file, "KLCT", 4)) {
        uint32_t count = file[4] | (uint32_t)file[5] << 8, entry = file[6] | (uint32_t)file[7] << 8;
        if (count && count <= LISTED_MAX && entry == sizeof(struct listed_course) && 8 + count * entry <= size) {
            course_list = (const struct listed_course *)(file + 8);
            course_list_count = count;
        }
    }
}

const char *course_title(uint32_t id) {
    for (uint32_t i = 0; i < course_list_count; i++) {
        if (course_list[i].id == id) {
            return course_list[i].title;
        }
    }
    return 0;
}
