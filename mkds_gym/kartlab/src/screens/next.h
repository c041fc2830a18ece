/* The request of a screen at the end of a frame. */
#pragma once

enum next {
    NEXT_STAY,
    NEXT_RESUME, /* the paused race goes on */
    NEXT_TITLE,
    NEXT_MENU,
    NEXT_RELOAD, /* the menu again, with the course chosen now */
    NEXT_RACE,
};
