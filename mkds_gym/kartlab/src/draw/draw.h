/* The 3D picture on the top screen. */
#pragma once

/* Sets up video memory, engines, lights and display lists, once after the course is loaded. `klm`
 * is course_model.klm, 4-aligned, and stays in use. */
void draw_init(const void *klm);

/* Sends the picture and swaps the buffers, once a frame after camera_update. The program wakes at
 * the VBlank of frame k, moves the race and the camera, sends the geometry and asks for a buffer
 * swap. All of that is in RAM when the emulated frame k ends. The hardware swaps the buffers at the
 * next VBlank (k+1), renders from line 214 on, and shows the result in frame k+2. The picture
 * captured after frame k+2 therefore shows the race and the camera that were in RAM after frame k.
 * The 2D parts of the picture (sky scroll, letters, instruments) are written in VBlank k+1 from the
 * state of frame k, and are visible in frame k+2 as well. */
void draw_frame(void);
