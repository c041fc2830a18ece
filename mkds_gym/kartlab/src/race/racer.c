#include "race/racer.h"

struct racer racers[DRIVERS_MAX];
struct race race;
