/* The big letters over the race: countdown, GO, laps, wrong way, finish; and the fade. */
#ifndef KARTLAB_OVERLAY_H
#define KARTLAB_OVERLAY_H

void overlay_init(void);
void overlay_frame(void);

#endif
