/* The 3D picture on the top screen. */
#ifndef KARTLAB_DRAW_H
#define KARTLAB_DRAW_H

/* Once, after the course files are loaded: video memory, engines, lights, display lists.
 * klm: course_model.klm, 4-aligned; stays in use. */
void draw_init(const void *klm);

/* Once a frame, after camera_update: sends the picture and swaps the buffers.
 *
 * When a picture shows which RAM.  The program wakes at a VBlank (frame k), moves the race,
 * places the camera, sends the geometry and asks for a buffer swap; all of that is in RAM when the
 * emulated frame k ends.  The hardware swaps at the next VBlank (k+1), renders from line 214 on and
 * shows the result while frame k+2 is scanned out.  So THE PICTURE CAPTURED AFTER FRAME k+2 SHOWS
 * THE CAMERA AND THE RACE THAT WERE IN RAM AFTER FRAME k.  The 2D parts that must fit the 3D
 * picture (sky scroll, letters, instruments) are written in VBlank k+1 from the state of frame k
 * and are on show in k+2 as well. */
void draw_frame(void);

#endif
