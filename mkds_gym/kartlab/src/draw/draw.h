/* The picture: 3D on the top screen, instruments on the bottom one.
 *
 * When a picture shows which RAM.  The program wakes at a VBlank (frame k), moves the race,
 * places the camera, sends the geometry and asks for a buffer swap; all of that is in RAM when the
 * emulated frame k ends.  The hardware swaps at the next VBlank (k+1), renders from line 214 on and
 * shows the result while frame k+2 is scanned out.  So THE PICTURE CAPTURED AFTER FRAME k+2 SHOWS
 * THE CAMERA AND THE RACE THAT WERE IN RAM AFTER FRAME k.  The 2D parts that must fit the 3D
 * picture (sky scroll, letters, instruments) are written in VBlank k+1 from the state of frame k
 * and are on show in k+2 as well.
 */
#ifndef KARTLAB_DRAW_H
#define KARTLAB_DRAW_H

#include <stdint.h>

/* The paint of each driver's kart. */
extern const uint16_t paint_of[];

/* Once, after the course files are loaded: video memory, engines, lights, the kart's lists.
 * klm: course_model.klm, 4-aligned, stays in use. */
void draw_init(const void *klm, uint32_t klm_size);

/* Once a frame, after camera_update: sends the 3D picture and swaps. */
void draw_frame(void);

/* Places the camera at once behind the kart (race start, respawn). */
void camera_snap(void);

/* Once a frame, after race_frame: moves the camera and writes the camera struct. */
void camera_update(void);

/* The bottom screen, and the sky and the letters of the top one. */
void hud_init(void);

/* First thing in every VBlank: writes what changed since the last frame to video memory. */
void hud_frame(void);

#endif
