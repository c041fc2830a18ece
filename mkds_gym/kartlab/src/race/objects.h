/* The object table in RAM: every kart, item box, and thing on the road. */
#pragma once

void objects_init(void);
void objects_frame(void); /* updates flags and removed entries */
