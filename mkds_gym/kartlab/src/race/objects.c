#include "race/objects.h"

#include "game.h"
#include "platform/heap.h"
#include "race/items.h"

#define SECOND_RADIUS FX(64) /* of a driver's second entry */

#define BOX_FLAGS (OBJECT_FLAG_MAP_OBJECT | UNKNOWN_MAP_OBJECT_BITS)

/* The table: karts, their second entries, item boxes, items. */
enum { SECOND_ENTRIES = DRIVERS_MAX, BOX_ENTRIES = 2 * DRIVERS_MAX };

static void set(object_entry *entry, const vec3 *position, const void *object, fx32 radius,
                uint32_t flags) {
    entry->position = position;
    entry->radius = radius;
    entry->flags = (uint16_t)flags;
    entry->object = object;
}

void objects_init(void) {
    object_entry *entries = heap_allocate(OBJECT_LIMIT * sizeof(object_entry));
    for (int32_t i = 0; i < DRIVER_COUNT; i++) {
        driver *kart = &game.drivers[i];
        set(&entries[i], &kart->position, kart, kart->sphere_radius, OBJECT_FLAG_DRIVER);
        set(&entries[SECOND_ENTRIES + i], &kart->position, kart, SECOND_RADIUS, OBJECT_FLAG_SECOND_ENTRY);
    }
    for (uint32_t i = 0; i < item_box_count; i++) {
        struct item_box *box = &item_boxes[i];
        set(&entries[BOX_ENTRIES + i], &box->position, box, ITEM_BOX_RADIUS, BOX_FLAGS);
    }
    OBJECT_TABLE.entries = entries;
    OBJECT_TABLE.count = (uint16_t)(2 * (uint32_t)DRIVER_COUNT + item_box_count);
}

/* An item's entry keeps its slot. The entry's position is null while the item does not exist. */
void objects_frame(void) {
    if (!game.choice.items) {
        return; /* the karts' entries never change */
    }
    object_entry *entries = OBJECT_TABLE.entries;
    for (uint32_t i = 0; i < item_box_count; i++) {
        uint32_t hidden = item_boxes[i].hidden_frames ? OBJECT_FLAG_INACTIVE : 0;
        entries[BOX_ENTRIES + i].flags = (uint16_t)(BOX_FLAGS | hidden);
    }
    uint32_t count = 2 * (uint32_t)DRIVER_COUNT + item_box_count;
    object_entry *entry = &entries[BOX_ENTRIES + item_box_count];
    for (uint32_t i = 0; i < ITEM_OBJECTS_MAX; i++, entry++) {
        struct item_object *thing = &item_objects[i];
        if (thing->active) {
            uint32_t moving = thing->kind == ITEM_SHELL ? OBJECT_FLAG_MOVING_COLLISION : 0;
            set(entry, &thing->position, thing, ITEM_OBJECT_RADIUS, OBJECT_FLAG_ITEM | moving);
            count++;
        } else if (entry->position) {
            set(entry, 0, 0, 0, 0);
        }
    }
    OBJECT_TABLE.count = (uint16_t)count;
}
