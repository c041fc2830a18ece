/* The courses that the menu offers, as the build lists them in kartlab/courses.bin. */
#ifndef KARTLAB_COURSE_LIST_H
#define KARTLAB_COURSE_LIST_H

#include <stdint.h>

struct listed_course {
    uint8_t id, laps, pad02[2];
    char title[28]; /* upper case, zero at the end */
};
extern const struct listed_course *course_list;
extern uint32_t course_list_count;

/* Once: reads the list.  Without one, the default course is the only entry. */
void course_list_init(void);

/* Null when the list does not have the course. */
const char *course_title(uint32_t id);

#endif
