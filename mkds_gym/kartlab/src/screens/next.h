/* What a screen asks for at the end of a frame. */
#ifndef KARTLAB_NEXT_H
#define KARTLAB_NEXT_H

enum next {
    NEXT_STAY,
    NEXT_RESUME, /* the paused race goes on */
    NEXT_TITLE,
    NEXT_MENU,
    NEXT_RELOAD, /* the menu again, with the course chosen now */
    NEXT_RACE,
};

#endif
