/* The courses of the menu. The build lists them in kartlab/courses.bin. */
#pragma once

#include <stdint.h>

struct listed_course {
    uint8_t id, laps, pad02[2];
    char title[28]; /* upper case, zero at the end */
};
extern const struct listed_course *course_list;
extern uint32_t course_list_count;

/* Reads the list, once. Without a file, the default course is the only entry. */
void course_list_init(void);

/* Returns null for a course that is not in the list. */
const char *course_title(uint32_t id);
