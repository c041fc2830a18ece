"""Open a window on a real display, between two consoles."""

import warnings

from mkds_gym.emulator import Console

console = Console()
console.step(0, 3)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import pygame
pygame.display.init()
assert pygame.display.get_driver() == "x11", pygame.display.get_driver()
window = pygame.display.set_mode((256, 192))
second = Console()
second.step(0, 3)
window.blit(pygame.surfarray.make_surface(second.screen().swapaxes(0, 1)), (0, 0))
pygame.display.flip()
pygame.event.pump()
console.step()
second.close()
pygame.quit()
console.step()
print("shown")
