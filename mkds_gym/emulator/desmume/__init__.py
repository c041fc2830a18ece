"""DeSmuME, the library that emulates: loaded images, and what is known of their insides."""
