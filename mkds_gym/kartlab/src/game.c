#include "game.h"

struct game game;

race_choice race_choice_default(void) {
    return (race_choice){
        .course = DEFAULT_COURSE, .mode = MODE_TIME_TRIAL, .engine_class = 1, .drivers = 1, .strength = 1, .seed = 1,
    };
}
