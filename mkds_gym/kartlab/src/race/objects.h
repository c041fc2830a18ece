/* The object table in RAM: every kart, item box, and thing on the road. */
#ifndef KARTLAB_OBJECTS_H
#define KARTLAB_OBJECTS_H

void objects_init(void);
void objects_frame(void); /* updates flags and removed entries */

#endif
