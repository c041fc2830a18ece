/* The object table in RAM: every kart, item box, and thing on the road. */
#ifndef KARTLAB_OBJECTS_H
#define KARTLAB_OBJECTS_H

void objects_init(void);
void objects_frame(void); /* flags and removed entries, from the things themselves */

#endif
