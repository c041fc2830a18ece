/* Item boxes, items in hand, and what has been let go on the road. */
#include "items.h"

#include "race.h"
#include <string.h>

struct item_object item_objects[ITEM_OBJECTS_MAX];
struct item_box item_boxes[ITEM_BOXES_MAX];
uint32_t item_box_count;

void items_init(void) {
    memset(item_objects, 0, sizeof item_objects);
    memset(item_boxes, 0, sizeof item_boxes);
    item_box_count = 0;
}

void items_frame(void) {}
